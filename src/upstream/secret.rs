//! Secrets that do not print, and texts that are safe to keep.

use std::{convert::Infallible, fmt, str::FromStr};

use crate::upstream::signature::encode;

/// The longest text that is kept of what the upstream says, in bytes.
const MAX_TEXT: usize = 256;

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
        f.write_str("***")
    }
}

/// Makes texts of the upstream fit to be kept: without our secrets, short, and storable.
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

    /// `raw` without secrets, in at most 256 bytes, NUL shown as ␀ and other control characters
    /// as spaces.
    pub(super) fn clean(&self, raw: &str) -> String {
        let mut text = raw.trim().to_owned();
        // Secrets go first: half a secret at the cut would no longer be found.
        for secret in &self.forbidden {
            if text.contains(secret) {
                text = text.replace(secret, "***");
            }
        }
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
    fn a_secret_does_not_print() {
        let secret: Secret = "canary".parse().unwrap();

        assert_eq!(format!("{:?}", Some(secret)), "Some(***)");
    }
}
