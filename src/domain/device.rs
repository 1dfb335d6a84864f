//! What the upstream takes as a device name and as a nickname.
//!
//! The rules are the upstream's own (help pages 69482 and 69514); judging them here saves a round
//! trip and gives each device a reason that names the rule.

use super::{
    DeviceSecret,
    reason::{Reason, ReasonCode},
};

/// Length of a device name in characters.
pub const NAME_LENGTH: std::ops::RangeInclusive<usize> = 4..=32;

/// Length of a nickname in units; a Chinese or Japanese character counts two.
pub const NICKNAME_LENGTH: std::ops::RangeInclusive<usize> = 4..=64;

/// Length of the secret that a device brings, in characters.
///
/// Source: BatchCheckImportDevice, as for the serial number.
pub const SECRET_LENGTH: std::ops::RangeInclusive<usize> = 1..=32;

/// Length of a serial number in characters; it may be left out.
pub const SN_LENGTH: std::ops::RangeInclusive<usize> = 1..=64;

/// What is kept of a text that breaks a rule, in bytes.
pub const KEPT: usize = 256;

/// Stands between texts that are joined, and in none that is stored: the unit separator of ASCII.
pub const SEPARATOR: char = '\u{1f}';

/// A device as it is handed over.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// Its name.
    pub name: String,
    /// Its nickname; empty for none.
    pub nickname: String,
    /// What it brings, if it is to be imported.
    pub brought: Option<Brought>,
}

/// What a device brings that is to be imported.
#[derive(Clone, Debug)]
pub struct Brought {
    /// The secret that it has from its maker.
    pub secret: DeviceSecret,
    /// Its serial number; empty for none.
    pub sn: String,
}

impl NewDevice {
    /// Why the upstream would not take it, if it would not.
    pub fn judge(&self) -> Option<Reason> {
        let named = judge_name(&self.name).or_else(|| judge_nickname(&self.nickname));
        named.or_else(|| {
            let brought = self.brought.as_ref()?;
            judge_secret(&brought.secret).or_else(|| judge_sn(&brought.sn))
        })
    }
}

impl From<(String, String)> for NewDevice {
    fn from((name, nickname): (String, String)) -> Self {
        Self {
            name,
            nickname,
            brought: None,
        }
    }
}

/// What names and secrets are made of.
fn is_of_names(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@' | '.' | ':')
}

/// Why this is not a secret that a device can bring, if it is not. The reason holds nothing of it.
fn judge_secret(secret: &DeviceSecret) -> Option<Reason> {
    let text = secret.reveal();
    if let Some(at) = text.chars().position(|c| !is_of_names(c)) {
        let text = format!(
            "character {} of the secret is not allowed; allowed are letters, digits and - _ @ . :",
            at + 1
        );
        return Some(Reason::local(ReasonCode::SecretCharacter, text));
    }
    if !SECRET_LENGTH.contains(&text.len()) {
        let text = match text.len() {
            0 => "the device brings no secret; every device of an import needs one".to_owned(),
            more => format!("the secret has {more} characters; 1 to 32 are allowed"),
        };
        return Some(Reason::local(ReasonCode::SecretLength, text));
    }
    None
}

/// Why `sn` is not a serial number, if it is not. An empty one means none and is fine.
fn judge_sn(sn: &str) -> Option<Reason> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some((at, c)) = sn.chars().enumerate().find(|(_, c)| !allowed(*c)) {
        let text = format!(
            "character {} of the serial number is {}; allowed are English letters, digits and _",
            at + 1,
            shown(c)
        );
        return Some(Reason::local(ReasonCode::SnCharacter, text));
    }
    if !sn.is_empty() && !SN_LENGTH.contains(&sn.len()) {
        let text = format!(
            "the serial number has {} characters; 1 to 64 are allowed",
            sn.len()
        );
        return Some(Reason::local(ReasonCode::SnLength, text));
    }
    None
}

/// Why `name` is not a device name, if it is not.
pub fn judge_name(name: &str) -> Option<Reason> {
    if let Some((at, c)) = name.chars().enumerate().find(|(_, c)| !is_of_names(*c)) {
        let text = format!(
            "character {} of the name is {}; allowed are letters, digits and - _ @ . :",
            at + 1,
            shown(c)
        );
        return Some(Reason::local(ReasonCode::NameCharacter, text));
    }
    if !NAME_LENGTH.contains(&name.len()) {
        let text = format!(
            "the name has {} characters; 4 to 32 are allowed",
            name.len()
        );
        return Some(Reason::local(ReasonCode::NameLength, text));
    }
    None
}

/// Why `nickname` is not a nickname, if it is not. An empty one means none and is fine.
pub fn judge_nickname(nickname: &str) -> Option<Reason> {
    if nickname.is_empty() {
        return None;
    }
    let mut units = 0;
    for (at, c) in nickname.chars().enumerate() {
        units += match c {
            _ if c.is_ascii_alphanumeric() || c == '_' => 1,
            _ if is_cjk(c) => 2,
            _ => {
                let text = format!(
                    "character {} of the nickname is {}; allowed are Chinese, Japanese and \
                     English letters, digits and _",
                    at + 1,
                    shown(c)
                );
                return Some(Reason::local(ReasonCode::NicknameCharacter, text));
            }
        };
    }
    if !NICKNAME_LENGTH.contains(&units) {
        let text = format!(
            "the nickname has {units} units; 4 to 64 are allowed, a Chinese or Japanese character \
             counts two"
        );
        return Some(Reason::local(ReasonCode::NicknameLength, text));
    }
    None
}

/// What is stored of a text that was sent: its first 256 bytes, with NUL (which Postgres cannot
/// hold) shown as U+2400 and the separator of texts as U+241F.
pub fn readable(mut text: String) -> String {
    for (hidden, shown) in [('\0', "\u{2400}"), (SEPARATOR, "\u{241f}")] {
        if text.contains(hidden) {
            text = text.replace(hidden, shown);
        }
    }
    text.truncate(text.floor_char_boundary(KEPT));
    text
}

fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{3040}'..='\u{30FF}'     // hiragana, katakana
        | '\u{3400}'..='\u{4DBF}'   // ideographs, extension A
        | '\u{4E00}'..='\u{9FFF}'   // ideographs
        | '\u{3005}'..='\u{3007}'   // iteration mark, closing mark, zero
        | '\u{F900}'..='\u{FAFF}'   // compatibility ideographs
        | '\u{20000}'..='\u{3134F}' // further extensions
    )
}

fn shown(c: char) -> String {
    match c {
        ' ' => "a space".to_owned(),
        c if c.is_control() => format!("U+{:04X}", u32::from(c)),
        c => format!("{c:?} (U+{:04X})", u32::from(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_code(name: &str) -> Option<ReasonCode> {
        judge_name(name).map(|reason| reason.code)
    }

    fn nickname_code(nickname: &str) -> Option<ReasonCode> {
        judge_nickname(nickname).map(|reason| reason.code)
    }

    #[test]
    fn a_name_has_4_to_32_of_the_documented_characters() {
        for good in ["abcd", "A-1_@.:", &"x".repeat(32)] {
            assert_eq!(name_code(good), None, "{good}");
        }
        for short_or_long in ["", "abc", &"x".repeat(33)] {
            assert_eq!(name_code(short_or_long), Some(ReasonCode::NameLength));
        }
        for strange in [
            "press 0001",
            "press\u{ff0d}0001",
            "nul\0name",
            "名称名称",
            "a/bcd",
        ] {
            assert_eq!(
                name_code(strange),
                Some(ReasonCode::NameCharacter),
                "{strange}"
            );
        }
    }

    #[test]
    fn a_chinese_or_japanese_character_of_a_nickname_counts_two() {
        assert_eq!(nickname_code(""), None);
        assert_eq!(nickname_code("智能"), None);
        assert_eq!(nickname_code("智a"), Some(ReasonCode::NicknameLength));
        assert_eq!(nickname_code(&"灯".repeat(32)), None);
        assert_eq!(
            nickname_code(&"灯".repeat(33)),
            Some(ReasonCode::NicknameLength)
        );
        assert_eq!(nickname_code("ランプ_1"), None);
        assert_eq!(
            nickname_code("press 1"),
            Some(ReasonCode::NicknameCharacter)
        );
    }

    #[test]
    fn a_reason_says_which_character_and_where() {
        let reason = judge_name("press 0001").unwrap();

        assert!(
            reason
                .text
                .starts_with("character 6 of the name is a space"),
            "{}",
            reason.text
        );
    }

    fn brings(secret: &str, sn: &str) -> Option<Reason> {
        let device = NewDevice {
            name: "light-1".to_owned(),
            nickname: String::new(),
            brought: Some(Brought {
                secret: DeviceSecret::new(secret.to_owned()),
                sn: sn.to_owned(),
            }),
        };
        device.judge()
    }

    #[test]
    fn a_device_of_an_import_brings_1_to_32_characters_of_secret_and_up_to_64_of_serial_number() {
        for (secret, sn) in [
            ("s", ""),
            ("aZ09-_@.:", "SN_1"),
            (&"x".repeat(32), &"x".repeat(64)),
        ] {
            assert_eq!(brings(secret, sn), None);
        }
        for (secret, sn, code) in [
            ("", "", ReasonCode::SecretLength),
            (&"x".repeat(33), "", ReasonCode::SecretLength),
            ("canary!", "", ReasonCode::SecretCharacter),
            ("\0", "", ReasonCode::SecretCharacter),
            ("s", &"x".repeat(65), ReasonCode::SnLength),
            ("s", "SN-1", ReasonCode::SnCharacter),
        ] {
            assert_eq!(brings(secret, sn).map(|reason| reason.code), Some(code));
        }
    }

    #[test]
    fn the_reason_of_a_bad_secret_holds_nothing_of_it() {
        for secret in ["~~~", &"~".repeat(1_000), "canary~"] {
            let reason = brings(secret, "").unwrap();
            assert!(!reason.text.contains('~') && !reason.text.contains("canary"));
        }
    }

    #[test]
    fn what_is_kept_is_readable_and_bounded() {
        assert_eq!(readable("a\0b".to_owned()), "a\u{2400}b");
        assert_eq!(readable("a\u{1f}b".to_owned()), "a\u{241f}b");
        let long = readable("灯".repeat(10_000));
        assert!(long.len() <= KEPT && long.ends_with('灯'));
    }
}
