//! What became of an apply: its status and its pages.

use std::borrow::Cow;

use super::answers::Answer;
use super::apply::{Apply, Complaint, Phase};
use super::case::{Case, No, Outcome, fail, no_apply};
use super::choices::{EarlyPages, ImportApply, PageOrder, Shown};
use super::credentials::Place;
use super::shapes::{
    ApplyDevices, Detail, DeviceRow, Names, PageOfDevices, StatusData, StatusDetails,
};

pub(super) fn status(case: &Case<'_>) -> Outcome {
    let product = case.product()?;
    let (_, apply) = case.apply(Some(product))?;
    not_of_import(case, apply)?;
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
        valid.extend(apply.valid().map(|(_, name)| name.as_ref()));
        let complaints = apply.complaints(&case.switches().existing_text);
        let complaints: Vec<Complaint<'_>> = complaints.collect();
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

pub(super) fn page(case: &Case<'_>) -> Outcome {
    let (apply_id, apply) = case.apply(None)?;
    not_of_import(case, apply)?;
    let (page, page_size) = case.page("CurrentPage")?;
    let rows = rows(case, apply)?;
    let total = rows.len();
    let skipped = (page - 1).saturating_mul(page_size);
    let rows = rows.iter().skip(skipped).take(page_size);
    let rows = rows.map(|(position, name)| {
        let place = Place {
            product: apply.product,
            apply: apply_id,
            position: *position,
        };
        let credentials = case.world.credentials(place, name);
        DeviceRow {
            device_id: credentials.device_id,
            device_name: name,
            device_secret: match apply.brought_secret(*position) {
                Some(brought) => Cow::Borrowed(brought),
                None => Cow::Owned(credentials.secret),
            },
            iot_id: credentials.iot_id,
        }
    });
    Ok(Answer::with_fields(PageOfDevices {
        apply_device_list: ApplyDevices {
            apply_device_info: rows.collect(),
        },
        page,
        page_count: total.div_ceil(page_size),
        page_size,
        total,
    }))
}

/// The devices that pages of the apply show, in their order, with their positions.
pub(super) fn rows<'a>(case: &Case<'_>, apply: &'a Apply) -> Result<Vec<(u32, &'a str)>, No> {
    let switches = case.switches();
    let made = if apply.is_created() {
        usize::MAX
    } else {
        match switches.early_pages {
            EarlyPages::Empty => 0,
            EarlyPages::Partial => apply.created_by(case.now),
            EarlyPages::Refuse => {
                return fail(
                    "iot.device.QueryDeviceApplyActionError",
                    "The creation has not finished.",
                );
            }
        }
    };
    let with_deleted = switches.deleted == Shown::Shown;
    let rows = apply.valid().take(made);
    let rows = rows.filter(|(position, _)| with_deleted || !apply.deleted.contains(position));
    let mut rows: Vec<(u32, &str)> = rows
        .map(|(position, name)| (position, name.as_ref()))
        .collect();
    if switches.page_order == PageOrder::Reverse {
        rows.reverse();
    }
    Ok(rows)
}

fn not_of_import(case: &Case<'_>, apply: &Apply) -> Result<(), No> {
    if apply.brought.is_some() && case.switches().import_apply == ImportApply::Own {
        return no_apply();
    }
    Ok(())
}
