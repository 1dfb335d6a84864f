//! Answers that nobody would think of, judged in `upstream::fuzz`: made from what the documents
//! have, changed at random, and the same ones each time.
//!
//! `REGISTRAR_FUZZ_SECONDS` makes it go on for so long. What it finds goes to
//! `tests/corpus/answers`, which is read first; a file's name begins with the HTTP status.

mod grow;

use std::{
    env, fs, panic,
    path::PathBuf,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use self::grow::{change, grow};
use crate::upstream::fuzz::judge;

/// With the number of an input, all that it is made from.
const SEED: u64 = 0x5eed_0011;

/// How many inputs there are unless it is told to go on: a second or two of them, unoptimised.
const INPUTS: u64 = 2_000;

const STATUSES: [u16; 9] = [200, 200, 200, 200, 400, 403, 404, 429, 503];

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

/// Judges it; what does harm is kept in a file.
fn read_all(http_status: u16, body: &[u8], what: &str) {
    if let Err(harm) = panic::catch_unwind(|| judge(http_status, body)) {
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
