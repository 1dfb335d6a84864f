//! Generated and mutated requests, judged in `fuzz`.
//!
//! `REGISTRAR_FUZZ_SECONDS` makes it go on for so long. An input that fails is printed; put it
//! into `tests/corpus/requests`, whose files are replayed first and then mutated.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Instant;

use super::super::fuzz::{judge, request, sign, simulator};

const SEED: u64 = 0x5EED_2018_0120;
/// Inputs, if no time is given: some 3 s of an unoptimised build.
const INPUTS: u64 = 5_000;
/// A simulator is replaced by a new one after so many, so that it does not fill up.
const INPUTS_EACH: u64 = 2_000;
/// In bytes; what grows longer is cut.
const LONGEST: usize = 4_096;
/// What random bytes would take too long to hit upon.
const WORDS: [&str; 30] = [
    "&",
    "=",
    "%",
    "+",
    "%2",
    "%ff",
    "%25",
    "%00",
    "\n",
    "\n\n",
    ".",
    ";",
    ",",
    "~",
    "é",
    "灯",
    "&DeviceName.1=dev1",
    "&DeviceNameList.2.DeviceName=x",
    "&DeviceNameList.2.DeviceNickname=灯",
    "&Action=QueryProduct",
    "&Action=BatchCheckDeviceNames",
    "&Format=XML",
    "&Format=JSON",
    "&ProductKey=a1Simulator",
    "&ApplyId=18446744073709551616",
    "&SignatureType=",
    "&Signature=",
    "authorization: ACS3-HMAC-SHA256 Credential=simulator,SignedHeaders=host,Signature=x\n",
    "x-acs-action: QueryProduct\n",
    "4294967296",
];

/// SplitMix64: the same numbers on every machine, from every version.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`, or 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound.max(1) as u64).unwrap()
    }

    fn mutate(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(6) {
            let at = self.below(input.len() + 1);
            let until = (at + self.below(16)).min(input.len());
            match self.below(6) {
                0 => drop(input.drain(at..until)),
                1 => drop(input.splice(at..until, WORDS[self.below(WORDS.len())].bytes())),
                2 => drop(input.splice(at..at, input[at..until].to_vec())),
                3 => input.insert(at, self.roll().to_be_bytes()[0]),
                4 if at < input.len() => input[at] ^= 1 << self.below(8),
                _ => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len());
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
            }
        }
        input.truncate(LONGEST);
        input
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let root = std::env::var_os("REGISTRAR_TEST_ROOT")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let folder = std::fs::read_dir(root.join("tests/corpus/requests")).unwrap();
    let mut files: Vec<_> = folder.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

/// None means a number of inputs.
fn seconds() -> Option<u64> {
    let seconds = std::env::var_os("REGISTRAR_FUZZ_SECONDS")?;
    Some(
        seconds
            .to_str()
            .unwrap()
            .parse()
            .expect("a number of seconds"),
    )
}

#[test]
fn no_request_makes_the_simulator_panic() {
    let corpus = corpus();
    let mut dice = Dice(SEED);
    let began = Instant::now();
    let seconds = seconds();
    let goes_on = |inputs: u64| match seconds {
        Some(seconds) => began.elapsed().as_secs() < seconds,
        None => inputs < INPUTS,
    };
    let mut shared = simulator();
    let mut admitted = 0;
    let mut inputs = 0;
    while goes_on(inputs) || inputs < corpus.len() as u64 {
        let replayed = usize::try_from(inputs).ok().and_then(|at| corpus.get(at));
        let input = replayed.cloned().unwrap_or_else(|| dice.mutate(&corpus));
        let signed = replayed.is_none() && dice.below(2) == 0;
        inputs += 1;
        if inputs % INPUTS_EACH == 0 {
            shared = simulator();
        }
        let Some((mut head, body)) = request(&input) else {
            continue;
        };
        let judged = catch_unwind(AssertUnwindSafe(|| {
            if signed {
                sign(&mut head, &body);
            }
            judge(&shared, &head, &body)
        }));
        match judged {
            Ok(let_in) => admitted += u64::from(let_in),
            Err(_) => panic!("input {inputs} fails:\n{}", input.escape_ascii()),
        }
    }
    println!("{admitted} of {inputs} inputs got past the gate");
    assert!(
        admitted > inputs / 50,
        "only {admitted} of {inputs} got past the gate"
    );
}
