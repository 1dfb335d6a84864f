//! The answers as XML, made from their JSON: a field is an element, and so is each item of a list,
//! under the name of the list. An empty list is no element, so what wraps it is empty.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::action::Action;
use super::answers::{Answer, JSON};

/// Exactly this text: an SDK takes an error in XML for one only if it comes with it.
pub(super) const XML: &str = "text/xml;charset=utf-8";

/// What one element holds.
struct Element<'x> {
    name: &'x str,
    text: &'x mut String,
}

/// The answer to a call of `action` as XML, if it is in JSON.
pub(super) fn rendered(answer: Answer, action: Option<Action>) -> Answer {
    if answer.content_type != JSON {
        return answer;
    }
    let root = match action {
        Some(action) if answer.status == 200 => root(action),
        _ => "Error".into(),
    };
    match render(&root, &answer.body) {
        Ok(body) => Answer {
            content_type: XML,
            body,
            ..answer
        },
        Err(_) => answer,
    }
}

/// All samples of the status query have the name that it once had.
fn root(action: Action) -> String {
    match action {
        Action::QueryBatchRegisterDeviceStatus => "QueryBatchCheckDeviceNamesStatusResponse".into(),
        action => format!("{}Response", action.name()),
    }
}

fn render(root: &str, json: &str) -> serde_json::Result<String> {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    let root = Element {
        name: root,
        text: &mut text,
    };
    root.deserialize(&mut serde_json::Deserializer::from_str(json))?;
    Ok(text)
}

impl Element<'_> {
    fn open(&mut self) {
        self.text.extend(["<", self.name, ">"]);
    }

    fn close(&mut self) {
        self.text.extend(["</", self.name, ">"]);
    }

    fn plain(mut self, value: impl fmt::Display) {
        self.open();
        self.text.push_str(&value.to_string());
        self.close();
    }
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the JSON of an answer")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        self.open();
        while let Some(name) = fields.next_key::<String>()? {
            fields.next_value_seed(Element {
                name: &name,
                text: self.text,
            })?;
        }
        self.close();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Element { name, text } = self;
        loop {
            let text = &mut *text;
            if items.next_element_seed(Element { name, text })?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_str<E>(mut self, value: &str) -> Result<(), E> {
        self.open();
        for character in value.chars() {
            match character {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                // XML has no way to write the others, and a bad name may hold any.
                '\t' | '\n' | ' '..='\u{fffd}' | '\u{10000}'.. => self.text.push(character),
                _ => self.text.push(char::REPLACEMENT_CHARACTER),
            }
        }
        self.close();
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.plain(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.plain(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.plain(value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.plain(value);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(json: &str) -> String {
        let text = render("R", json).unwrap();
        let (_, text) = text.split_once("?>").unwrap();
        let text = text
            .strip_prefix("<R>")
            .and_then(|text| text.strip_suffix("</R>"));
        text.unwrap().to_owned()
    }

    #[test]
    fn wrapped_lists_are_parents_and_bare_ones_repeat_their_name() {
        let wrapped = r#"{"Data":{"ValidList":{"Name":["a","b"]},"InvalidList":{"Name":[]}}}"#;
        let bare = r#"{"Data":{"InvalidSnList":["a","b"],"RepeatedDeviceNameList":[]}}"#;

        let names =
            "<ValidList><Name>a</Name><Name>b</Name></ValidList><InvalidList></InvalidList>";
        assert_eq!(rendered(wrapped), format!("<Data>{names}</Data>"));
        let names = "<InvalidSnList>a</InvalidSnList><InvalidSnList>b</InvalidSnList>";
        assert_eq!(rendered(bare), format!("<Data>{names}</Data>"));
    }

    #[test]
    fn rows_of_rows_have_the_structure_of_the_samples() {
        // BatchQueryDeviceDetail, whose list and rows have one name.
        let details = r#"{"Data":{"Data":[{"DeviceName":"a","NodeType":0},{"DeviceName":"b"}]}}"#;
        // The inner name of the status query starts in lower case.
        let lower = r#"{"InvalidDetailList":{"invalidDetailList":[{"ErrorMsg":"x|y"}]}}"#;

        let a = "<Data><DeviceName>a</DeviceName><NodeType>0</NodeType></Data>";
        let b = "<Data><DeviceName>b</DeviceName></Data>";
        assert_eq!(rendered(details), format!("<Data>{a}{b}</Data>"));
        let row = "<invalidDetailList><ErrorMsg>x|y</ErrorMsg></invalidDetailList>";
        assert_eq!(
            rendered(lower),
            format!("<InvalidDetailList>{row}</InvalidDetailList>")
        );
    }

    #[test]
    fn plain_values_are_text_in_the_order_of_the_json() {
        let json =
            r#"{"Total":2,"Owner":true,"Rate":0.5,"Gone":null,"Below":-1,"Text":"a&<\u0000"}"#;

        let plain = "<Total>2</Total><Owner>true</Owner><Rate>0.5</Rate><Below>-1</Below>";
        assert_eq!(
            rendered(json),
            format!("{plain}<Text>a&amp;&lt;\u{fffd}</Text>")
        );
    }

    #[test]
    fn what_is_no_json_stays_as_it_is() {
        let answer = Answer::unavailable(502);
        let before = answer.body.clone();

        assert_eq!(super::rendered(answer, None).body, before);
        assert!(render("R", "{").is_err());
    }
}
