//! What must hold of the answer to any request, for the fuzz tests and for `script/fuzz`: nothing
//! panics on its way through the functions that the server uses, and every answer is well-formed
//! in both forms.

use http::request::Parts;
use sha2::{Digest, Sha256};

use super::action::Action;
use super::answers::Answer;
use super::element::Element;
use super::envelope::Envelope;
use super::server::Shared;
use super::signature::{acs3, hex, rpc};
use super::xml;
use super::{ACCESS_KEY_ID, ACCESS_KEY_SECRET, GatewayOptions, Options};

/// 2026-01-02T03:04:05Z, the date in the corpus.
const NOW: u64 = 1_767_323_045_000_000;
/// What was asked of a simulator before a request of `script/fuzz` comes, so that the applies 1 to
/// 5 are created, checked, imported, failed in the check, and created with random names. What is
/// not signed is done as well, see [`judge`].
#[cfg(fuzzing)]
const BEFORE: [&str; 6] = [
    "POST /?Action=BatchCheckDeviceNames&ProductKey=a1Simulator\n\n\
     DeviceNameList.1.DeviceName=dev1&DeviceNameList.1.DeviceNickname=lamp&\
     DeviceNameList.2.DeviceName=dev2",
    "POST /?Action=BatchRegisterDeviceWithApplyId&ProductKey=a1Simulator&ApplyId=1",
    "POST /?Action=BatchCheckDeviceNames&ProductKey=a1Simulator\n\nDeviceName.1=dev3",
    "POST /?Action=BatchImportDevice&ProductKey=a1Simulator\n\n\
     DeviceList.1.DeviceName=dev4&DeviceList.1.DeviceSecret=secret&DeviceList.1.Sn=SN_1",
    "POST /?Action=BatchCheckDeviceNames&ProductKey=a1Simulator\n\nDeviceName.1=dev1",
    "POST /?Action=BatchRegisterDevice&ProductKey=a1SimulatorX&Count=2",
];

/// Judges a request as it is, and once more well signed. Each finds a new simulator, so that an
/// input that fails does so by itself.
#[cfg(fuzzing)]
pub fn any_request(input: &[u8]) {
    let Some((mut head, body)) = request(input) else {
        return;
    };
    let shared = simulator();
    for before in BEFORE {
        let (head, body) = request(before.as_bytes()).expect("the transport lets these through");
        judge(&shared, &head, &body);
    }
    judge(&shared, &head, &body);
    sign(&mut head, &body);
    judge(&shared, &head, &body);
}

pub(super) fn simulator() -> Shared {
    // Nearly all inputs have the nonce of the corpus.
    let gateway = GatewayOptions {
        nonce_memory: std::time::Duration::ZERO,
        ..GatewayOptions::default()
    };
    Shared::open(&Options {
        speed: 0.0,
        gateway,
        ..Options::default()
    })
    .expect("without a directory there is nothing to fail")
}

/// A request as its head and its body, if the transport would let it through.
pub(super) fn request(input: &[u8]) -> Option<(Parts, String)> {
    let end = input.windows(2).position(|two| two == b"\n\n");
    let (head, body) = input.split_at(end.unwrap_or(input.len()));
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut first = lines.next()?.splitn(2, |byte| *byte == b' ');
    let method = http::Method::from_bytes(first.next()?).ok()?;
    let target = http::Uri::try_from(first.next()?).ok()?;
    let mut request = http::Request::builder().method(method).uri(target);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = http::HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = http::HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request = request.header(name, value);
    }
    let (head, ()) = request.body(()).ok()?.into_parts();
    let body = String::from_utf8_lossy(body.get(2..).unwrap_or_default());
    Some((head, body.into_owned()))
}

/// The same request with the signature that it should have, so that it gets past the gate.
pub(super) fn sign(head: &mut Parts, body: &str) {
    let query = head.uri.query().unwrap_or_default();
    let plain = "hexadecimal digits, and names of headers, are plain text";
    if head.headers.contains_key("authorization") {
        let sha = hex(&Sha256::digest(body));
        head.headers
            .insert("x-acs-content-sha256", sha.parse().expect(plain));
        let mut signed: Vec<_> = head.headers.keys().map(|name| name.as_str()).collect();
        signed.retain(|name| *name != "authorization");
        let method = head.method.as_str();
        let path = head.uri.path();
        let to_sign = acs3::string_to_sign(method, path, query, &head.headers, &signed, &sha);
        let authorization = format!(
            "ACS3-HMAC-SHA256 Credential={ACCESS_KEY_ID},SignedHeaders={},Signature={}",
            signed.join(";"),
            acs3::sign(ACCESS_KEY_SECRET, &to_sign)
        );
        head.headers
            .insert("authorization", authorization.parse().expect(plain));
    } else if let Some((before, _)) = query.rsplit_once("&Signature=") {
        let to_sign = rpc::string_to_sign(head.method.as_str(), before, body);
        let signature = rpc::sign(ACCESS_KEY_SECRET, &to_sign);
        let signature = signature.replace('+', "%2B");
        if let Ok(uri) = format!("/?{before}&Signature={signature}").parse() {
            head.uri = uri;
        }
    }
}

/// What the server does with a request, and to its answer in both forms. Tells whether the gate
/// let it in.
pub(super) fn judge(shared: &Shared, head: &Parts, body: &str) -> bool {
    // Once without its body, as it is counted.
    Envelope::read(head, "").action();
    let envelope = Envelope::read(head, body);
    let sha = hex(&Sha256::digest(body));
    let admitted = shared.gate.admit(envelope.dialect, head, body, &sha, NOW);
    let admitted_at_all = admitted.is_ok();
    // What the gate refuses is read on all the same, as if it were signed.
    let action = admitted.as_ref().ok().copied().or(envelope.action());
    if let Err(refusal) = &admitted {
        well_formed(Answer::refusal(refusal, "host"), envelope.action());
    }
    if let Some(action) = action {
        let answer = match shared.perform(head, action, body) {
            Ok(done) => done.answer,
            Err(refusal) => Answer::refusal(&refusal, "host"),
        };
        well_formed(answer, Some(action));
    }
    admitted_at_all
}

fn well_formed(answer: Answer, action: Option<Action>) {
    serde_json::from_str::<serde_json::Value>(&answer.body).expect("JSON");
    let rendered = xml::rendered(answer, action);
    assert_eq!(rendered.content_type, xml::XML);
    Element::parse(&rendered.body);
}
