//! Every code of the upstream's documents held to what it must come to.

use crate::upstream::{
    Error,
    Scope::{self, self as S},
    Verdict::{self, self as V},
    codes::{is_documented, judge},
};

/// The codes in the order of the documents, at the HTTP statuses that they come with: the gateway's
/// first, then the product's, which come at 200.
#[rustfmt::skip]
const CODES: &[(&str, &[u16], Verdict, Scope)] = &[
    ("MissingParameter", &[400], V::Final, S::Call),
    ("InvalidParameter", &[400], V::Final, S::Call),
    ("InvalidVersion", &[400], V::Again, S::Account),
    ("InvalidAction.NotFound", &[404], V::Again, S::Lane),
    ("InvalidAccessKeyId.NotFound", &[404], V::Again, S::Account),
    ("InvalidAccessKeyId.Inactive", &[400], V::Again, S::Account),
    ("SignatureDoesNotMatch", &[400], V::Again, S::Account),
    ("IncompleteSignature", &[400], V::Again, S::Account),
    ("SignatureNonceUsed", &[400], V::Unclear, S::Call),
    ("InvalidTimeStamp.Expired", &[400], V::Again, S::Clock),
    ("InvalidTimeStamp.Format", &[400], V::Again, S::Clock),
    ("MissingSecurityToken", &[400], V::Again, S::Account),
    ("InvalidSecurityToken.Expired", &[400], V::Again, S::Account),
    ("InvalidSecurityToken.Malformed", &[400], V::Again, S::Account),
    ("InvalidSecurityToken.MismatchWithAccessKey", &[400], V::Again, S::Account),
    ("Forbidden.RAM", &[403], V::Again, S::Lane),
    ("Throttling", &[400, 429], V::Again, S::Call),
    ("Throttling.User", &[400, 429], V::Again, S::Call),
    ("Throttling.Api", &[400, 429], V::Again, S::Call),
    ("InternalError", &[500], V::Unclear, S::Call),
    ("UnknownError", &[500], V::Unclear, S::Call),
    ("ServiceUnavailable", &[503], V::Unclear, S::Call),
    ("iot.system.SystemException", &[200], V::Unclear, S::Call),
    ("iot.system.InstanceNotFound", &[200], V::Again, S::Apply),
    ("iot.Sre.IotInstanceNotFound", &[200], V::Again, S::Apply),
    ("iot.system.UidNotFound", &[200], V::Again, S::Account),
    ("iot.system.IllegalRequest", &[200], V::Final, S::Call),
    ("Iot.system.BillIsOverDue", &[200], V::Again, S::Account),
    ("iot.common.InvalidPageParams", &[200], V::Final, S::Call),
    ("iot.common.InvalidFormattedParameter", &[200], V::Final, S::Call),
    ("iot.check.InvalidFormattedParameter", &[200], V::Final, S::Call),
    ("iot.common.RamActionPermissionDeny", &[200], V::Again, S::Lane),
    ("iot.common.AuthActionPermissionDeny", &[200], V::Again, S::Lane),
    ("iot.common.InvalidTenant", &[200], V::Again, S::Account),
    ("iot.common.APINotSupportedInInstance", &[200], V::Again, S::Apply),
    ("iot.prod.NullProductKey", &[200], V::Again, S::Apply),
    ("iot.prod.InvalidFormattedProductkey", &[200], V::Again, S::Apply),
    ("iot.prod.NotExistedProduct", &[200], V::Again, S::Apply),
    ("iot.Prod.NotProductOwner", &[200], V::Again, S::Apply),
    ("iot.device.NoneDeviceNameElement", &[200], V::Final, S::Call),
    ("iot.device.TooManyDeviceNamesPerRequest", &[200], V::Final, S::Call),
    ("iot.device.InvalidDeviceNameExisted", &[200], V::Final, S::Call),
    ("iot.device.InvalidDeviceNickNameExisted", &[200], V::Final, S::Call),
    ("iot.device.InvalidFormattedDeviceName", &[200], V::Final, S::Call),
    ("iot.device.NullDeviceName", &[200], V::Final, S::Call),
    ("iot.device.AlreadyExistedDeviceName", &[200], V::Final, S::Call),
    ("iot.device.InvalidDeviceParams", &[200], V::Final, S::Call),
    ("iot.device.NullApplyId", &[200], V::Final, S::Call),
    ("iot.device.InvalidFormattedApplyId", &[200], V::Final, S::Call),
    ("iot.device.DeviceApplyIsNotFound", &[200], V::Final, S::Call),
    ("iot.device.IncorrentDeviceApplyInfo", &[200], V::Final, S::Call),
    ("iot.device.CreateDeviceTaskIsRunning", &[200], V::Unclear, S::Call),
    ("iot.device.ApplyManyDevicesFailed", &[200], V::Unclear, S::Call),
    ("iot.device.DeviceCountExceeded", &[200], V::Final, S::Call),
    ("iot.device.QueryDeviceApplyActionError", &[200], V::Unclear, S::Call),
    ("iot.device.CreateDeviceFailed", &[200], V::Unclear, S::Call),
    ("iot.device.DeleteDeviceFailed", &[200], V::Unclear, S::Call),
    ("iot.device.NotExistedDevice", &[200], V::Final, S::Call),
    ("iot.device.InvalidIoTId", &[200], V::Final, S::Call),
    ("iot.device.DeviceHasDistributed", &[200], V::Final, S::Call),
    ("iot.device.RegionNotSupportX509", &[200], V::Final, S::Call),
];

fn refused(http_status: u16, code: &str) -> Error {
    Error::refused(http_status, Some(code.to_owned()), None, Vec::new())
}

#[test]
fn every_documented_code_is_known_and_comes_to_what_it_must() {
    for &(code, http_statuses, verdict, scope) in CODES {
        assert_eq!(judge(code), Some((verdict, scope)), "{code}");
        for &http_status in http_statuses {
            let error = refused(http_status, code);
            assert_eq!(
                (error.verdict, error.scope),
                (verdict, scope),
                "{code} {http_status}"
            );
        }
    }
}

#[test]
fn a_code_of_the_documents_is_known_to_the_letter() {
    for &(code, ..) in CODES {
        assert!(is_documented(code), "{code}");
        assert!(is_documented(&code.to_uppercase()), "{code}");
        assert!(!is_documented(&format!("{code}canary")), "{code}");
        assert!(!is_documented(&format!("canary{code}")), "{code}");
    }
}

#[test]
fn a_code_is_judged_alike_at_any_status_and_in_any_case() {
    for &(code, _, verdict, scope) in CODES {
        for http_status in [200, 400, 403, 404] {
            for code in [code.to_owned(), code.to_uppercase(), code.to_lowercase()] {
                let error = refused(http_status, &code);
                assert_eq!(
                    (error.verdict, error.scope),
                    (verdict, scope),
                    "{code} {http_status}"
                );
            }
        }
        let error = refused(400, code);
        assert_eq!(error.throttled(), code.starts_with("Throttling"), "{code}");
    }
}

#[test]
fn a_code_of_no_document_refuses_this_call_for_good() {
    for code in ["iot.device.SomethingNew", "SomethingNew", "", "智"] {
        let error = refused(400, code);

        assert_eq!(judge(code), None, "{code}");
        assert_eq!((error.verdict, error.scope), (V::Final, S::Call), "{code}");
    }
}

#[test]
fn codes_of_a_known_family_are_judged_as_the_family() {
    for (code, verdict, scope) in [
        ("InvalidAccessKeySecret", V::Again, S::Account),
        ("InvalidSecurityToken.New", V::Again, S::Account),
        ("InvalidTimeStamp.New", V::Again, S::Clock),
        ("Forbidden.New", V::Again, S::Lane),
        ("Throttling.New", V::Again, S::Call),
    ] {
        assert_eq!(judge(code), Some((verdict, scope)), "{code}");
    }
}

#[test]
fn a_broken_server_is_not_believed_unless_it_throttles() {
    for &(code, ..) in CODES {
        let error = refused(503, code);
        let expected = if error.throttled() {
            V::Again
        } else {
            V::Unclear
        };
        assert_eq!((error.verdict, error.scope), (expected, S::Call), "{code}");
    }
    assert!(refused(429, "TooMany").throttled());
}
