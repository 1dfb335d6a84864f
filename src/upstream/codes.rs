//! Every code that the upstream documents, and what it means for the call.

use crate::upstream::{
    errors::{Scope, Verdict},
    refused::Kind,
};

/// What each documented code means; `None` for the others. The upstream's own spelling varies in
/// case.
pub(super) fn judge(code: &str) -> Option<(Verdict, Scope)> {
    use {Scope as S, Verdict as V};
    Some(match code.to_ascii_lowercase().as_str() {
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

        _ => return None,
    })
}

/// The families of codes that [`judge`] knows by how they begin, and those of them that documents
/// have.
const FAMILIES: [(&str, &[&str]); 7] = [
    ("throttling", &["", ".user", ".api"]),
    ("invalidaccesskey", &["id.notfound", "id.inactive"]),
    ("signaturedoesnotmatch", &[""]),
    ("incompletesignature", &[""]),
    (
        "invalidsecuritytoken",
        &[".expired", ".malformed", ".mismatchwithaccesskey"],
    ),
    ("invalidtimestamp", &[".expired", ".format"]),
    ("forbidden", &[".ram"]),
];

/// Whether a document has this very code.
pub(super) fn is_documented(code: &str) -> bool {
    let code = code.to_ascii_lowercase();
    let family = FAMILIES
        .into_iter()
        .find_map(|(begin, ends)| Some((code.strip_prefix(begin)?, ends)));
    match family {
        Some((end, ends)) => ends.contains(&end),
        None => judge(&code).is_some(),
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
