//! Checks of names, and the creations that follow them or need none.

use std::borrow::Cow;

use super::answers::{Answer, Failure};
use super::apply::Phase;
use super::case::{Case, Given, No, Outcome, fail};
use super::choices::{OverCap, Register, Repeated, Shown, Spaces};
use super::options::BadNames;
use super::product::Product;
use super::request::Entry;
use super::rules::{self, Sifted};
use super::shapes::{
    ApplyData, Detail, Details, InvalidDeviceName, InvalidDeviceNickname, RefusedNames,
};

pub(super) fn check(case: &mut Case<'_>) -> Outcome {
    let devices = trimmed(case);
    case.names = Some(Given {
        count: devices.len(),
        dropped: 0,
        list: None,
    });
    let outcome = accept(case, &devices);
    let refused = match &outcome {
        Ok(answer) => answer.code != "OK",
        Err(_) => true,
    };
    if refused && let Some(names) = &mut case.names {
        let list = devices.iter().map(|entry| entry.name.to_string());
        names.list = Some(list.collect());
    }
    outcome
}

/// Devices with random names: what a check would find is known.
pub(super) fn register_count(case: &mut Case<'_>) -> Outcome {
    let product = case.product_to_fill()?;
    let count = case.params.get("Count").map(str::parse::<usize>);
    let Some(Ok(count @ 1..)) = count else {
        return fail(
            "iot.common.InvalidFormattedParameter",
            "The Count is not a number from 1.",
        );
    };
    if count > product.names_per_check() {
        return fail(
            "iot.device.DeviceCountExceeded",
            "The Count exceeds the maximum.",
        );
    }
    case.can_hold(count)?;
    fits(case, product, count)?;
    let names = case.world.random_names(count);
    let begun = case.world.begin(product, names, None, case.now);
    let apply_id = begun.map_err(No::Broken)?;
    case.apply_id = Some(apply_id);
    case.names = Some(Given {
        count,
        dropped: 0,
        list: None,
    });
    Ok(Answer::with_data(ApplyData { apply_id }))
}

/// Which of the phases but CHECK_SUCCESS allow it is not published.
pub(super) fn register(case: &mut Case<'_>) -> Outcome {
    let product = case.product_to_fill()?;
    let switches = case.switches();
    let (apply_id, apply) = case.apply(Some(product))?;
    let count = apply.valid().count();
    let (starts, allowed) = match apply.phase {
        Phase::Check => (true, switches.early_register == Register::Accept),
        Phase::CheckSuccess => (true, true),
        Phase::CheckFailed => (true, switches.failed_register == Register::Accept),
        Phase::Create if switches.second_register == Register::Refuse => {
            return fail(
                "iot.device.CreateDeviceTaskIsRunning",
                "The creation is still running.",
            );
        }
        Phase::Create | Phase::CreateSuccess | Phase::CreateFailed => {
            (false, switches.second_register == Register::Accept)
        }
    };
    if !allowed || apply.brought.is_some() {
        return fail(
            "iot.device.IncorrentDeviceApplyInfo",
            "The apply cannot be registered.",
        );
    }
    if starts {
        fits(case, product, count)?;
        case.world.create(apply_id, case.now).map_err(No::Broken)?;
    }
    Ok(Answer::with_data(ApplyData { apply_id }))
}

/// Refuses more devices than the product and its instance take, if they are refused here.
pub(super) fn fits(case: &Case<'_>, product: Product, count: usize) -> Result<(), No> {
    if case.switches().over_cap == OverCap::Refuse && count > case.world.room(product) {
        let code = case.switches().cap_code.clone();
        let message = "The product or its instance holds too many devices.";
        return Err(No::Failure(Failure::new(code, message)));
    }
    Ok(())
}

/// The devices of the call, without the spaces around names if those do not count.
fn trimmed<'c>(case: &Case<'c>) -> Cow<'c, [Entry<'c>]> {
    let devices = &case.params.devices;
    match case.switches().spaces {
        Spaces::Keep => Cow::Borrowed(devices),
        Spaces::Trim => Cow::Owned(devices.iter().map(Entry::trimmed).collect()),
    }
}

fn accept(case: &mut Case<'_>, devices: &[Entry<'_>]) -> Outcome {
    let product = case.product_to_fill()?;
    let numbers = devices.iter().map(|entry| entry.number);
    let devices = &devices[..case.counted(numbers, product.names_per_check())?];
    if devices.is_empty() {
        return fail(
            "iot.device.NoneDeviceNameElement",
            "The device name list is empty.",
        );
    }
    if devices.iter().any(|entry| entry.name.is_empty()) {
        return fail("iot.device.NullDeviceName", "A device name is missing.");
    }
    case.can_hold(devices.len())?;
    fits(case, product, devices.len())?;
    let switches = case.switches();
    let mut sifted = rules::sift(devices, switches);
    let at_once = case.options.bad_names == BadNames::AtOnce;
    if at_once && switches.repeated_list != Repeated::Request {
        let known = case.world.state.devices(product);
        sifted.tell_existing(&switches.existing_text, |name| known.is_device(name));
    }
    let refused = at_once && !sifted.malformed.is_empty();
    if refused && switches.refused_apply_id == Shown::Hidden {
        return Ok(told(&sifted, switches.repeated_list, None));
    }
    let checked = case.world.check(product, &sifted, case.now);
    let apply_id = checked.map_err(No::Broken)?;
    case.apply_id = Some(apply_id);
    if refused {
        return Ok(told(&sifted, switches.repeated_list, Some(apply_id)));
    }
    Ok(Answer::with_data(ApplyData { apply_id }))
}

/// The answer that lists what is wrong with the names. Which code stands for repeated names alone
/// is not published; the one for names fits best.
fn told(sifted: &Sifted<'_>, repeated: Repeated, apply_id: Option<u64>) -> Answer {
    let only_nicknames =
        sifted.illegal_names.len() + sifted.repeated.len() + sifted.existing.len() == 0;
    let (code, message) = if only_nicknames {
        (
            "iot.device.InvalidDeviceNickNameExisted",
            "Some device nicknames are invalid.",
        )
    } else {
        (
            "iot.device.InvalidDeviceNameExisted",
            "Some device names are invalid.",
        )
    };
    let repeated: Vec<&str> = match repeated {
        Repeated::Request => sifted.repeated.clone(),
        Repeated::Existing => sifted.existing.clone(),
        Repeated::Both => [&sifted.repeated[..], &sifted.existing].concat(),
    };
    let details = sifted.malformed.iter().map(|device| Detail {
        device_name: &device.name,
        nick_name: device.nickname.as_deref(),
        error_msg: &device.message,
    });
    let data = RefusedNames {
        apply_id,
        invalid_device_name_list: InvalidDeviceName {
            invalid_device_name: &sifted.illegal_names,
        },
        invalid_device_nickname_list: InvalidDeviceNickname {
            invalid_device_nickname: &sifted.illegal_nicknames,
        },
        repeated_device_name_list: super::shapes::Repeated { names: repeated },
        invalid_detail_list: Details {
            invalid_detail_list: details.collect(),
        },
    };
    Answer::failure(&Failure::new(code, message).with_data(data))
}
