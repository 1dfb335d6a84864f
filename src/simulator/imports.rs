//! Devices that bring their own secrets.

use std::borrow::Cow;

use serde::Serialize;

use super::answers::{Answer, Failure};
use super::apply::Brought;
use super::case::{Case, Given, No, Outcome, bad_page, fail, no_apply};
use super::checks;
use super::import_rows::{self, Flaws, Row};
use super::import_shapes::{
    ImportedDevices, ImportedRow, InvalidDeviceName, InvalidDeviceSecret, InvalidSn,
    PageOfImported, RefusedImport, RefusedRows, RepeatedDeviceName, RowDetails,
};
use super::product::Product;
use super::queries;
use super::shapes::ApplyData;

/// Rows that one call takes (help page of BatchCheckImportDevice).
const ROWS: usize = 10_000;
/// The last page that can be asked for (help page of QueryImportedDeviceByApplyId).
const LAST_PAGE: usize = 10_000;

/// Only says whether an import of these rows would be taken, and keeps nothing.
pub(super) fn check(case: &mut Case<'_>) -> Outcome {
    let rows = begin(case);
    let outcome = judge(case, &rows).and_then(|(_, _, flaws)| {
        if flaws.details.is_empty() {
            return Ok(Answer::done());
        }
        refuse(RefusedRows {
            invalid_device_name_list: &flaws.names,
            invalid_device_secret_list: &flaws.secrets,
            invalid_sn_list: &flaws.sns,
            repeated_device_name_list: &flaws.repeated,
            invalid_detail_list: &flaws.details,
        })
    });
    end(case, &rows, outcome)
}

/// Starts the creation of these devices; nobody has to have checked them.
pub(super) fn import(case: &mut Case<'_>) -> Outcome {
    let rows = begin(case);
    let outcome = judge(case, &rows).and_then(|(product, rows, flaws)| {
        if !flaws.details.is_empty() {
            return refuse(RefusedImport {
                invalid_device_name_list: InvalidDeviceName {
                    invalid_device_name: &flaws.names,
                },
                invalid_device_secret_list: InvalidDeviceSecret {
                    invalid_device_secret: &flaws.secrets,
                },
                invalid_sn_list: InvalidSn {
                    invalid_sn: &flaws.sns,
                },
                repeated_device_name_list: RepeatedDeviceName {
                    repeated_device_name: &flaws.repeated,
                },
                invalid_detail_list: RowDetails {
                    invalid_detail_list: &flaws.details,
                },
            });
        }
        let names = rows.iter().map(|row| row.name.into()).collect();
        let brought = rows.iter().map(|row| Brought {
            secret: row.secret.into(),
            sn: row.sn.map(Into::into),
        });
        let brought = Some(brought.collect());
        let begun = case.world.begin(product, names, brought, case.now);
        let apply_id = begun.map_err(No::Broken)?;
        case.apply_id = Some(apply_id);
        Ok(Answer::with_data(ApplyData { apply_id }))
    });
    end(case, &rows, outcome)
}

pub(super) fn page(case: &Case<'_>) -> Outcome {
    let (_, apply) = case.apply(None)?;
    let Some(brought) = &apply.brought else {
        return no_apply();
    };
    let (page_no, page_size) = case.page("PageNo")?;
    if page_no > LAST_PAGE {
        return bad_page();
    }
    let product_key = apply.product.key();
    let rows = queries::rows(case, apply)?;
    let total_page = rows.len().div_ceil(page_size);
    let rows = rows.iter().skip((page_no - 1) * page_size).take(page_size);
    let device = rows.map(|(position, name)| {
        let brought = &brought[*position as usize];
        ImportedRow {
            device_name: name,
            device_secret: Cow::Borrowed(&brought.secret),
            product_key,
            sn: brought.sn.as_deref(),
        }
    });
    Ok(Answer::with_fields(PageOfImported {
        device_list: ImportedDevices {
            device: device.collect(),
        },
        page_no,
        page_size,
        product_key,
        total_page,
    }))
}

fn begin<'c>(case: &mut Case<'c>) -> Vec<Row<'c>> {
    let rows = import_rows::rows(case.params);
    case.names = Some(Given {
        count: rows.len(),
        dropped: 0,
        list: None,
    });
    rows
}

/// The product, the rows that are looked at, and what is wrong with them.
fn judge<'r, 'c>(
    case: &mut Case<'_>,
    rows: &'r [Row<'c>],
) -> Result<(Product, &'r [Row<'c>], Flaws<'c>), No> {
    let product = case.product_to_fill()?;
    if !case.switches().takes_imports(product) {
        return fail(
            "iot.common.APINotSupportedInInstance",
            "The instance does not support imports.",
        );
    }
    let counted = case.counted(rows.iter().map(|row| row.number), ROWS)?;
    let rows = &rows[..counted];
    if rows.is_empty() {
        return fail(
            "iot.device.NoneDeviceNameElement",
            "The device list is empty.",
        );
    }
    case.can_hold(rows.len())?;
    checks::fits(case, product, rows.len())?;
    let known = case.world.state.devices(product);
    let flaws = import_rows::flaws(rows, case.switches(), |name| known.is_device(name));
    Ok((product, rows, flaws))
}

fn refuse(lists: impl Serialize) -> Outcome {
    let failure = Failure::new(
        "iot.device.InvalidDeviceParams",
        "Some devices are invalid.",
    );
    Err(No::Failure(failure.with_data(lists)))
}

/// Has the ledger tell the names of a refused call.
fn end(case: &mut Case<'_>, rows: &[Row<'_>], outcome: Outcome) -> Outcome {
    if let (Err(_), Some(names)) = (&outcome, &mut case.names) {
        names.list = Some(rows.iter().map(|row| row.name.into()).collect());
    }
    outcome
}
