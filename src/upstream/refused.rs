//! The devices that an answer refuses, put together from its lists and its details.

use std::collections::HashMap;

use serde::Deserialize;

use crate::upstream::{
    asked::Asked,
    loose::{List, Object, Text},
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Name,
    Nickname,
    /// Of an import, as the serial number is.
    Secret,
    Sn,
    /// It exists already, here or in another's hands, or was named twice.
    Exists,
    Other,
}

/// What the upstream says of one device.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Detail {
    device_name: Text,
    #[serde(alias = "Nickname")]
    nick_name: Text,
    device_secret: Text,
    sn: Text,
    error_msg: Text,
}

/// What becomes of details and lists: each name once, in the order in which they come.
struct Merged<'a> {
    refused: Vec<Refused>,
    places: HashMap<String, usize>,
    asked: &'a Asked,
}

/// Joins details and lists by name. Lists of other things than names hold what the devices were sent
/// with, and only the request knows whose they are, unless a detail says so.
pub(super) fn merge<const N: usize>(
    details: List<Object<Detail>>,
    lists: [(List<String>, Kind); N],
    asked: &Asked,
) -> Vec<Refused> {
    let mut merged = Merged {
        refused: Vec::new(),
        places: HashMap::new(),
        asked,
    };
    let mut nicknames: HashMap<String, String> = HashMap::new();
    for Object(detail) in details.0 {
        let things = [
            (detail.nick_name.0, Kind::Nickname),
            (detail.device_secret.0, Kind::Secret),
            (detail.sn.0, Kind::Sn),
        ];
        if let (Some(name), Some(nickname)) = (&detail.device_name.0, &things[0].0) {
            nicknames.insert(nickname.clone(), name.clone());
        }
        let names = match detail.device_name.0 {
            Some(name) => vec![name],
            None => things
                .into_iter()
                .filter_map(|(thing, kind)| Some(merged.whose(thing?, kind)))
                .find(|names| !names.is_empty())
                .unwrap_or_default(),
        };
        for name in names {
            merged.say(name, detail.error_msg.0.as_deref());
        }
    }
    for (list, kind) in lists {
        for thing in list.0.into_iter().filter(|thing| !thing.is_empty()) {
            let names = match nicknames.get(&thing) {
                Some(name) if kind == Kind::Nickname => vec![name.clone()],
                _ => merged.whose(thing, kind),
            };
            for name in names {
                merged.mark(name, kind);
            }
        }
    }
    merged.refused
}

impl Merged<'_> {
    /// The names of the devices that this is of. A nickname that nobody was sent with stands in for
    /// the name.
    fn whose(&self, thing: String, kind: Kind) -> Vec<String> {
        match kind {
            Kind::Name | Kind::Exists | Kind::Other => vec![thing],
            Kind::Nickname | Kind::Secret | Kind::Sn => match self.asked.owners(kind, &thing) {
                [] if kind == Kind::Nickname => vec![thing],
                owners => owners.to_vec(),
            },
        }
    }

    fn place(&mut self, name: String) -> Option<&mut Refused> {
        if !self.asked.may_name(&name) {
            return None;
        }
        let place = *self.places.entry(name).or_insert_with_key(|name| {
            self.refused.push(Refused {
                name: name.clone(),
                text: None,
                kind: Kind::Other,
            });
            self.refused.len() - 1
        });
        self.refused.get_mut(place)
    }

    /// The list that a name is in says what is wrong where no word did.
    fn mark(&mut self, name: String, kind: Kind) {
        if let Some(device) = self.place(name)
            && device.kind == Kind::Other
        {
            device.kind = kind;
        }
    }

    fn say(&mut self, name: String, text: Option<&str>) {
        let asked = self.asked;
        let (Some(device), Some(raw)) = (self.place(name), text) else {
            return;
        };
        if device.kind == Kind::Other {
            // As it came: a secret that is cut out may be a part of the words.
            device.kind = Kind::of_text(raw);
        }
        let text = asked.clean(raw);
        device.text = Some(match device.text.take() {
            None => text,
            Some(before) if before.split('|').any(|said| said == text) => before,
            Some(before) => asked.clean(&format!("{before}|{text}")),
        });
    }
}

impl Kind {
    /// The first of the messages that says anything decides. The texts for illegal names are
    /// documented; those for names that exist are not, so any likely word will do.
    pub(super) fn of_text(text: &str) -> Self {
        let any = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
        let is_sn = |word: &str| ["sn", "serial", "devicesn"].contains(&word);
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
            } else if !any(message, &["illegal", "invalid"]) {
                Self::Other
            } else if message.contains("secret") {
                Self::Secret
            } else if message
                .split(|c: char| !c.is_ascii_alphanumeric())
                .any(is_sn)
            {
                Self::Sn
            } else if message.contains("name") {
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
            ("The device secret is illegal.", Kind::Secret),
            ("invalid DeviceSecret", Kind::Secret),
            ("The SN is illegal.", Kind::Sn),
            ("an illegal snake", Kind::Other),
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

        let refused = merge(List::default(), lists, &Asked::nothing());

        let names: Vec<_> = refused.iter().map(|device| &device.name).collect();
        assert_eq!(names, ["n1"]);
    }
}
