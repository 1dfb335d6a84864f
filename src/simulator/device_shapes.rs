//! The shapes of the answers about a product and about single devices.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::product::Product;

/// The part of QueryProduct's Data that is the same for everyone or known here.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ProductData {
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_type: Option<&'static str>,
    data_format: u8,
    device_count: usize,
    net_type: u8,
    node_type: u8,
    product_key: &'static str,
    product_name: &'static str,
    product_status: &'static str,
}

/// A device that never was online: it has no FirmwareVersion and no IpAddress, and its times of
/// activation are empty.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeviceDetail<'a> {
    pub(super) device_name: &'a str,
    pub(super) device_secret: Cow<'a, str>,
    pub(super) gmt_active: &'static str,
    pub(super) gmt_create: String,
    pub(super) iot_id: String,
    pub(super) nickname: &'a str,
    pub(super) node_type: u8,
    pub(super) product_key: &'static str,
    pub(super) product_name: &'static str,
    pub(super) region: &'a str,
    pub(super) status: &'static str,
    pub(super) utc_active: &'static str,
    pub(super) utc_create: String,
    /// Only where a single device is asked for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) alone: Option<Alone>,
}

/// What is told of a device only if it is asked for alone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Alone {
    pub(super) gmt_online: &'static str,
    pub(super) utc_online: &'static str,
    pub(super) owner: bool,
}

/// Below `Data` there is another.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeviceDetails<'a> {
    pub(super) data: Vec<DeviceDetail<'a>>,
}

impl ProductData {
    pub(super) fn of(product: Product, devices: usize, with_auth_type: bool) -> ProductData {
        ProductData {
            auth_type: with_auth_type.then(|| product.auth_type()),
            data_format: 1,
            device_count: devices,
            net_type: 3,
            node_type: 0,
            product_key: product.key(),
            product_name: product.name(),
            product_status: "DEVELOPMENT_STATUS",
        }
    }
}

impl fmt::Debug for DeviceDetail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceDetail")
            .field("iot_id", &self.iot_id)
            .finish_non_exhaustive()
    }
}
