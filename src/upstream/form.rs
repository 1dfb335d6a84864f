//! The parameters of a call, in the forms in which they travel: query and form body.

use crate::{
    domain::DeviceSecret,
    upstream::{action::Product, signature::encode},
};

/// `name=value` joined by `&`, values encoded. The names need no encoding.
#[derive(Default)]
pub(super) struct Pairs(String);

impl Pairs {
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.add(name, value);
        self
    }

    /// As it is signed: sorted by name.
    pub(super) fn query(self) -> String {
        let mut pairs: Vec<_> = self.0.split('&').collect();
        pairs.sort_by_key(|pair| pair.split('=').next());
        pairs.join("&")
    }

    fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&encode(value));
    }
}

impl Product<'_> {
    /// Its own parameters; the ones that are empty stay away.
    pub(super) fn pairs(self) -> Pairs {
        let instance = self.iot_instance_id.unwrap_or_default();
        [
            ("IotInstanceId", instance),
            ("ProductKey", self.product_key),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .fold(Pairs::default(), |pairs, (name, value)| {
            pairs.with(name, value)
        })
    }
}

/// The form body of a check of these devices (name, nickname). An empty nickname is none.
pub(super) fn devices<'n>(devices: impl IntoIterator<Item = (&'n str, Option<&'n str>)>) -> String {
    let filled = |nickname: Option<&'n str>| nickname.filter(|text| !text.is_empty());
    let devices: Vec<_> = devices
        .into_iter()
        .map(|(name, nickname)| (name, filled(nickname)))
        .collect();
    let plain = devices.iter().all(|(_, nickname)| nickname.is_none());
    let mut form = Pairs::default();
    for (number, (name, nickname)) in (1..).zip(devices) {
        if plain {
            form.add(&format!("DeviceName.{number}"), name);
            continue;
        }
        form.add(&format!("DeviceNameList.{number}.DeviceName"), name);
        if let Some(nickname) = nickname {
            form.add(&format!("DeviceNameList.{number}.DeviceNickname"), nickname);
        }
    }
    form.0
}

/// The form body of an import of these devices (name, secret, serial number). An empty serial number
/// is none.
pub(super) fn imports<'n>(
    devices: impl IntoIterator<Item = (&'n str, &'n DeviceSecret, Option<&'n str>)>,
) -> String {
    let mut form = Pairs::default();
    for (number, (name, secret, sn)) in (1..).zip(devices) {
        form.add(&format!("DeviceList.{number}.DeviceName"), name);
        form.add(
            &format!("DeviceList.{number}.DeviceSecret"),
            secret.reveal(),
        );
        if let Some(sn) = sn.filter(|sn| !sn.is_empty()) {
            form.add(&format!("DeviceList.{number}.Sn"), sn);
        }
    }
    form.0
}
