//! A product, and single devices: what they are, and their end.

use std::borrow::Cow;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::{format_description, offset};

use super::answers::Answer;
use super::case::{Case, No, Outcome, fail};
use super::choices::Shown;
use super::credentials::Place;
use super::device_shapes::{Alone, DeviceDetail, DeviceDetails, ProductData};
use super::product::Product;
use super::rules;

/// Names that one BatchQueryDeviceDetail takes (its help page).
const NAMES: usize = 100;
/// How times are written in samples: in China's time, and in that of the world.
const GMT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const UTC: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

pub(super) fn product(case: &Case<'_>) -> Outcome {
    let product = case.product()?;
    let count = case.world.state.devices(product).count();
    let with_auth_type = case.switches().auth_type == Shown::Shown;
    let data = ProductData::of(product, count, with_auth_type);
    Ok(Answer::with_data(data))
}

pub(super) fn device(case: &Case<'_>) -> Outcome {
    let (product, name) = meant(case)?;
    let Some(mut detail) = detail(case, product, &name) else {
        return no_device();
    };
    detail.alone = Some(Alone {
        gmt_online: "",
        utc_online: "",
        owner: true,
    });
    Ok(Answer::with_data(detail))
}

/// Devices that do not exist are left out, as the help page says.
pub(super) fn devices(case: &Case<'_>) -> Outcome {
    let product = case.product()?;
    let names = &case.params.devices;
    if names.is_empty() {
        return fail(
            "iot.device.NoneDeviceNameElement",
            "The device name list is empty.",
        );
    }
    if names.len() > NAMES {
        return fail(
            "iot.device.TooManyDeviceNamesPerRequest",
            "Too many device names.",
        );
    }
    let details = names
        .iter()
        .filter_map(|entry| detail(case, product, &entry.name));
    Ok(Answer::with_data(DeviceDetails {
        data: details.collect(),
    }))
}

pub(super) fn delete(case: &mut Case<'_>) -> Outcome {
    let (product, name) = meant(case)?;
    if !case.world.state.devices(product).is_device(&name) {
        return no_device();
    }
    case.world
        .delete(product, &name, case.now)
        .map_err(No::Broken)?;
    Ok(Answer::done())
}

/// The device that is meant. Where both are given, the IotId counts and not the names (help page
/// of QueryDeviceDetail).
fn meant<'c>(case: &Case<'c>) -> Result<(Product, Cow<'c, str>), No> {
    if let Some(iot_id) = case.params.get("IotId") {
        let Some(place) = case.world.place_of(iot_id) else {
            return fail("iot.device.InvalidIoTId", "The IotId is invalid.");
        };
        let Some(name) = case.world.state.device_at(place) else {
            return no_device();
        };
        case.may_reach(place.product)?;
        return Ok((place.product, Cow::Owned(name.into())));
    }
    let product = case.product()?;
    let Some(name) = case.params.get("DeviceName") else {
        return fail("iot.device.NullDeviceName", "The device name is missing.");
    };
    if !rules::is_name(name) {
        return fail(
            "iot.device.InvalidFormattedDeviceName",
            "The device name is badly formed.",
        );
    }
    Ok((product, Cow::Borrowed(name)))
}

fn detail<'a>(case: &'a Case<'_>, product: Product, name: &str) -> Option<DeviceDetail<'a>> {
    let (apply, position) = case.world.state.devices(product).place(name)?;
    let given = case.world.state.device(product, name)?;
    let place = Place {
        product,
        apply,
        position,
    };
    let credentials = case.world.credentials(place, given.name);
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(given.created_at) * 1000);
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    Some(DeviceDetail {
        device_name: given.name,
        device_secret: match given.brought {
            Some(brought) => Cow::Borrowed(&brought.secret),
            None => Cow::Owned(credentials.secret),
        },
        gmt_active: "",
        gmt_create: written(at.to_offset(offset!(+8)), GMT),
        iot_id: credentials.iot_id,
        nickname: given.nickname.unwrap_or_default(),
        node_type: 0,
        product_key: product.key(),
        product_name: product.name(),
        region: &case.switches().region,
        status: "UNACTIVE",
        utc_active: "",
        utc_create: written(at, UTC),
        alone: None,
    })
}

fn written(at: OffsetDateTime, format: &[BorrowedFormatItem<'_>]) -> String {
    at.format(format)
        .expect("a date has all that these formats ask for")
}

fn no_device<T>() -> Result<T, No> {
    fail("iot.device.NotExistedDevice", "The device does not exist.")
}
