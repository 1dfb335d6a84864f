//! Generated and mutated requests against all that reads them, through the functions that the
//! server uses. Nothing may panic, and every answer must be well-formed in both forms.
//!
//! `REGISTRAR_FUZZ_SECONDS` makes it go on for so long. An input that fails is printed; put it
//! into `tests/corpus/requests`, whose files are replayed first and then mutated.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Instant;

use http::request::Parts;

use super::super::answers::Answer;
use super::super::envelope::Envelope;
use super::super::server::Shared;
use super::super::signature::{acs3, rpc};
use super::super::xml;
use super::xml::Element;
use super::*;

const SEED: u64 = 0x5EED_2018_0120;
/// Inputs, if no time is given: some 3 s of an unoptimised build.
const INPUTS: u64 = 5_000;
/// A simulator is replaced by a new one after so many, so that it does not fill up.
const INPUTS_EACH: u64 = 2_000;
/// In bytes; what grows longer is cut.
const LONGEST: usize = 4_096;
/// 2026-01-02T03:04:05Z, the date in the corpus.
const NOW: u64 = 1_767_323_045_000_000;
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

/// A request as its head and its body, if the transport would let it through.
fn request(input: &[u8]) -> Option<(Parts, String)> {
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
fn sign(head: &mut Parts, body: &str) {
    let query = head.uri.query().unwrap_or_default();
    if head.headers.contains_key("authorization") {
        let sha = signature::hex(&Sha256::digest(body));
        head.headers
            .insert("x-acs-content-sha256", sha.parse().unwrap());
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
            .insert("authorization", authorization.parse().unwrap());
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
fn judge(shared: &Shared, head: &Parts, body: &str) -> bool {
    let early = Envelope::read(head, "");
    assert!(early.action_name.len() <= LONGEST);
    let envelope = Envelope::read(head, body);
    let sha = signature::hex(&Sha256::digest(body));
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
    serde_json::from_str::<Value>(&answer.body).expect("JSON");
    let rendered = xml::rendered(answer, action);
    assert_eq!(rendered.content_type, xml::XML);
    Element::parse(&rendered.body);
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

fn simulator() -> Shared {
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
    .unwrap()
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
