//! Answers that nobody would think of, through the functions that every answer goes through: made
//! from what the documents have, changed at random, and the same ones each time.
//!
//! `REGISTRAR_FUZZ_SECONDS` makes it go on for so long. What it finds goes to
//! `tests/corpus/answers`, which is read first; a file's name begins with the HTTP status.

mod grow;

use std::{
    env, fmt, fs, panic,
    path::PathBuf,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use self::grow::{change, grow};
use super::far_end::SECRET;
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

/// With the number of an input, all that it is made from.
const SEED: u64 = 0x5eed_0011;

/// How many inputs there are unless it is told to go on: a second or two of them, unoptimised.
const INPUTS: u64 = 2_000;

const STATUSES: [u16; 9] = [200, 200, 200, 200, 400, 403, 404, 429, 503];

/// In other words than any that are grown.
const DEVICE_SECRET: &str = "canary-device";

/// The longest text that is kept of what the upstream says, in bytes.
const MAX_TEXT: usize = 256;

#[test]
fn what_was_once_found_does_no_harm() {
    for (name, http_status, body) in corpus() {
        read_all(http_status, &body, &name);
    }
}

#[test]
fn no_answer_does_harm() {
    let seconds = env::var_os("REGISTRAR_FUZZ_SECONDS")
        .and_then(|text| text.to_str()?.parse().ok())
        .map(Duration::from_secs);
    let begun = Instant::now();
    let corpus = corpus();
    let goes_on = |number: u64| match seconds {
        Some(seconds) => begun.elapsed() < seconds,
        None => number < INPUTS,
    };

    let mut number = 0;
    while goes_on(number) {
        let mut rng = StdRng::seed_from_u64(SEED.wrapping_add(number));
        let http_status = STATUSES[rng.random_range(0..STATUSES.len())];
        let mut body = match rng.random_range(0..3) {
            0 => corpus[rng.random_range(0..corpus.len())].2.clone(),
            _ => grow(&mut rng).into_bytes(),
        };
        for _ in 0..rng.random_range(0..4) {
            let other = &corpus[rng.random_range(0..corpus.len())].2;
            change(&mut rng, &mut body, other);
        }
        read_all(http_status, &body, &format!("input {number}"));
        number += 1;
    }
    println!("{number} answers in {:?}", begun.elapsed());
}

/// Reads it as the answer to each action; what does harm is kept in a file.
fn read_all(http_status: u16, body: &[u8], what: &str) {
    let read = || {
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
    };
    if let Err(harm) = panic::catch_unwind(read) {
        let name = format!("{http_status}-{}", what.replace([' ', '/'], "-"));
        let path = env::temp_dir().join(name);
        fs::write(&path, body).unwrap();
        println!(
            "{what} does harm; for tests/corpus/answers: {}",
            path.display()
        );
        panic::resume_unwind(harm);
    }
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
    let secret: Secret = SECRET.parse().unwrap();
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

/// Name, HTTP status and content of what is kept.
fn corpus() -> Vec<(String, u16, Vec<u8>)> {
    let root = env::var_os("REGISTRAR_TEST_ROOT")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let files = fs::read_dir(root.join("tests/corpus/answers")).expect("there is a corpus");
    let mut corpus: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let status = name.split('-').next().unwrap().parse();
            let status = status.expect("a file's name begins with the HTTP status");
            (name, status, fs::read(path).unwrap())
        })
        .collect();
    corpus.sort();
    corpus
}
