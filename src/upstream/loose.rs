//! Lists, numbers and texts in every form that the upstream is known to give them, and within
//! bounds.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// The longest list that is read: ten times what a call may name. It bounds what an answer takes
/// in memory, where an item of a few bytes takes up a hundred.
pub(super) const MAX_ITEMS: usize = 100_000;

/// A list: absent, null, bare, or within an object under whatever key.
#[derive(Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

/// A whole number, or the text of one; anything else is as good as absent.
#[derive(Debug, Default)]
pub(super) struct Number(pub(super) Option<i64>);

/// A text that is not empty; anything else is as good as absent.
#[derive(Debug, Default)]
pub(super) struct Text(pub(super) Option<String>);

/// An object and nothing else: left to itself, a list fills the fields in their order.
#[derive(Debug, Default)]
pub(super) struct Object<T>(pub(super) T);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match deserializer.deserialize_any(ScalarVisitor)? {
            Scalar::Number(number) => Some(number),
            Scalar::Text(text) => text.trim().parse().ok(),
            Scalar::Other => None,
        }))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match deserializer.deserialize_any(ScalarVisitor)? {
            Scalar::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list, or an object that holds one")
    }

    fn visit_unit<E>(self) -> Result<List<T>, E> {
        Ok(List::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Option<T>>()? {
            list.extend(item);
            within_bounds(&list)?;
        }
        Ok(List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<List<T>, A::Error> {
        let mut list = Vec::new();
        while fields.next_key::<IgnoredAny>()?.is_some() {
            list.extend(fields.next_value::<List<T>>()?.0);
            within_bounds(&list)?;
        }
        Ok(List(list))
    }

    // A number or a flag beside the list holds no names. A text might, so it is no answer.

    fn visit_bool<E>(self, _: bool) -> Result<List<T>, E> {
        Ok(List::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<List<T>, E> {
        Ok(List::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<List<T>, E> {
        Ok(List::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<List<T>, E> {
        Ok(List::default())
    }
}

fn within_bounds<T, E: Error>(list: &[T]) -> Result<(), E> {
    match list.len() {
        0..=MAX_ITEMS => Ok(()),
        _ => Err(E::custom("a list is too long")),
    }
}

/// What stands where a number or a text should. What is neither is skipped, not kept.
enum Scalar {
    Number(i64),
    Text(String),
    Other,
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(number.try_into().map_or(Scalar::Other, Scalar::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Scalar, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Row {
        number: Number,
        text: Text,
    }

    #[test]
    fn what_is_no_number_or_no_text_is_as_good_as_absent() {
        for (json, number, text) in [
            (r#"{"number":7,"text":"t"}"#, Some(7), Some("t")),
            (r#"{"number":" -7 ","text":""}"#, Some(-7), None),
            (r#"{"number":18446744073709551615,"text":7}"#, None, None),
            (r#"{"number":7.0,"text":true}"#, None, None),
            (r#"{"number":{"a":[1]},"text":[{}]}"#, None, None),
            (r#"{"number":null,"text":null}"#, None, None),
            ("{}", None, None),
        ] {
            let row: Row = serde_json::from_str(json).unwrap();

            assert_eq!(
                (row.number.0, row.text.0.as_deref()),
                (number, text),
                "{json}"
            );
        }
    }

    #[test]
    fn an_object_is_not_read_from_a_list() {
        let read = |json| serde_json::from_str::<Object<Row>>(json).ok();

        assert_eq!(read(r#"{"number":7}"#).unwrap().0.number.0, Some(7));
        assert!(read(r#"[7,"t"]"#).is_none());
        assert!(read("7").is_none());
    }

    #[test]
    fn a_list_ends_at_its_bound() {
        let read = |items: usize| {
            let names = vec!["\"n\""; items].join(",");
            serde_json::from_str::<List<String>>(&format!(r#"{{"a":[{names}],"b":["n"]}}"#))
        };

        assert_eq!(read(MAX_ITEMS - 1).unwrap().0.len(), MAX_ITEMS);
        assert!(read(MAX_ITEMS).is_err());
        assert!(read(MAX_ITEMS + 1).is_err());
    }
}
