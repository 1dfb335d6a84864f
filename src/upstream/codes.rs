//! Every code that the upstream documents, and what it means for the call.

use crate::upstream::{
    errors::{Scope, Verdict},
    refused::Kind,
};

/// What each documented code means. The upstream's own spelling varies in case.
pub(super) fn judge(code: &str) -> (Verdict, Scope) {
    use {Scope as S, Verdict as V};
    match code.to_ascii_lowercase().as_str() {
        code if is_throttling(code) => (V::Again, S::Call),

        // The gateway, before the product has seen the call.
        "missingparameter" | "invalidparameter" => (V::Final, S::Call),
        "invalidaction.notfound" => (V::Again, S::Lane),
        "invalidversion" => (V::Again, S::Account),
        code if code.starts_with("invalidaccesskey") => (V::Again, S::Account),
        code if is_signature(code) => (V::Again, S::Account),
        "missingsecuritytoken" => (V::Again, S::Account),
        code if code.starts_with("invalidsecuritytoken") => (V::Again, S::Account),
        code if code.starts_with("invalidtimestamp") => (V::Again, S::Clock),
        code if code.starts_with("forbidden") => (V::Again, S::Lane),
        // Seen before, so something repeated it on the way; the first may have been done.
        "signaturenonceused" => (V::Unclear, S::Call),
        "internalerror" | "unknownerror" | "serviceunavailable" => (V::Unclear, S::Call),

        // The product: account, permissions, instance, product.
        "iot.system.systemexception" => (V::Unclear, S::Call),
        "iot.system.uidnotfound" | "iot.system.billisoverdue" | "iot.common.invalidtenant" => {
            (V::Again, S::Account)
        }
        "iot.common.ramactionpermissiondeny" | "iot.common.authactionpermissiondeny" => {
            (V::Again, S::Lane)
        }
        "iot.system.instancenotfound"
        | "iot.sre.iotinstancenotfound"
        | "iot.common.apinotsupportedininstance" => (V::Again, S::Apply),
        "iot.prod.nullproductkey"
        | "iot.prod.invalidformattedproductkey"
        | "iot.prod.notexistedproduct"
        | "iot.prod.notproductowner" => (V::Again, S::Apply),

        // Failures in the middle of the work, and "it is being done".
        "iot.device.applymanydevicesfailed"
        | "iot.device.querydeviceapplyactionerror"
        | "iot.device.createdevicefailed"
        | "iot.device.deletedevicefailed"
        | "iot.device.createdevicetaskisrunning" => (V::Unclear, S::Call),

        // The call itself, or its devices.
        "iot.system.illegalrequest"
        | "iot.common.invalidpageparams"
        | "iot.common.invalidformattedparameter"
        | "iot.check.invalidformattedparameter"
        | "iot.device.nonedevicenameelement"
        | "iot.device.toomanydevicenamesperrequest"
        | "iot.device.invaliddevicenameexisted"
        | "iot.device.invaliddevicenicknameexisted"
        | "iot.device.invalidformatteddevicename"
        | "iot.device.nulldevicename"
        | "iot.device.alreadyexisteddevicename"
        | "iot.device.invaliddeviceparams"
        | "iot.device.nullapplyid"
        | "iot.device.invalidformattedapplyid"
        | "iot.device.deviceapplyisnotfound"
        | "iot.device.incorrentdeviceapplyinfo"
        | "iot.device.devicecountexceeded"
        | "iot.device.notexisteddevice"
        | "iot.device.invalidiotid"
        | "iot.device.devicehasdistributed"
        | "iot.device.regionnotsupportx509" => (V::Final, S::Call),

        // A code that no document has: it was refused, and we cannot tell for how long.
        _ => (V::Final, S::Call),
    }
}

/// What the code says of devices that are listed without a word.
pub(super) fn kind_of_code(code: &str) -> Kind {
    match code.to_ascii_lowercase().as_str() {
        "iot.device.invaliddevicenameexisted"
        | "iot.device.invalidformatteddevicename"
        | "iot.device.nulldevicename" => Kind::Name,
        "iot.device.invaliddevicenicknameexisted" => Kind::Nickname,
        "iot.device.alreadyexisteddevicename" | "iot.device.devicehasdistributed" => Kind::Exists,
        _ => Kind::Other,
    }
}

/// The status of a throttling answer varies (400, 429); its code begins alike.
pub(super) fn is_throttling(code: &str) -> bool {
    begins(code, "Throttling")
}

pub(super) fn is_signature(code: &str) -> bool {
    begins(code, "SignatureDoesNotMatch") || begins(code, "IncompleteSignature")
}

fn begins(code: &str, with: &str) -> bool {
    code.get(..with.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(with))
}

#[cfg(test)]
mod tests {
    use super::{Scope as S, Verdict as V, *};
    use crate::upstream::errors::Error;

    /// Every code that the upstream documents, and what it must come to.
    const CODES: &[(&str, Verdict, Scope)] = &[
        ("MissingParameter", V::Final, S::Call),
        ("InvalidParameter", V::Final, S::Call),
        ("InvalidVersion", V::Again, S::Account),
        ("InvalidAction.NotFound", V::Again, S::Lane),
        ("InvalidAccessKeyId.NotFound", V::Again, S::Account),
        ("InvalidAccessKeyId.Inactive", V::Again, S::Account),
        ("SignatureDoesNotMatch", V::Again, S::Account),
        ("IncompleteSignature", V::Again, S::Account),
        ("InvalidAccessKeySecret", V::Again, S::Account),
        ("SignatureNonceUsed", V::Unclear, S::Call),
        ("InvalidTimeStamp.Expired", V::Again, S::Clock),
        ("InvalidTimeStamp.Format", V::Again, S::Clock),
        ("MissingSecurityToken", V::Again, S::Account),
        ("InvalidSecurityToken.Expired", V::Again, S::Account),
        ("InvalidSecurityToken.Malformed", V::Again, S::Account),
        (
            "InvalidSecurityToken.MismatchWithAccessKey",
            V::Again,
            S::Account,
        ),
        ("Forbidden.RAM", V::Again, S::Lane),
        ("Throttling", V::Again, S::Call),
        ("Throttling.User", V::Again, S::Call),
        ("Throttling.Api", V::Again, S::Call),
        ("InternalError", V::Unclear, S::Call),
        ("UnknownError", V::Unclear, S::Call),
        ("ServiceUnavailable", V::Unclear, S::Call),
        ("iot.system.SystemException", V::Unclear, S::Call),
        ("iot.system.InstanceNotFound", V::Again, S::Apply),
        ("iot.Sre.IotInstanceNotFound", V::Again, S::Apply),
        ("iot.system.UidNotFound", V::Again, S::Account),
        ("iot.system.IllegalRequest", V::Final, S::Call),
        ("Iot.system.BillIsOverDue", V::Again, S::Account),
        ("iot.common.InvalidPageParams", V::Final, S::Call),
        ("iot.common.InvalidFormattedParameter", V::Final, S::Call),
        ("iot.check.InvalidFormattedParameter", V::Final, S::Call),
        ("iot.common.RamActionPermissionDeny", V::Again, S::Lane),
        ("iot.common.AuthActionPermissionDeny", V::Again, S::Lane),
        ("iot.common.InvalidTenant", V::Again, S::Account),
        ("iot.common.APINotSupportedInInstance", V::Again, S::Apply),
        ("iot.prod.NullProductKey", V::Again, S::Apply),
        ("iot.prod.InvalidFormattedProductkey", V::Again, S::Apply),
        ("iot.prod.NotExistedProduct", V::Again, S::Apply),
        ("iot.Prod.NotProductOwner", V::Again, S::Apply),
        ("iot.device.NoneDeviceNameElement", V::Final, S::Call),
        ("iot.device.TooManyDeviceNamesPerRequest", V::Final, S::Call),
        ("iot.device.InvalidDeviceNameExisted", V::Final, S::Call),
        ("iot.device.InvalidDeviceNickNameExisted", V::Final, S::Call),
        ("iot.device.InvalidFormattedDeviceName", V::Final, S::Call),
        ("iot.device.NullDeviceName", V::Final, S::Call),
        ("iot.device.AlreadyExistedDeviceName", V::Final, S::Call),
        ("iot.device.InvalidDeviceParams", V::Final, S::Call),
        ("iot.device.NullApplyId", V::Final, S::Call),
        ("iot.device.InvalidFormattedApplyId", V::Final, S::Call),
        ("iot.device.DeviceApplyIsNotFound", V::Final, S::Call),
        ("iot.device.IncorrentDeviceApplyInfo", V::Final, S::Call),
        ("iot.device.CreateDeviceTaskIsRunning", V::Unclear, S::Call),
        ("iot.device.ApplyManyDevicesFailed", V::Unclear, S::Call),
        ("iot.device.DeviceCountExceeded", V::Final, S::Call),
        (
            "iot.device.QueryDeviceApplyActionError",
            V::Unclear,
            S::Call,
        ),
        ("iot.device.CreateDeviceFailed", V::Unclear, S::Call),
        ("iot.device.DeleteDeviceFailed", V::Unclear, S::Call),
        ("iot.device.NotExistedDevice", V::Final, S::Call),
        ("iot.device.InvalidIoTId", V::Final, S::Call),
        ("iot.device.DeviceHasDistributed", V::Final, S::Call),
        ("iot.device.RegionNotSupportX509", V::Final, S::Call),
        ("iot.device.SomethingNew", V::Final, S::Call),
        ("SomethingNew", V::Final, S::Call),
    ];

    fn refused(http_status: u16, code: &str) -> Error {
        Error::refused(http_status, Some(code.to_owned()), None, Vec::new())
    }

    #[test]
    fn every_documented_code_is_judged_alike_at_200_and_at_4xx() {
        for &(code, verdict, scope) in CODES {
            for http_status in [200, 400, 403, 404] {
                let error = refused(http_status, code);
                assert_eq!(
                    (error.verdict, error.scope),
                    (verdict, scope),
                    "{code} {http_status}"
                );
                assert_eq!(error.throttled(), code.starts_with("Throttling"), "{code}");
            }
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
}
