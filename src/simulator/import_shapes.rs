//! The shapes of the answers about imports: bare lists where they are checked, wrapped ones with
//! inner keys in lower case where they are made.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// What is wrong with the rows of a check: the only lists without a wrapper.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RefusedRows<'a> {
    pub(super) invalid_device_name_list: &'a [&'a str],
    pub(super) invalid_device_secret_list: &'a [&'a str],
    pub(super) invalid_sn_list: &'a [&'a str],
    pub(super) repeated_device_name_list: &'a [&'a str],
    pub(super) invalid_detail_list: &'a [RowDetail<'a>],
}

/// The same in the answer to an import.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RefusedImport<'a> {
    pub(super) invalid_device_name_list: InvalidDeviceName<'a>,
    pub(super) invalid_device_secret_list: InvalidDeviceSecret<'a>,
    pub(super) invalid_sn_list: InvalidSn<'a>,
    pub(super) repeated_device_name_list: RepeatedDeviceName<'a>,
    pub(super) invalid_detail_list: RowDetails<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InvalidDeviceName<'a> {
    pub(super) invalid_device_name: &'a [&'a str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InvalidDeviceSecret<'a> {
    pub(super) invalid_device_secret: &'a [&'a str],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InvalidSn<'a> {
    pub(super) invalid_sn: &'a [&'a str],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RepeatedDeviceName<'a> {
    pub(super) repeated_device_name: &'a [&'a str],
}

/// Here alone the inner key starts in upper case.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RowDetails<'a> {
    pub(super) invalid_detail_list: &'a [RowDetail<'a>],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RowDetail<'a> {
    pub(super) device_name: &'a str,
    pub(super) device_secret: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sn: Option<&'a str>,
    pub(super) error_msg: String,
}

/// The devices of an import; they are not below `Data`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PageOfImported<'a> {
    pub(super) device_list: ImportedDevices<'a>,
    pub(super) page_no: usize,
    pub(super) page_size: usize,
    pub(super) product_key: &'static str,
    pub(super) total_page: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImportedDevices<'a> {
    pub(super) device: Vec<ImportedRow<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ImportedRow<'a> {
    pub(super) device_name: &'a str,
    pub(super) device_secret: Cow<'a, str>,
    pub(super) product_key: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sn: Option<&'a str>,
}

impl fmt::Debug for RowDetail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowDetail")
            .field("device_name", &self.device_name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for InvalidDeviceSecret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for ImportedRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportedRow")
            .field("device_name", &self.device_name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RefusedRows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusedRows")
            .field("invalid_detail_list", &self.invalid_detail_list)
            .finish_non_exhaustive()
    }
}
