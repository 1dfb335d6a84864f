//! Cells of a CSV that a spreadsheet would take for a formula, and how they are kept from it.
//!
//! Device names may begin with `-` or `@`, and texts of the upstream with anything. Such a cell gets
//! an apostrophe before it, as OWASP's page on CSV injection has it; one that begins with an
//! apostrophe gets another, so that what is read back is what was written.

use std::borrow::Cow;

/// Beginnings that make a cell a formula. The wide forms count for spreadsheets of East Asia.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

const APOSTROPHE: char = '\'';

/// The value as a cell that no spreadsheet executes.
pub(super) fn guarded(value: &str) -> Cow<'_, str> {
    match value.chars().next() {
        Some(first) if is_guarded(first) => Cow::Owned(format!("{APOSTROPHE}{value}")),
        _ => Cow::Borrowed(value),
    }
}

/// The value that was made such a cell.
pub(super) fn bare(cell: &str) -> &str {
    match cell.strip_prefix(APOSTROPHE) {
        Some(value) if value.chars().next().is_some_and(is_guarded) => value,
        _ => cell,
    }
}

fn is_guarded(first: char) -> bool {
    first == APOSTROPHE || FORMULA.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_begins_as_a_formula_does_and_each_comes_back_as_it_was() {
        let tails = ["", "1+1", "cmd|' /C calc'!A0", "'", "=", "名"];
        for first in FORMULA.into_iter().chain([APOSTROPHE, 'a', '1', '泵']) {
            for tail in tails {
                let value = format!("{first}{tail}");
                let cell = guarded(&value);
                assert!(!cell.starts_with(FORMULA), "{value:?}");
                assert_eq!(bare(&cell), value);
            }
        }
        assert_eq!(guarded("light-1"), "light-1");
        assert_eq!((guarded(""), bare("")), ("".into(), ""));
    }
}
