//! What must hold of the reading of any answer, for the fuzz tests and for `script/fuzz`: nothing
//! panics in the functions that every answer goes through, and what comes out of them holds to its
//! bounds, means what was said and has no secret.

use std::fmt;

use crate::{
    domain::DeviceSecret,
    upstream::{
        Action, Error, Refused, Scope, Verdict,
        answers::{self, Take},
        asked::Asked,
        codes::is_throttling,
        details, form, imports, product,
        reading::Reply,
        secret::{Redaction, Secret},
    },
};

/// Answers may hold it, errors may not.
pub(super) const SECRET: &str = "canary-secret";

/// The same of a device that is imported. In other words than any that are grown.
pub(super) const DEVICE_SECRET: &str = "canary-device";

/// The longest text that is kept of what the upstream says, in bytes.
const MAX_TEXT: usize = 256;

/// Judges a body under a status of each kind. In `tests/corpus/answers` a file's name begins with
/// the one that goes with it.
#[cfg(fuzzing)]
pub fn any_answer(body: &[u8]) {
    for http_status in [200, 400, 429, 503] {
        judge(http_status, body);
    }
}

/// Reads it as the answer to each action.
pub(super) fn judge(http_status: u16, body: &[u8]) {
    read(answers::checked, http_status, body);
    read(answers::registered, http_status, body);
    read(answers::status, http_status, body);
    read(answers::page, http_status, body);
    read(product::product, http_status, body);
    read(imports::checked_import, http_status, body);
    read(imports::imported, http_status, body);
    read(details::detail, http_status, body);
    read(details::details, http_status, body);
    read(details::credentials, http_status, body);
    read_import(imports::checked_import, http_status, body);
    read_import(answers::checked, http_status, body);
}

fn read<T: fmt::Debug>(take: Take<T>, http_status: u16, body: &[u8]) {
    let asked = form::devices([
        ("dev1", Some("nick")),
        ("dev2", Some("nick")),
        ("dev3", None),
    ]);
    read_as(
        take,
        http_status,
        body,
        Action::BatchCheckDeviceNames,
        asked,
    );
}

/// As the answer to an import, whose devices have the canary for their secrets.
fn read_import<T: fmt::Debug>(take: Take<T>, http_status: u16, body: &[u8]) {
    let secret = DeviceSecret::new(DEVICE_SECRET.to_owned());
    let asked = form::imports([
        ("dev1", &secret, Some("nick")),
        ("dev2", &secret, Some("nick")),
        ("dev3", &secret, None),
    ]);
    read_as(take, http_status, body, Action::BatchImportDevice, asked);
}

fn read_as<T: fmt::Debug>(
    take: Take<T>,
    http_status: u16,
    body: &[u8],
    action: Action,
    asked: String,
) {
    let secret: Secret = SECRET.parse().expect("any text is a secret");
    let brings_secrets = action.brings_secrets();
    let asked = Asked::new(action, asked.into(), &Redaction::of([&secret]));
    let reply = Reply {
        http_status,
        body,
        asked: &asked,
    };

    let (request_id, read) = reply.read(take);

    if brings_secrets {
        let said = match &read {
            Ok(read) => format!("{read:?} {request_id:?}"),
            Err(error) => format!("{error} {error:?} {:?} {request_id:?}", error.refused),
        };
        assert!(!said.contains(DEVICE_SECRET), "{said}");
    }
    holds_to_bounds(request_id.as_deref().unwrap_or_default());
    match read {
        Ok(read) => {
            assert!((200..300).contains(&http_status), "{read:?}");
            assert!(calls_itself_success(body), "{read:?}");
            // Escapes of `Debug` at most double a text, and each name has its words around it.
            assert!(format!("{read:?}").len() < 1000 + 100 * body.len());
        }
        Err(error) => holds(&error, http_status, body.len()),
    }
}

/// What every error must hold to, whatever the answer was.
fn holds(error: &Error, http_status: u16, length: usize) {
    holds_to_bounds(&error.message);
    holds_to_bounds(error.code.as_deref().unwrap_or_default());
    let code = error.code.as_deref().unwrap_or_default();
    match (error.verdict, error.scope) {
        (Verdict::Again, Scope::Call) => assert!(error.throttled(), "{error:?}"),
        (Verdict::Final | Verdict::Again, _) => assert!(http_status < 500, "{error:?}"),
        (Verdict::Unclear, scope) => assert_eq!(scope, Scope::Call, "{error:?}"),
    }
    if error.throttled() {
        assert!(is_throttling(code) || http_status == 429, "{error:?}");
    }
    let mut names: Vec<_> = error.refused.iter().map(|device| &device.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), error.refused.len(), "each name once");
    assert!(names.len() <= length, "no more names than the answer has");
    for Refused { text, .. } in &error.refused {
        holds_to_bounds(text.as_deref().unwrap_or_default());
    }
    assert!(!format!("{error} {error:?}").contains(SECRET));
}

fn holds_to_bounds(text: &str) {
    assert!(text.len() <= MAX_TEXT, "{} bytes", text.len());
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// By its letters alone, so that it does not err where the parser does.
fn calls_itself_success(body: &[u8]) -> bool {
    let text: String = String::from_utf8_lossy(body).split_whitespace().collect();
    text.starts_with('{') && text.contains(r#""Success":true"#)
}
