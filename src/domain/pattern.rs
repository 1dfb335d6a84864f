//! Patterns of names that are made here: text with one number in it.

use super::device::judge_name;

/// Digits of a number at most: what fits a signed 64-bit number with room to spare.
const WIDEST: usize = 18;

/// Text with one `{seq}`, or `{seq:06}` for a number of at least 6 digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    before: String,
    /// The least number of digits.
    width: usize,
    after: String,
}

impl Pattern {
    /// Reads a pattern, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (before, rest) = text.split_once('{').ok_or("holds no {seq}")?;
        let (field, after) = rest.split_once('}').ok_or("has a { without its }")?;
        if before.contains('}') || after.contains(['{', '}']) {
            return Err("holds a brace besides those of one {seq}".to_owned());
        }
        let width = match field.strip_prefix("seq") {
            Some("") => 1,
            Some(format) => width(format).ok_or_else(|| {
                format!("may pad its number with {{seq:01}} to {{seq:0{WIDEST}}} only")
            })?,
            None => return Err("holds braces and no {seq}".to_owned()),
        };
        Ok(Self {
            before: before.to_owned(),
            width,
            after: after.to_owned(),
        })
    }

    /// So many names from this number on, or what is wrong with them.
    ///
    /// Only the number varies and only its digits can make a name longer, so if the first and the
    /// last are names then all between are, and no two are the same.
    pub fn names(
        &self,
        first: i64,
        count: usize,
    ) -> Result<impl ExactSizeIterator<Item = String>, String> {
        let beyond = i64::try_from(count)
            .ok()
            .and_then(|count| first.checked_add(count));
        if beyond.is_none() {
            return Err("would count beyond the largest number".to_owned());
        }
        for number in [first, first + count.saturating_sub(1) as i64] {
            if let Some(reason) = judge_name(&self.name(number)) {
                return Err(format!("makes no device names: {}", reason.text));
            }
        }
        Ok((0..count).map(move |n| self.name(first + n as i64)))
    }

    fn name(&self, number: i64) -> String {
        let Self {
            before,
            width,
            after,
        } = self;
        format!("{before}{number:0width$}{after}")
    }
}

/// The number of digits that `:0N` asks for.
fn width(format: &str) -> Option<usize> {
    let digits = format.strip_prefix(":0")?;
    let plain = digits.len() <= 2 && digits.bytes().all(|c| c.is_ascii_digit());
    let width = digits.parse().ok().filter(|_| plain)?;
    (1..=WIDEST).contains(&width).then_some(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str, first: i64, count: usize) -> Result<Vec<String>, String> {
        Ok(Pattern::parse(pattern)?.names(first, count)?.collect())
    }

    #[test]
    fn the_number_counts_up_and_is_padded_as_asked() {
        assert_eq!(
            names("lot7-{seq:06}", 1, 2).unwrap(),
            ["lot7-000001", "lot7-000002"]
        );
        assert_eq!(names("lot{seq}x", 9, 2).unwrap(), ["lot9x", "lot10x"]);
        assert_eq!(names("{seq:04}", 9_999, 2).unwrap(), ["9999", "10000"]);
        assert_eq!(names("{seq:018}", 1, 1).unwrap()[0].len(), 18);
    }

    #[test]
    fn what_is_no_pattern_is_said_to_be_none() {
        for bad in [
            "",
            "light",
            "light-{seq",
            "light-seq}",
            "{}",
            "light-{n}",
            "{seq}-{seq}",
            "a{{seq}}",
            "light}-{seq}",
            "{seq:}",
            "{seq:6}",
            "{seq:0}",
            "{seq:00}",
            "{seq:019}",
            "{seq:0+1}",
            "{seq:0006}",
            "{seq }",
            "{SEQ}",
        ] {
            assert!(Pattern::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_pattern_whose_first_or_last_name_is_none_is_refused() {
        for (pattern, first, count) in [
            ("li {seq:06}", 1, 1),
            ("a{seq}", 1, 1),
            ("a{seq}", 98, 5),
            (&*format!("{}{{seq}}", "x".repeat(31)), 9, 2),
            ("light-{seq:018}-long-enough", 1, 1),
        ] {
            let refused = names(pattern, first, count).unwrap_err();
            assert!(refused.starts_with("makes no device names"), "{refused}");
        }
    }

    #[test]
    fn no_number_overflows() {
        assert!(names("light-{seq}", i64::MAX - 2, 2).is_ok());
        for (first, count) in [(i64::MAX, 2), (i64::MAX - 98, 100)] {
            assert!(
                names("light-{seq}", first, count)
                    .unwrap_err()
                    .contains("beyond")
            );
        }
    }
}
