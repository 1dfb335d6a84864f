//! The parameters of a call, from its query and its form body together.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The decoded parameters, borrowed from the request wherever decoding changes nothing.
///
/// Where both give a parameter the body wins, as in the SDKs. Unknown ones are kept and ignored.
#[derive(Debug)]
pub(super) struct Params<'a> {
    /// The devices of a check in the order of their numbers.
    pub(super) devices: Vec<Entry<'a>>,
    others: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// One device of a check. The name is empty if only a nickname was given.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry<'a> {
    pub(super) number: u32,
    pub(super) name: Cow<'a, str>,
    pub(super) nickname: Option<Cow<'a, str>>,
}

impl Entry<'_> {
    /// Without the spaces around its name.
    pub(super) fn trimmed(&self) -> Entry<'_> {
        Entry {
            number: self.number,
            name: Cow::Borrowed(self.name.trim()),
            nickname: self.nickname.as_deref().map(Cow::Borrowed),
        }
    }
}

enum Field<'a> {
    Name(Cow<'a, str>),
    Nickname(Cow<'a, str>),
}

impl<'a> Params<'a> {
    pub(super) fn parse(query: &'a str, body: &'a str) -> Params<'a> {
        let mut plain = Vec::new();
        let mut listed = Vec::new();
        let mut others = Vec::new();
        for (key, value) in pairs(query).chain(pairs(body)) {
            if let Some(number) = key.strip_prefix("DeviceName.").and_then(number) {
                plain.push((number, Field::Name(value)));
            } else if let Some((number, field)) = key.strip_prefix("DeviceNameList.").and_then(of) {
                let named = field == "DeviceName";
                let field = if named { Field::Name } else { Field::Nickname };
                listed.push((number, field(value)));
            } else {
                others.push((key, value));
            }
        }
        // The help page: if both forms are given, DeviceNameList wins.
        let devices = collect(if listed.is_empty() { plain } else { listed });
        Params { devices, others }
    }

    /// The parameter, unless it is absent or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.others.iter().rev().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_ref())
            .filter(|value| !value.is_empty())
    }

    /// All parameters but the devices of a check, as they came.
    pub(super) fn others(&self) -> impl Iterator<Item = (&str, &str)> {
        let others = self.others.iter();
        others.map(|(key, value)| (key.as_ref(), value.as_ref()))
    }
}

/// The decoded pairs of a query or a form body.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    raw_pairs(text).map(|(key, value)| (decode(key), decode(value)))
}

/// The same as they were sent, for whoever looks for a few of many.
pub(super) fn raw_pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let given = text.split('&').filter(|pair| !pair.is_empty());
    given.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A key or a value as it was meant. What is no escape stays; what is no UTF-8 is replaced.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') && !text.contains('+') {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(
        percent_decode(spaced.as_bytes())
            .decode_utf8_lossy()
            .into_owned(),
    )
}

/// The N of a list parameter: from 1, without zero padding.
pub(super) fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if digits { text.parse().ok() } else { None }
}

/// The number and the field of `N.DeviceName` or `N.DeviceNickname`.
fn of(rest: &str) -> Option<(u32, &str)> {
    let (n, field) = rest.split_once('.')?;
    let known = matches!(field, "DeviceName" | "DeviceNickname");
    number(n).filter(|_| known).map(|number| (number, field))
}

/// The order on the wire means nothing: SDKs send list order or text order.
fn collect(mut fields: Vec<(u32, Field<'_>)>) -> Vec<Entry<'_>> {
    fields.sort_by_key(|(number, _)| *number);
    let mut entries: Vec<Entry<'_>> = Vec::with_capacity(fields.len());
    let mut last = None;
    for (number, field) in fields {
        if last.replace(number) != Some(number) {
            entries.push(Entry {
                number,
                ..Entry::default()
            });
        }
        let entry = entries.last_mut().expect("one was pushed for this number");
        match field {
            Field::Name(name) => entry.name = name,
            Field::Nickname(nickname) => entry.nickname = Some(nickname),
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'p>(params: &'p Params<'_>) -> Vec<&'p str> {
        params
            .devices
            .iter()
            .map(|entry| entry.name.as_ref())
            .collect()
    }

    #[test]
    fn names_are_ordered_by_number_whatever_the_wire_says() {
        let body = "DeviceName.1=dev1&DeviceName.10=dev10&DeviceName.3=dev3&DeviceName.2=a+b%2A~";

        let params = Params::parse("ProductKey=a1x&DeviceName.4=in-query", body);

        assert_eq!(
            names(&params),
            ["dev1", "a b*~", "dev3", "in-query", "dev10"]
        );
        assert_eq!(params.get("ProductKey"), Some("a1x"));
    }

    #[test]
    fn the_list_form_wins_and_carries_nicknames() {
        let body = "DeviceName.1=lost&DeviceNameList.2.DeviceName=light_2&\
                    DeviceNameList.1.DeviceNickname=%E6%99%BA+1&DeviceNameList.1.DeviceName=l%3A1";

        let params = Params::parse("", body);

        assert_eq!(names(&params), ["l:1", "light_2"]);
        assert_eq!(params.devices[0].nickname.as_deref(), Some("智 1"));
        assert_eq!(params.devices[1].nickname, None);
    }

    #[test]
    fn the_body_wins_over_the_query() {
        let params = Params::parse("ApplyId=1&DeviceName.1=old1", "ApplyId=2&DeviceName.1=new1");

        assert_eq!(params.get("ApplyId"), Some("2"));
        assert_eq!(names(&params), ["new1"]);
    }

    #[test]
    fn an_odd_number_is_an_unknown_parameter() {
        let params = Params::parse(
            "",
            "DeviceName.0=a&DeviceName.01=b&DeviceName.x=c&DeviceName.=d",
        );

        assert!(params.devices.is_empty());
        assert_eq!(params.get("DeviceName.x"), Some("c"));
    }
}
