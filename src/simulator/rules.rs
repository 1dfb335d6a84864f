//! What the upstream takes as a device name and a nickname.

use std::borrow::Cow;
use std::collections::HashSet;

use super::apply::Malformed;
use super::choices::LetterCase;
use super::request::Entry;
use super::switches::Switches;

/// From the help page of BatchCheckImportDevice.
pub(super) const ILLEGAL_NAME: &str = "The device name is illegal.";
/// From the help page of BatchCheckDeviceNames.
const ILLEGAL_NICKNAME: &str = "The nick name is illegal.";

/// The devices of a check, sorted by what can be said of them without looking at others.
#[derive(Debug, Default)]
pub(super) struct Sifted<'a> {
    pub(super) sound: Vec<&'a Entry<'a>>,
    pub(super) illegal_names: Vec<&'a str>,
    pub(super) illegal_nicknames: Vec<&'a str>,
    /// Each name once, however often it came.
    pub(super) repeated: Vec<&'a str>,
    /// Names that devices have already, if that is to be told at once.
    pub(super) existing: Vec<&'a str>,
    /// The devices of the lists above, with the messages of each joined by `|`.
    pub(super) malformed: Vec<Malformed>,
}

/// 4 to 32 of `A-Z a-z 0-9 - _ @ . :`.
pub(super) fn is_name(text: &str) -> bool {
    (4..=32).contains(&text.len()) && text.bytes().all(is_of_names)
}

fn is_of_names(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'@' | b'.' | b':')
}

/// 4 to 64 units of letters, digits, `_`, Chinese and Japanese, where the last two count double.
pub(super) fn is_nickname(text: &str) -> bool {
    let units = text.chars().map(|char| match char {
        'A'..='Z' | 'a'..='z' | '0'..='9' | '_' => Some(1),
        // Kana, and the ideographs with their first extension.
        '\u{3005}'
        | '\u{3040}'..='\u{30FF}'
        | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}' => Some(2),
        _ => None,
    });
    units
        .sum::<Option<usize>>()
        .is_some_and(|units| (4..=64).contains(&units))
}

/// 1 to 32 characters of the alphabet of names.
pub(super) fn is_secret(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(is_of_names)
}

/// 1 to 64 letters, digits and `_`.
pub(super) fn is_sn(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(legal)
}

/// What two names have in common if they are the same.
pub(super) fn same<'a>(name: &'a str, switches: &Switches) -> Cow<'a, str> {
    match switches.case {
        LetterCase::Exact => Cow::Borrowed(name),
        LetterCase::Ignore => Cow::Owned(name.to_ascii_lowercase()),
    }
}

pub(super) fn sift<'a>(entries: &'a [Entry<'a>], switches: &Switches) -> Sifted<'a> {
    let mut sifted = Sifted {
        sound: Vec::with_capacity(entries.len()),
        ..Sifted::default()
    };
    let mut seen = HashSet::with_capacity(entries.len());
    let mut repeated = HashSet::new();
    for entry in entries {
        let name = entry.name.as_ref();
        let mut messages = Vec::new();
        if !is_name(name) {
            messages.push(ILLEGAL_NAME);
            sifted.illegal_names.push(name);
        }
        if let Some(nickname) = entry.nickname.as_deref().filter(|text| !is_nickname(text)) {
            messages.push(ILLEGAL_NICKNAME);
            sifted.illegal_nicknames.push(nickname);
        }
        if !seen.insert(same(name, switches)) {
            messages.push(switches.repeated_text.as_str());
            if repeated.insert(same(name, switches)) {
                sifted.repeated.push(name);
            }
        }
        if messages.is_empty() {
            sifted.sound.push(entry);
        } else {
            sifted.malformed.push(Malformed {
                name: name.into(),
                nickname: entry.nickname.as_deref().map(Into::into),
                message: messages.join("|"),
            });
        }
    }
    if !repeated.is_empty() {
        // A name is not both valid and invalid: its first mention goes with the others.
        sifted
            .sound
            .retain(|entry| !repeated.contains(&same(&entry.name, switches)));
    }
    sifted
}

impl Sifted<'_> {
    /// Moves the names that devices have already from the sound ones to the others.
    pub(super) fn tell_existing(&mut self, text: &str, exists: impl Fn(&str) -> bool) {
        let taken = self.sound.extract_if(.., |entry| exists(&entry.name));
        for entry in taken {
            self.existing.push(&entry.name);
            self.malformed.push(Malformed {
                name: entry.name.as_ref().into(),
                nickname: entry.nickname.as_deref().map(Into::into),
                message: text.into(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(name: &'a str, nickname: Option<&'a str>) -> Entry<'a> {
        Entry {
            number: 1,
            name: Cow::Borrowed(name),
            nickname: nickname.map(Cow::Borrowed),
        }
    }

    #[test]
    fn names_have_4_to_32_characters_of_the_alphabet() {
        assert!(is_name("aZ09-_@.:"));
        assert!(is_name("abcd") && is_name(&"x".repeat(32)));
        assert!(!is_name("abc") && !is_name(&"x".repeat(33)));
        assert!(!is_name("with space") && !is_name("star*star") && !is_name("智能灯光"));
    }

    #[test]
    fn ideographs_count_double_in_nicknames() {
        assert!(is_nickname("智灯") && is_nickname("ひカ") && is_nickname("ab_1"));
        assert!(!is_nickname("智1") && !is_nickname("abc") && !is_nickname("智能灯 1"));
        assert!(is_nickname(&"灯".repeat(32)) && !is_nickname(&"灯".repeat(33)));
    }

    #[test]
    fn each_complaint_lands_in_its_list_and_messages_are_joined() {
        let entries = [
            entry("good1", Some("nick1")),
            entry("bad*", Some("x")),
            entry("twice", None),
            entry("twice", None),
            entry("twice", None),
        ];

        let sifted = sift(&entries, &Switches::default());

        assert_eq!(sifted.sound.len(), 1);
        assert_eq!(sifted.illegal_names, ["bad*"]);
        assert_eq!(sifted.illegal_nicknames, ["x"]);
        assert_eq!(sifted.repeated, ["twice"]);
        assert_eq!(sifted.malformed.len(), 3);
        assert_eq!(
            sifted.malformed[0].message,
            "The device name is illegal.|The nick name is illegal."
        );
    }
}
