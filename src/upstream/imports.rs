//! Imports: devices that bring their own secrets are checked, created and read back.

use serde::Deserialize;

use crate::{
    domain::DeviceSecret,
    upstream::{
        Client,
        action::{Action, Product},
        answers::{self, Checked, Success},
        call::Call,
        client::PAGE_SIZE,
        form,
        loose::{List, Number, Object, Text},
        refused::Refused,
    },
};

/// The rows of an import passed its check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedImport {
    /// Rows that the answer lists as refused although it calls itself a success, each name once.
    /// The documents contradict themselves on when it has these lists.
    pub refused: Vec<Refused>,
}

/// One page of what an import created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    pub devices: Vec<ImportedDevice>,
    /// How many pages there are.
    pub total_pages: u32,
}

/// A device as the upstream has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedDevice {
    pub name: String,
    pub secret: Option<DeviceSecret>,
    pub sn: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Pages {
    device_list: List<Object<Row>>,
    total_page: Number,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Row {
    device_name: Text,
    device_secret: Text,
    sn: Text,
}

impl Client {
    /// Asks whether these devices (name, secret, serial number) could be imported: at most 10,000.
    /// The upstream drops what exceeds that in silence.
    pub fn check_import<'n>(
        &self,
        product: Product<'_>,
        devices: impl IntoIterator<Item = (&'n str, &'n DeviceSecret, Option<&'n str>)>,
    ) -> Call<CheckedImport> {
        let (query, body) = (product.pairs().query(), form::imports(devices).into());
        Call::new(
            self,
            Action::BatchCheckImportDevice,
            query,
            body,
            checked_import,
        )
    }

    /// Asks that these devices be created, all or none: at most 10,000. It can neither be repeated
    /// nor asked after, so it is [`Call::stamped`] with a stamp that is kept.
    pub fn import<'n>(
        &self,
        product: Product<'_>,
        devices: impl IntoIterator<Item = (&'n str, &'n DeviceSecret, Option<&'n str>)>,
    ) -> Call<Checked> {
        let (query, body) = (product.pairs().query(), form::imports(devices).into());
        Call::new(
            self,
            Action::BatchImportDevice,
            query,
            body,
            answers::checked,
        )
    }

    /// Asks for one page, from 1, of 50 of the devices that an import created.
    pub fn imported(&self, product: Product<'_>, apply_id: i64, page: u32) -> Call<Imported> {
        let query = Product {
            product_key: "",
            ..product
        }
        .pairs()
        .with("ApplyId", &apply_id.to_string())
        .with("PageNo", &page.to_string())
        .with("PageSize", PAGE_SIZE);
        self.bodyless(Action::QueryImportedDeviceByApplyId, query, imported)
    }
}

pub(super) fn checked_import(mut success: Success<'_>) -> Option<CheckedImport> {
    Some(CheckedImport {
        refused: success.envelope.take_refused(success.asked),
    })
}

pub(super) fn imported(success: Success<'_>) -> Option<Imported> {
    let Object(pages): Object<Pages> = serde_json::from_slice(success.body).ok()?;
    let devices = pages.device_list.0.into_iter().filter_map(|Object(row)| {
        Some(ImportedDevice {
            name: row.device_name.0?,
            secret: row.device_secret.0.map(DeviceSecret::new),
            sn: row.sn.0,
        })
    });
    Some(Imported {
        devices: devices.collect(),
        // More would have no number among the pages that are read.
        total_pages: i32::try_from(pages.total_page.0?).ok()?.try_into().ok()?,
    })
}
