//! Devices as the upstream has them: looked up by name, or page by page with their credentials.

use serde::{Deserialize, de::DeserializeOwned};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    domain::DeviceSecret,
    upstream::{
        Client,
        action::{Action, Product},
        answers::Success,
        call::Call,
        loose::{List, Number, Object, Text},
    },
};

/// Devices that one call looks up at most.
///
/// Source: BatchQueryDeviceDetail, "up to 100 devices a call".
pub const HUNDRED: usize = 100;

/// What the upstream knows of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    pub name: Option<String>,
    pub secret: Option<DeviceSecret>,
    pub iot_id: Option<String>,
}

/// A device that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    pub secret: Option<DeviceSecret>,
    pub iot_id: Option<String>,
    /// When it was made, in whole seconds or finer.
    pub created_at: Option<OffsetDateTime>,
}

/// One page of what an upstream apply created, with what the devices prove themselves by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub devices: Vec<Credential>,
    /// Devices on all pages together.
    pub total: u64,
    pub page_count: Option<u32>,
}

/// A device that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub name: String,
    pub iot_id: Option<String>,
    /// None where devices authenticate by certificate.
    pub secret: Option<DeviceSecret>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Row {
    device_name: Text,
    device_secret: Text,
    iot_id: Text,
    utc_create: Text,
}

/// `Data` has no default: an answer without it would read as that nothing exists.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WithData<D> {
    data: Object<D>,
}

#[derive(Deserialize)]
struct Several {
    #[serde(rename = "Data", alias = "data")]
    data: Vec<Object<Row>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Rows {
    apply_device_list: List<Object<Row>>,
    total: Number,
    page_count: Number,
}

impl Client {
    /// Looks a device up. One that does not exist is an error of
    /// [that name](crate::upstream::Error::no_such_device).
    pub fn detail(&self, product: Product<'_>, name: &str) -> Call<Detail> {
        let query = product.pairs().with("DeviceName", name);
        self.bodyless(Action::QueryDeviceDetail, query, detail)
    }

    /// Asks which of these devices exist: at most a [`HUNDRED`].
    pub fn details<'n>(
        &self,
        product: Product<'_>,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Call<Vec<Found>> {
        let numbered = (1..).zip(names);
        let query = numbered.fold(product.pairs(), |pairs, (number, name)| {
            pairs.with(&format!("DeviceName.{number}"), name)
        });
        self.bodyless(Action::BatchQueryDeviceDetail, query, details)
    }

    /// Asks for a page as [`Self::page`] does, and takes the credentials in it too.
    pub fn credentials(&self, product: Product<'_>, apply_id: i64, page: u32) -> Call<Credentials> {
        self.page(product, apply_id, page).taking(credentials)
    }
}

pub(super) fn detail(success: Success<'_>) -> Option<Detail> {
    let row = read::<WithData<Row>>(success.body)?.data.0;
    let found = row.device_name.0.is_some() || row.iot_id.0.is_some();
    found.then(|| Detail {
        name: row.device_name.0,
        secret: row.device_secret.0.map(DeviceSecret::new),
        iot_id: row.iot_id.0,
    })
}

pub(super) fn details(success: Success<'_>) -> Option<Vec<Found>> {
    let several = read::<WithData<Several>>(success.body)?.data.0;
    let rows = several.data.into_iter();
    // A device without a name is one that nobody can tell the absence of.
    rows.map(|Object(row)| {
        Some(Found {
            name: row.device_name.0?,
            secret: row.device_secret.0.map(DeviceSecret::new),
            iot_id: row.iot_id.0,
            created_at: row.utc_create.0.as_deref().and_then(moment),
        })
    })
    .collect()
}

/// A time as the upstream writes it in UTC, such as `2019-06-21T12:31:40.000Z`.
fn moment(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

pub(super) fn credentials(success: Success<'_>) -> Option<Credentials> {
    let rows = read::<Rows>(success.body)?;
    let page_count = rows.page_count.0;
    let devices = rows.apply_device_list.0.into_iter();
    let devices = devices.filter_map(|Object(row)| {
        Some(Credential {
            name: row.device_name.0?,
            iot_id: row.iot_id.0,
            secret: row.device_secret.0.map(DeviceSecret::new),
        })
    });
    Some(Credentials {
        devices: devices.collect(),
        total: rows.total.0?.try_into().ok()?,
        page_count: page_count.and_then(|count| count.try_into().ok()),
    })
}

/// The parser's own error is not kept: it quotes what it did not like.
fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let Object(read) = serde_json::from_slice(body).ok()?;
    Some(read)
}
