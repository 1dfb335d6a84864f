//! Arrays as text, for statements that bring many of them: Postgres has no array of arrays that
//! differ in length, and a text that is cast costs it no more than an array of its own.

use std::fmt::Write as _;

/// An array of texts.
pub(super) fn texts<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    list(items, quote)
}

/// An array of texts or nulls.
pub(super) fn texts_or_nulls<'a>(items: impl IntoIterator<Item = Option<&'a str>>) -> String {
    list(items, |literal, item| match item {
        Some(text) => quote(literal, text),
        None => literal.push_str("NULL"),
    })
}

/// An array of numbers.
pub(super) fn numbers(items: impl IntoIterator<Item = i32>) -> String {
    list(items, number)
}

/// An array of numbers or nulls.
pub(super) fn numbers_or_nulls(items: impl IntoIterator<Item = Option<i32>>) -> String {
    list(items, |literal, item| match item {
        Some(value) => number(literal, value),
        None => literal.push_str("NULL"),
    })
}

fn list<T>(items: impl IntoIterator<Item = T>, write: impl Fn(&mut String, T)) -> String {
    let items = items.into_iter();
    let mut literal = String::with_capacity(2 + 16 * items.size_hint().0);
    literal.push('{');
    for (at, item) in items.enumerate() {
        if at > 0 {
            literal.push(',');
        }
        write(&mut literal, item);
    }
    literal.push('}');
    literal
}

fn quote(literal: &mut String, text: &str) {
    literal.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\\']) {
        literal.push_str(&rest[..at]);
        literal.push('\\');
        literal.push_str(&rest[at..=at]);
        rest = &rest[at + 1..];
    }
    literal.push_str(rest);
    literal.push('"');
}

fn number(literal: &mut String, value: i32) {
    write!(literal, "{value}").expect("a String takes all that is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_a_literal_is_quoted() {
        let hard = [r#"a"b"#, r"c\d", "{},", " NULL ", "", "NULL", "名\n"];

        assert_eq!(
            texts(hard),
            r#"{"a\"b","c\\d","{},"," NULL ","","NULL","名"#.to_owned() + "\n\"}"
        );
    }

    #[test]
    fn a_null_is_no_text() {
        assert_eq!(
            texts_or_nulls([None, Some("NULL"), Some("")]),
            r#"{NULL,"NULL",""}"#
        );
        assert_eq!(numbers_or_nulls([None, Some(-7)]), "{NULL,-7}");
        assert_eq!(numbers([]), "{}");
    }
}
