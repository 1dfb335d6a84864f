//! Secrets that do not print, and texts that are safe to keep.

use std::{convert::Infallible, fmt, str::FromStr};

use crate::upstream::signature::encode;

/// The longest text that is kept of what the upstream says, in bytes.
const MAX_TEXT: usize = 256;

/// What a text says before it repeats what was signed: words of the upstream's refusals, and how
/// such a string begins in either signature. All in lower case.
const BEFORE_SIGNED: [&str; 7] = [
    "string to sign",
    "stringtosign",
    "canonical",
    "acs3-hmac",
    "signature=",
    "post\n",
    "post&%2f",
];

/// A signature of ours, and the hash that it signs, in hexadecimal digits.
const SIGNATURE: usize = 64;

/// What stands where something was cut out.
pub(super) const HIDDEN: &str = "***";

/// A text that signs calls. Neither `Debug` nor any error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for signing only.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Makes texts of the upstream fit to be kept: without our secrets, short, and storable.
#[derive(Clone)]
pub(super) struct Redaction {
    forbidden: Vec<String>,
}

impl Redaction {
    pub(super) fn of<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut forbidden = Vec::new();
        for secret in secrets {
            // Upstream echoes parameters as they were sent and as they were signed, where the
            // encoding has been applied once or twice.
            let plain = secret.reveal().to_owned();
            let once = encode(&plain);
            let twice = encode(&once);
            forbidden.extend([plain, once, twice]);
        }
        forbidden.retain(|text| !text.is_empty());
        forbidden.sort_by_key(|text| std::cmp::Reverse(text.len()));
        forbidden.dedup();
        Self { forbidden }
    }

    /// `raw` without secrets and without what was signed, in at most 256 bytes, NUL shown as ␀ and
    /// other control characters as spaces.
    pub(super) fn clean(&self, raw: &str) -> String {
        self.clean_and(raw, |text| text)
    }

    /// The same, with something more cut out before the text is cut off.
    pub(super) fn clean_and(&self, raw: &str, more: impl FnOnce(String) -> String) -> String {
        // Secrets go first: half a secret at the cut would no longer be found.
        let mut text = raw.trim().to_owned();
        for secret in &self.forbidden {
            if text.contains(secret) {
                text = text.replace(secret, HIDDEN);
            }
        }
        text = more(text);
        let lower = text.to_ascii_lowercase();
        let marks = BEFORE_SIGNED.iter().filter_map(|mark| lower.find(mark));
        if let Some(at) = marks.min() {
            text.truncate(at);
            text.push_str(HIDDEN);
        }
        text = without_signatures(text);
        if text.contains(char::is_control) {
            text = text
                .chars()
                .map(|c| match c {
                    '\0' => '␀',
                    c if c.is_control() => ' ',
                    c => c,
                })
                .collect();
        }
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text
    }
}

/// The text without runs of digits that are as long as a signature.
fn without_signatures(text: String) -> String {
    let is_digit = |c: char| c.is_ascii_hexdigit();
    let mut kept = String::new();
    let mut rest = text.as_str();
    while let Some(begin) = rest.find(is_digit) {
        let (before, run) = rest.split_at(begin);
        let (run, after) = run.split_at(run.find(|c| !is_digit(c)).unwrap_or(run.len()));
        kept.push_str(before);
        kept.push_str(if run.len() < SIGNATURE { run } else { HIDDEN });
        rest = after;
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_cut_out_before_the_text_is_cut_off() {
        let token: Secret = "CAIS+abc/secret==".parse().unwrap();
        let redaction = Redaction::of([&token]);
        let twice = encode(&encode(token.reveal()));

        let text = redaction.clean(&format!("{}{}{twice}", "x".repeat(250), token.reveal()));

        assert_eq!(text, format!("{}******", "x".repeat(250)));
    }

    #[test]
    fn a_text_ends_at_a_character_within_256_bytes_and_holds_no_nul() {
        let redaction = Redaction::of([]);

        let text = redaction.clean(&format!("a\0b\nc{}", "智".repeat(200)));

        assert!(text.starts_with("a␀b c智"));
        assert!(text.len() <= MAX_TEXT && text.len() > MAX_TEXT - 3);
    }

    #[test]
    fn what_was_signed_is_cut_out_wherever_it_begins() {
        let redaction = Redaction::of([]);
        let hash = "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789";
        for (raw, clean) in [
            ("server string to sign is:POST&%2F&A", "server ***"),
            ("It begins:\nPOST\n/\nApplyId=1", "It begins: ***"),
            ("its StringToSign was POST&%2F&A", "its ***"),
            ("ACS3-HMAC-SHA256 Credential=id", "***"),
            ("a CanonicalRequest", "a ***"),
            ("Signature=abc is wrong", "***"),
            ("deadbeef is no key", "deadbeef is no key"),
        ] {
            assert_eq!(redaction.clean(raw), clean, "{raw}");
        }
        assert_eq!(redaction.clean(&format!("got {hash}, ffé")), "got ***, ffé");
        assert_eq!(redaction.clean(&hash[1..]), &hash[1..]);
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret: Secret = "canary".parse().unwrap();

        assert_eq!(format!("{:?}", Some(secret)), "Some(***)");
    }
}
