//! What a call said, as far as reading its answer depends on it: whose things a refusal may name,
//! and what must not be repeated.

use std::{
    collections::{HashMap, HashSet},
    sync::OnceLock,
};

use aho_corasick::AhoCorasick;
use tokio_util::bytes::Bytes;

use crate::{
    domain::DeviceSecret,
    upstream::{
        action::Action,
        refused::Kind,
        secret::{HIDDEN, Redaction},
        signature::encode,
    },
};

/// Texts of this length are cleaned in full; what is longer is cut off first, which the 256 bytes
/// that are kept in the end never show: each secret of up to 160 bytes, encoded, leaves 3.
const LONGEST: usize = 64 << 10;

/// A secret shorter than this is cut out only where it stands alone. Anywhere else it is a part of
/// some word, and cutting it out of all words would tell it.
const SHORT: usize = 6;

/// What was asked.
pub(super) struct Asked {
    /// The form body.
    body: Bytes,
    brings_secrets: bool,
    redaction: Redaction,
    /// Finds the secrets of the body. Made when there is a text to look at: most calls succeed, and
    /// it takes longer to make than the body itself.
    finder: OnceLock<Finder>,
    rows: OnceLock<Rows>,
}

/// The devices of the body.
#[derive(Default)]
struct Rows {
    names: HashSet<String>,
    /// Whose each nickname, secret and serial number is.
    owners: HashMap<(Kind, String), Vec<String>>,
}

impl Asked {
    pub(super) fn new(action: Action, body: Bytes, redaction: &Redaction) -> Self {
        Self {
            body,
            brings_secrets: action.brings_secrets(),
            redaction: redaction.clone(),
            finder: OnceLock::new(),
            rows: OnceLock::new(),
        }
    }

    /// What the answers of tests are read for.
    #[cfg(test)]
    pub(super) fn nothing() -> Self {
        Self::new(Action::QueryProduct, Bytes::new(), &Redaction::of([]))
    }

    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    /// What the upstream says, fit to be kept: as [`Redaction::clean`], and without the secrets of
    /// the devices that were asked about.
    pub(super) fn clean(&self, raw: &str) -> String {
        match self.brings_secrets && !is_request_id(raw) {
            true => self
                .redaction
                .clean_and(raw, |text| self.without_secrets(text)),
            false => self.redaction.clean(raw),
        }
    }

    /// Whether a refusal may name this device. What an import is refused for is the business of its
    /// own devices; another name may be anything, a secret among them.
    pub(super) fn may_name(&self, name: &str) -> bool {
        !self.brings_secrets || self.rows().names.contains(name)
    }

    /// The devices that this nickname, secret or serial number was sent for.
    pub(super) fn owners(&self, kind: Kind, value: &str) -> &[String] {
        let owners = &self.rows().owners;
        owners
            .get(&(kind, value.to_owned()))
            .map_or(&[], Vec::as_slice)
    }

    fn rows(&self) -> &Rows {
        self.rows.get_or_init(|| {
            let mut rows = Rows::default();
            let mut owner = String::new();
            for (field, value) in form_urlencoded::parse(&self.body) {
                let kind = match field.rsplit('.').next() {
                    Some("DeviceNickname") => Kind::Nickname,
                    Some("DeviceSecret") => Kind::Secret,
                    Some("Sn") => Kind::Sn,
                    // The name stands first in its row.
                    _ => {
                        owner = value.into_owned();
                        rows.names.insert(owner.clone());
                        continue;
                    }
                };
                let owners = rows.owners.entry((kind, value.into_owned())).or_default();
                owners.push(owner.clone());
            }
            rows
        })
    }

    fn without_secrets(&self, text: String) -> String {
        let finder = self.finder.get_or_init(|| {
            let pairs = form_urlencoded::parse(&self.body);
            let secrets = pairs.filter(|(field, _)| field.ends_with(".DeviceSecret"));
            Finder::of(secrets.map(|(_, secret)| secret))
        });
        finder.hide(text)
    }
}

/// What the upstream said in answer to a call that brought no secrets, without these: it knows them
/// from another call.
pub fn without_secrets<'s>(
    text: &str,
    secrets: impl IntoIterator<Item = &'s DeviceSecret>,
) -> String {
    let secrets = secrets.into_iter().map(|secret| secret.reveal());
    Finder::of(secrets).hide(text.to_owned())
}

/// Finds secrets in texts.
struct Finder(Option<AhoCorasick>);

impl Finder {
    fn of(secrets: impl Iterator<Item: AsRef<str>>) -> Self {
        let forms = secrets.flat_map(|plain| {
            let plain = plain.as_ref();
            let once = encode(plain);
            let twice = encode(&once);
            [plain.to_owned(), once, twice]
        });
        let forms: HashSet<String> = forms.filter(|form| !form.is_empty()).collect();
        // Too many to be searched for at once is more than a body can hold.
        Self(AhoCorasick::new(forms).ok())
    }

    fn hide(&self, mut text: String) -> String {
        text.truncate(text.floor_char_boundary(LONGEST));
        let Some(finder) = &self.0 else {
            return HIDDEN.to_owned();
        };
        let mut kept = String::new();
        let mut hidden_to = 0;
        let mut spans: Vec<_> = finder
            .find_overlapping_iter(&text)
            .map(|found| found.range())
            .filter(|span| span.len() >= SHORT || stands_alone(&text, span.start, span.end))
            .collect();
        // Secrets that overlap are hidden together.
        spans.sort_by_key(|span| span.start);
        for span in spans {
            if span.start >= hidden_to {
                kept.push_str(&text[hidden_to..span.start]);
                kept.push_str(HIDDEN);
            }
            hidden_to = hidden_to.max(span.end);
        }
        kept.push_str(&text[hidden_to..]);
        kept
    }
}

fn stands_alone(text: &str, from: usize, to: usize) -> bool {
    let in_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    !in_word(bytes[..from].last()) && !in_word(bytes[to..].first())
}

/// A UUID, as all of the documents' RequestIds are: nothing of ours, and the one text that comes
/// with every answer.
fn is_request_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::form;

    /// An import of devices with these secrets, in a call that has no others to keep.
    fn import(secrets: &[&str]) -> Asked {
        let secrets: Vec<_> = secrets
            .iter()
            .map(|text| DeviceSecret::new((*text).to_owned()))
            .collect();
        let devices = secrets.iter().map(|secret| ("dev", secret, None));
        let body = form::imports(devices).into();
        Asked::new(Action::BatchImportDevice, body, &Redaction::of([]))
    }

    #[test]
    fn the_secrets_of_an_import_are_cut_out_in_every_form() {
        let asked = import(&["abc:def@1", "def@1ghij", "k1", "e"]);
        for (raw, clean) in [
            (
                "of abc:def@1, of abc%3Adef%401, abc%253Adef%25401",
                "of ***, of ***, ***",
            ),
            ("xabc:def@1ghijy", "x***y"),
            ("abc:def@1abc:def@1", "******"),
            (
                "k1 is bad: k1; [k1] k12 xk1",
                "*** is bad: ***; [***] k12 xk1",
            ),
            ("The device name is illegal.", "The device name is illegal."),
            ("secret e", "secret ***"),
            ("", ""),
        ] {
            assert_eq!(asked.clean(raw), clean, "{raw}");
        }
    }

    #[test]
    fn a_request_id_is_kept_whatever_the_secrets() {
        let asked = import(&["0B12DE1A"]);
        let id = "0B12DE1A-2304-5E86-AAFD-B0206BDECD01";

        assert_eq!(asked.clean(id), id);
        assert_eq!(asked.clean(&id[..35]), format!("***{}", &id[8..35]));
    }

    #[test]
    fn a_text_without_end_shows_no_half_of_a_secret() {
        let secret = "canary-canary-canary-canary-cana";
        let asked = import(&[secret]);

        let text = asked.clean(&secret.repeat(10_000));

        assert!(!text.contains("canary") && text.len() <= 256, "{text}");
    }

    #[test]
    fn ten_thousand_secrets_are_cut_out_of_ten_thousand_texts() {
        let secrets: Vec<_> = (0..10_000).map(|n| format!("canary:{n:025}")).collect();
        let asked = import(&secrets.iter().map(String::as_str).collect::<Vec<_>>());

        for secret in &secrets {
            assert_eq!(
                asked.clean(&format!("{secret} is illegal")),
                "*** is illegal"
            );
        }
    }

    #[test]
    fn only_an_import_keeps_to_the_names_it_sent() {
        let asked = import(&["s"]);
        assert!(asked.may_name("dev") && !asked.may_name("other"));
        assert_eq!(asked.owners(Kind::Secret, "s"), ["dev"]);
        assert!(asked.owners(Kind::Sn, "s").is_empty());

        let check = Asked::new(
            Action::BatchCheckDeviceNames,
            Bytes::new(),
            &Redaction::of([]),
        );
        assert!(check.may_name("other"));
    }
}
