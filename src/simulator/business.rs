//! What each action does and answers, once the gateway has let it through.

use super::action::Action;
use super::answers::{
    Answer, ApplyData, ApplyDevices, Detail, Details, DeviceRow, Failure, InvalidDeviceName,
    InvalidDeviceNickname, Names, PageOfDevices, ProductData, Refusal, RefusedNames, Repeated,
    StatusData, StatusDetails,
};
use super::apply::{Apply, Complaint, Phase};
use super::options::{BadNames, Options, Surplus};
use super::product::Product;
use super::request::{Entry, Params};
use super::rules::{self, Sifted};
use super::world::{MAX_NAMES, World};

/// Rows of a page unless the call says otherwise, and at most (help page of QueryPageByApplyId).
const PAGE: (usize, usize) = (10, 50);

/// An answer with what the ledger tells of it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) answer: Answer,
    pub(super) apply_id: Option<u64>,
    pub(super) names: Option<Given>,
}

/// The names of a check.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) count: usize,
    pub(super) dropped: usize,
    /// Only if the check was refused; those of an accepted one are in its apply.
    pub(super) list: Option<Vec<String>>,
}

type Outcome = Result<Answer, No>;

enum No {
    Failure(Failure<'static>),
    Refusal(Refusal),
    Broken(std::io::Error),
}

/// Does what `params` ask for. Refused only when the journal cannot be written, and when a fault
/// has a call for the product refused in the gateway's way.
pub(super) fn perform(
    world: &mut World,
    options: &Options,
    action: Action,
    params: &Params<'_>,
    now: u64,
) -> Result<Done, Refusal> {
    world.state.settle(now);
    let mut apply_id = params.get("ApplyId").and_then(|text| text.parse().ok());
    let mut names = None;
    let outcome = match action {
        Action::BatchCheckDeviceNames => {
            let (outcome, given, apply) = check(world, options, params, now);
            names = Some(given);
            apply_id = apply;
            outcome
        }
        Action::BatchRegisterDeviceWithApplyId => register(world, params, now),
        Action::QueryBatchRegisterDeviceStatus => status(world, params),
        Action::QueryPageByApplyId => page(world, params),
        Action::QueryProduct => product(world, params)
            .map(|product| Answer::with_data(ProductData::of(product, world.state.count(product)))),
    };
    let answer = match outcome {
        Ok(answer) => answer,
        Err(No::Failure(failure)) => Answer::failure(&failure),
        Err(No::Refusal(refusal)) => return Err(refusal),
        Err(No::Broken(error)) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "journal not written"
            );
            return Err(Refusal::internal());
        }
    };
    Ok(Done {
        answer,
        apply_id,
        names,
    })
}

fn check(
    world: &mut World,
    options: &Options,
    params: &Params<'_>,
    now: u64,
) -> (Outcome, Given, Option<u64>) {
    let count = params.devices.len();
    let mut given = Given {
        count,
        dropped: 0,
        list: None,
    };
    let accepted = product(world, params).and_then(|product| {
        let maximum = product.names_per_check();
        given.dropped = count.saturating_sub(maximum);
        if given.dropped > 0 && options.surplus == Surplus::Refuse {
            return fail(
                "iot.device.TooManyDeviceNamesPerRequest",
                "Too many device names.",
            );
        }
        accept(
            world,
            options,
            product,
            &params.devices[..count.min(maximum)],
            now,
        )
    });
    match accepted {
        Ok(Ok(apply_id)) => (
            Ok(Answer::with_data(ApplyData { apply_id })),
            given,
            Some(apply_id),
        ),
        Ok(Err(answer)) => {
            given.list = Some(list(&params.devices));
            (Ok(answer), given, None)
        }
        Err(no) => {
            given.list = Some(list(&params.devices));
            (Err(no), given, None)
        }
    }
}

/// The new ApplyId, or the answer that lists what is wrong with the names.
fn accept(
    world: &mut World,
    options: &Options,
    product: Product,
    devices: &[Entry<'_>],
    now: u64,
) -> Result<Result<u64, Answer>, No> {
    if devices.is_empty() {
        return fail(
            "iot.device.NoneDeviceNameElement",
            "The device name list is empty.",
        );
    }
    if devices.iter().any(|entry| entry.name.is_empty()) {
        return fail("iot.device.NullDeviceName", "A device name is missing.");
    }
    if world.state.held() + devices.len() > MAX_NAMES {
        return fail(
            "iot.device.ApplyManyDevicesFailed",
            "The simulator holds too many names.",
        );
    }
    let sifted = rules::sift(devices);
    if !sifted.malformed.is_empty() && options.bad_names == BadNames::AtOnce {
        return Ok(Err(refused(&sifted)));
    }
    world
        .check(product, &sifted, now)
        .map(Ok)
        .map_err(No::Broken)
}

/// Which code stands for repeated names alone is not published; the one for names fits best.
fn refused(sifted: &Sifted<'_>) -> Answer {
    let only_nicknames = sifted.illegal_names.is_empty() && sifted.repeated.is_empty();
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
    let details = sifted.malformed.iter().map(|device| Detail {
        device_name: &device.name,
        nick_name: device.nickname.as_deref(),
        error_msg: &device.message,
    });
    let data = RefusedNames {
        invalid_device_name_list: InvalidDeviceName {
            invalid_device_name: &sifted.illegal_names,
        },
        invalid_device_nickname_list: InvalidDeviceNickname {
            invalid_device_nickname: &sifted.illegal_nicknames,
        },
        repeated_device_name_list: Repeated {
            names: &sifted.repeated,
        },
        invalid_detail_list: Details {
            invalid_detail_list: details.collect(),
        },
    };
    Answer::failure(&Failure {
        data: Some(data),
        ..Failure::new(code, message)
    })
}

fn register(world: &mut World, params: &Params<'_>, now: u64) -> Outcome {
    let product = product(world, params)?;
    let (apply_id, apply) = apply(world, params, Some(product))?;
    match apply.phase {
        Phase::CheckSuccess => {
            world.create(apply_id, now).map_err(No::Broken)?;
            Ok(Answer::with_data(ApplyData { apply_id }))
        }
        Phase::Create => fail(
            "iot.device.CreateDeviceTaskIsRunning",
            "The creation is still running.",
        ),
        Phase::Check | Phase::CheckFailed | Phase::CreateSuccess | Phase::CreateFailed => fail(
            "iot.device.IncorrentDeviceApplyInfo",
            "The apply cannot be registered.",
        ),
    }
}

fn status(world: &World, params: &Params<'_>) -> Outcome {
    let product = product(world, params)?;
    let (_, apply) = apply(world, params, Some(product))?;
    let (status, failed) = match apply.phase {
        Phase::Check => ("CHECK", false),
        Phase::CheckSuccess => ("CHECK_SUCCESS", false),
        Phase::CheckFailed => ("CHECK_FAILED", true),
        Phase::Create => ("CREATE", false),
        Phase::CreateSuccess => ("CREATE_SUCCESS", false),
        Phase::CreateFailed => ("CREATE_FAILED", true),
    };
    let mut valid = Vec::new();
    let mut invalid = Vec::new();
    let mut details = None;
    if failed && !apply.nameless {
        valid.extend(apply.valid().map(AsRef::as_ref));
        let complaints: Vec<Complaint<'_>> = apply.complaints().collect();
        invalid.extend(complaints.iter().map(|complaint| complaint.name));
        let complaints = complaints.into_iter().map(|complaint| Detail {
            device_name: complaint.name,
            nick_name: complaint.nickname,
            error_msg: complaint.message,
        });
        details = Some(StatusDetails {
            invalid_detail_list: complaints.collect(),
        });
    }
    Ok(Answer::with_data(StatusData {
        status,
        valid_list: Names { name: valid },
        invalid_list: Names { name: invalid },
        invalid_detail_list: details,
    }))
}

fn page(world: &World, params: &Params<'_>) -> Outcome {
    let number = |name: &str, usual: usize| match params.get(name).map(str::parse::<usize>) {
        None => Ok(usual),
        Some(Ok(number)) if number > 0 => Ok(number),
        Some(_) => fail(
            "iot.common.InvalidPageParams",
            "The page parameters are invalid.",
        ),
    };
    let (apply_id, apply) = apply(world, params, None)?;
    not_blocked(world, apply.product)?;
    let page = number("CurrentPage", 1)?;
    let page_size = number("PageSize", PAGE.0)?.min(PAGE.1);
    let total = apply.created_count();
    let rows = apply
        .created()
        .skip((page - 1).saturating_mul(page_size))
        .take(page_size);
    let rows = rows.map(|name| {
        let credentials = world.credentials(apply.product, name, apply_id);
        DeviceRow {
            device_id: credentials.device_id,
            device_name: name,
            device_secret: credentials.secret,
            iot_id: credentials.iot_id,
        }
    });
    Ok(Answer::page(PageOfDevices {
        apply_device_list: ApplyDevices {
            apply_device_info: rows.collect(),
        },
        page,
        page_count: total.div_ceil(page_size),
        page_size,
        total,
    }))
}

fn product(world: &World, params: &Params<'_>) -> Result<Product, No> {
    let Some(key) = params.get("ProductKey") else {
        return fail("iot.prod.NullProductKey", "The ProductKey is missing.");
    };
    let unknown = Failure::new("iot.prod.NotExistedProduct", "The product does not exist.");
    let product = Product::of_key(key).ok_or(No::Failure(unknown))?;
    not_blocked(world, product).map(|()| product)
}

fn not_blocked(world: &World, product: Product) -> Result<(), No> {
    let Some(code) = world.faults().product_blocked(product) else {
        return Ok(());
    };
    let refusal = code.refusal();
    Err(if refusal.status == 200 {
        No::Failure(Failure::new(refusal.code, refusal.message))
    } else {
        No::Refusal(refusal)
    })
}

/// The apply that is meant, if it is one of `product` or that does not matter.
fn apply<'w>(
    world: &'w World,
    params: &Params<'_>,
    product: Option<Product>,
) -> Result<(u64, &'w Apply), No> {
    let Some(text) = params.get("ApplyId") else {
        return fail("iot.device.NullApplyId", "The ApplyId is missing.");
    };
    let Ok(id) = text.parse() else {
        return fail(
            "iot.device.InvalidFormattedApplyId",
            "The ApplyId is not a number.",
        );
    };
    let found = world.state.apply(id);
    match found.filter(|apply| product.is_none_or(|product| product == apply.product)) {
        Some(apply) => Ok((id, apply)),
        None => fail(
            "iot.device.DeviceApplyIsNotFound",
            "The apply is not found.",
        ),
    }
}

fn fail<T>(code: &'static str, message: &'static str) -> Result<T, No> {
    Err(No::Failure(Failure::new(code, message)))
}

fn list(devices: &[Entry<'_>]) -> Vec<String> {
    devices.iter().map(|entry| entry.name.to_string()).collect()
}
