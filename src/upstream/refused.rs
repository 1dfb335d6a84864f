//! The devices that an answer refuses, put together from its lists and its details.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use serde::Deserialize;

use crate::upstream::{
    loose::{List, Object, Text},
    secret::Redaction,
};

/// A device that the upstream refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub name: String,
    /// The upstream's words, if it had any: at most 256 bytes, several joined by `|`.
    pub text: Option<String>,
    pub kind: Kind,
}

/// What the words, or else the list that a name is in, say is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Name,
    Nickname,
    /// It exists already, here or in another's hands, or was named twice.
    Exists,
    Other,
}

/// What the upstream says of one device.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Detail {
    device_name: Text,
    #[serde(alias = "Nickname")]
    nick_name: Text,
    error_msg: Text,
}

/// Joins details and lists by name; each name comes out once. Nicknames that no detail ties to a
/// device stand in for its name.
pub(super) fn merge<const N: usize>(
    details: List<Object<Detail>>,
    lists: [(List<String>, Kind); N],
    redaction: &Redaction,
) -> Vec<Refused> {
    let mut refused: Vec<Refused> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut nicknames: HashMap<String, usize> = HashMap::new();
    let mut add = |refused: &mut Vec<Refused>, name: String| {
        *places.entry(name).or_insert_with_key(|name| {
            refused.push(Refused {
                name: name.clone(),
                text: None,
                kind: Kind::Other,
            });
            refused.len() - 1
        })
    };

    for Object(detail) in details.0 {
        let nickname = detail.nick_name.0;
        let Some(name) = detail.device_name.0.or_else(|| nickname.clone()) else {
            continue;
        };
        let at = add(&mut refused, name);
        if let Some(nickname) = nickname {
            nicknames.insert(nickname, at);
        }
        if let Some(text) = detail.error_msg.0 {
            let text = match refused[at].text.take() {
                Some(before) => format!("{before}|{text}"),
                None => text,
            };
            let text = redaction.clean(&text);
            refused[at].kind = Kind::of_text(&text);
            refused[at].text = Some(text);
        }
    }
    for (names, kind) in lists {
        for name in names.0.into_iter().filter(|name| !name.is_empty()) {
            let at = match nicknames.get(&name) {
                Some(at) if kind == Kind::Nickname => *at,
                _ => add(&mut refused, name),
            };
            if refused[at].kind == Kind::Other {
                refused[at].kind = kind;
            }
        }
    }
    refused
}

/// The list of illegal nicknames holds nicknames, and only the request knows whose they are.
pub(super) fn resolve_nicknames(refused: &mut Vec<Refused>, asked: &[u8]) {
    if refused.iter().all(|device| device.kind != Kind::Nickname) {
        return;
    }
    let mut owners: HashMap<String, Vec<String>> = HashMap::new();
    let mut owner = None;
    for (name, value) in form_urlencoded::parse(asked) {
        if name.ends_with("Nickname") {
            let names = owners.entry(value.into_owned()).or_default();
            names.extend(owner.take());
        } else {
            owner = Some(value.into_owned());
        }
    }
    let stands_for = |device: &Refused| {
        owners
            .get(&device.name)
            .filter(|_| device.kind == Kind::Nickname)
    };
    let mut seen: HashSet<String> = refused
        .iter()
        .filter(|device| stands_for(device).is_none())
        .map(|device| device.name.clone())
        .collect();
    let resolved = mem::take(refused).into_iter().flat_map(|device| {
        let names: Vec<_> = match stands_for(&device) {
            Some(names) => names
                .iter()
                .filter(|name| seen.insert((*name).clone()))
                .cloned()
                .collect(),
            None => vec![device.name.clone()],
        };
        names.into_iter().map(move |name| Refused {
            name,
            ..device.clone()
        })
    });
    *refused = resolved.collect();
}

impl Kind {
    /// The first of the messages that says anything decides. The texts for illegal names are
    /// documented; those for names that exist are not, so any likely word will do.
    pub(super) fn of_text(text: &str) -> Self {
        let any = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
        let of_message = |message: &str| {
            if any(message, &["nick", "备注"]) {
                Self::Nickname
            } else if any(message, &["not exist", "不存在"]) {
                Self::Other
            } else if any(
                message,
                &[
                    "exist",
                    "repeat",
                    "duplicate",
                    "distributed",
                    "存在",
                    "重复",
                ],
            ) {
                Self::Exists
            } else if message.contains("name") && any(message, &["illegal", "invalid"]) {
                Self::Name
            } else {
                Self::Other
            }
        };
        let text = text.to_lowercase();
        text.split('|')
            .map(of_message)
            .find(|kind| *kind != Self::Other)
            .unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_is_wrong_with_a_device() {
        for (text, kind) in [
            ("The device name is illegal.", Kind::Name),
            ("The nick name is illegal.", Kind::Nickname),
            (
                "The device name is illegal.|The nick name is illegal.",
                Kind::Name,
            ),
            ("DeviceName already exists", Kind::Exists),
            ("The device name is repeated.", Kind::Exists),
            ("The product does not exist", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(Kind::of_text(text), kind, "{text}");
        }
    }

    #[test]
    fn a_name_that_is_empty_names_nobody() {
        let list = |names: [&str; 2]| List(names.map(str::to_owned).to_vec());
        let lists = [
            (list(["", "n1"]), Kind::Name),
            (list(["n1", ""]), Kind::Exists),
        ];

        let refused = merge(List::default(), lists, &Redaction::of([]));

        let names: Vec<_> = refused.iter().map(|device| &device.name).collect();
        assert_eq!(names, ["n1"]);
    }
}
