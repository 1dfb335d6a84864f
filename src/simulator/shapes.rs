//! The shapes of the answers about names and applies, the upstream's misspelt keys included.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// What goes below `Data`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ApplyData {
    pub(super) apply_id: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RefusedNames<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) apply_id: Option<u64>,
    pub(super) invalid_device_name_list: InvalidDeviceName<'a>,
    pub(super) invalid_device_nickname_list: InvalidDeviceNickname<'a>,
    pub(super) repeated_device_name_list: Repeated<'a>,
    pub(super) invalid_detail_list: Details<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InvalidDeviceName<'a> {
    pub(super) invalid_device_name: &'a [&'a str],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InvalidDeviceNickname<'a> {
    pub(super) invalid_device_nickname: &'a [&'a str],
}

#[derive(Debug, Serialize)]
pub(super) struct Repeated<'a> {
    /// Misspelt upstream.
    #[serde(rename = "RepeatDevieNameList")]
    pub(super) names: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Details<'a> {
    pub(super) invalid_detail_list: Vec<Detail<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Detail<'a> {
    pub(super) device_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nick_name: Option<&'a str>,
    pub(super) error_msg: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StatusData<'a> {
    pub(super) status: &'static str,
    pub(super) valid_list: Names<'a>,
    pub(super) invalid_list: Names<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) invalid_detail_list: Option<StatusDetails<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Names<'a> {
    pub(super) name: Vec<&'a str>,
}

/// Here, unlike in the answer to a check, the inner key starts in lower case.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusDetails<'a> {
    pub(super) invalid_detail_list: Vec<Detail<'a>>,
}

/// The rows of an apply; they are not below `Data`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PageOfDevices<'a> {
    pub(super) apply_device_list: ApplyDevices<'a>,
    pub(super) page: usize,
    pub(super) page_count: usize,
    pub(super) page_size: usize,
    pub(super) total: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ApplyDevices<'a> {
    pub(super) apply_device_info: Vec<DeviceRow<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeviceRow<'a> {
    pub(super) device_id: String,
    pub(super) device_name: &'a str,
    pub(super) device_secret: Cow<'a, str>,
    pub(super) iot_id: String,
}

impl fmt::Debug for DeviceRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceRow")
            .field("iot_id", &self.iot_id)
            .finish_non_exhaustive()
    }
}
