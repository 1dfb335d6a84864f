//! Tokens: random texts that prove who is calling, kept as their hashes.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::domain::caller::is_name;

/// Begins every token, so that one that leaks is recognized.
const PREFIX: &str = "registrar_";

/// Begins every hash, so that another algorithm may come.
const ALGORITHM: &str = "sha256:";

/// SHA-256 of a token. A fast hash is enough, as tokens have 256 random bits. Since only hashes are
/// compared, the time that takes tells nothing of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token.
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Takes `sha256:` and 64 hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(ALGORITHM)?.as_bytes();
        let (pairs, []) = digits.as_chunks::<2>() else {
            return None;
        };
        let bytes = pairs.iter().map(|pair| {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            u8::try_from(high? * 16 + low?).ok()
        });
        let bytes: Option<Vec<u8>> = bytes.collect();
        Some(Self(bytes?.try_into().ok()?))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALGORITHM)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// Settings of `token`.
#[derive(Clone, Debug, clap::Args)]
pub struct Token {
    /// Who it is for: 1 to 64 letters, digits, - _ and .
    #[arg(value_name = "NAME", value_parser = name)]
    pub name: String,
}

fn name(text: &str) -> Result<String, String> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a name has 1 to 64 letters, digits, - _ and .".to_owned()),
    }
}

/// Makes a token. Gives it, and what to write into the access file.
pub fn make(settings: &Token) -> (String, String) {
    let token = format!(
        "{PREFIX}{}",
        URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
    );
    let hash = TokenHash::of(&token);
    let name = &settings.name;
    let lines = format!(
        "This token is shown once and kept nowhere. For a caller that the access file knows, add the \
         hash to\nits `tokens` and remove the old one when nobody uses it any more; for a new one:\n\n\
         [[caller]]\n\
         name = \"{name}\"\n\
         tenant = \"{name}\"\n\
         rights = [\"submit\", \"register\", \"cancel\", \"read\"]\n\
         products = [\"*\"]\n\
         tokens = [\"{hash}\"]\n"
    );
    (token, lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::Proof,
        service::access::{credential::Credential, file},
    };

    #[test]
    fn a_hash_comes_back_from_its_text_and_nothing_else_is_one() {
        let hash = TokenHash::of("x");
        let text = hash.to_string();

        assert_eq!(
            text,
            "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
        );
        assert_eq!(TokenHash::parse(&text), Some(hash));
        assert_eq!(
            TokenHash::parse(&text.to_uppercase().replace("SHA", "sha")),
            Some(hash)
        );
        for other in [
            "",
            "sha256:",
            &text[7..],
            &text[..70],
            &format!("{text}00"),
            "sha256:é",
        ] {
            assert_eq!(TokenHash::parse(other), None, "{other}");
        }
        assert!(!format!("{hash:?}").contains("2d71"));
    }

    #[test]
    fn the_lines_for_the_file_know_the_token_and_do_not_hold_it() {
        let settings = Token {
            name: "press-line".into(),
        };
        let (token, lines) = make(&settings);

        assert!(token.len() == PREFIX.len() + 43 && !lines.contains(&token));
        assert_ne!(token, make(&settings).0);
        let known = file::parse(&lines[lines.find("[[").unwrap()..]).unwrap();
        let (caller, proof) = Credential::Token(TokenHash::of(&token))
            .caller(&known)
            .unwrap();
        assert_eq!((&*caller.name, proof), ("press-line", Proof::Token));
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        assert!(name("press-line").is_ok() && name("a\"b").is_err() && name("").is_err());
    }
}
