//! Labels: what a submitter calls an apply, to find it by.

use std::collections::BTreeMap;

use super::device::readable;

/// Labels of one apply.
pub const LABELS: usize = 16;

/// Characters of a key.
pub const KEY_LENGTH: std::ops::RangeInclusive<usize> = 1..=63;

/// Bytes of a value.
pub const VALUE: usize = 256;

/// Labels that may be stored: few, short, with keys of `a-z 0-9 - _ . /`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Takes labels, or says of each rule that they break what is wrong.
    pub fn parse(labels: impl IntoIterator<Item = (String, String)>) -> Result<Self, Vec<String>> {
        let labels: BTreeMap<_, _> = labels.into_iter().collect();
        let mut wrong = Vec::new();
        if labels.len() > LABELS {
            wrong.push(format!(
                "holds {} labels and at most {LABELS} are taken",
                labels.len()
            ));
        }
        // The first few tell enough; there may be as many as a message holds.
        for (key, value) in labels.iter().take(LABELS) {
            if let Some(what) = judge_key(key).or_else(|| judge_value(value)) {
                wrong.push(format!("[{:?}] {what}", readable(key.clone())));
            }
        }
        if wrong.is_empty() {
            Ok(Self(labels))
        } else {
            Err(wrong)
        }
    }

    /// Labels that were stored, which have passed the rules of their time.
    pub fn stored(labels: BTreeMap<String, String>) -> Self {
        Self(labels)
    }

    /// The labels by rising key.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn judge_key(key: &str) -> Option<&'static str> {
    let allowed = |c: u8| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_' | b'.' | b'/')
    };
    let fine = KEY_LENGTH.contains(&key.len()) && key.bytes().all(allowed);
    (!fine).then_some("is no key: 1 to 63 of a-z 0-9 - _ . / are allowed")
}

fn judge_value(value: &str) -> Option<&'static str> {
    if value.len() > VALUE {
        return Some("has a value of more than 256 bytes");
    }
    // Postgres cannot hold it.
    value.contains('\0').then_some("has a value with a NUL")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(labels: &[(&str, &str)]) -> Result<Labels, Vec<String>> {
        Labels::parse(labels.iter().map(|(k, v)| (k.to_string(), v.to_string())))
    }

    #[test]
    fn keys_and_values_keep_their_rules() {
        let longest = ("k".repeat(63), "v".repeat(256));
        for good in [
            &[][..],
            &[("team", "lights"), ("a-b_c.d/9", "")],
            &[(&longest.0, &longest.1)],
            &[("team", "灯 \u{1F4A1}")],
        ] {
            assert!(parse(good).is_ok(), "{good:?}");
        }
        let (key, value) = ("k".repeat(64), "v".repeat(257));
        for bad in [
            ("", "x"),
            ("Team", "x"),
            (&key, "x"),
            ("k", &value),
            ("k", "a\0"),
        ] {
            assert_eq!(parse(&[bad]).unwrap_err().len(), 1, "{bad:?}");
        }
    }

    #[test]
    fn at_most_sixteen_are_taken_and_complaints_are_bounded() {
        let many =
            |count: usize| Labels::parse((0..count).map(|n| (format!("key{n}"), String::new())));

        assert!(many(LABELS).is_ok());
        assert_eq!(many(LABELS + 1).unwrap_err().len(), 1);
        let wrong = Labels::parse((0..1_000).map(|n| (format!("KEY{n}"), String::new())));
        assert_eq!(wrong.unwrap_err().len(), LABELS + 1);
    }
}
