//! The devices of an import, and what can be said of them.

use std::collections::{BTreeMap, HashSet};

use super::choices::Repeated;
use super::import_shapes::RowDetail;
use super::request::{Params, number};
use super::rules::{self, ILLEGAL_NAME};
use super::switches::Switches;

/// The upstream's texts for these are not published.
const ILLEGAL_SECRET: &str = "The device secret is illegal.";
const ILLEGAL_SN: &str = "The SN is illegal.";

/// One device of an import; what is missing is empty.
#[derive(Default)]
pub(super) struct Row<'a> {
    pub(super) number: u32,
    pub(super) name: &'a str,
    pub(super) secret: &'a str,
    pub(super) sn: Option<&'a str>,
}

/// The lists of what is wrong; all are empty if nothing is.
#[derive(Default)]
pub(super) struct Flaws<'a> {
    pub(super) names: Vec<&'a str>,
    pub(super) secrets: Vec<&'a str>,
    pub(super) sns: Vec<&'a str>,
    pub(super) repeated: Vec<&'a str>,
    /// Each device once, its messages joined by `|`.
    pub(super) details: Vec<RowDetail<'a>>,
}

/// The rows of `DeviceList.N` in the order of their numbers.
pub(super) fn rows<'a>(params: &'a Params<'_>) -> Vec<Row<'a>> {
    let mut rows: BTreeMap<u32, Row<'a>> = BTreeMap::new();
    for (key, value) in params.others() {
        let Some((n, field)) = key
            .strip_prefix("DeviceList.")
            .and_then(|rest| rest.split_once('.'))
        else {
            continue;
        };
        let Some(number) = number(n) else {
            continue;
        };
        if !matches!(field, "DeviceName" | "DeviceSecret" | "Sn") {
            continue;
        }
        let row = rows.entry(number).or_default();
        row.number = number;
        match field {
            "DeviceName" => row.name = value,
            "DeviceSecret" => row.secret = value,
            _ => row.sn = Some(value).filter(|sn| !sn.is_empty()),
        }
    }
    rows.into_values().collect()
}

/// Where a name that a device has already is told depends on the switch: an import has no apply
/// before it is made, so it is told at once in any case.
pub(super) fn flaws<'a>(
    rows: &[Row<'a>],
    switches: &Switches,
    exists: impl Fn(&str) -> bool,
) -> Flaws<'a> {
    let mut flaws = Flaws::default();
    let mut times = HashSet::with_capacity(rows.len());
    let mut repeated = HashSet::new();
    for row in rows {
        if !times.insert(rules::same(row.name, switches)) {
            repeated.insert(rules::same(row.name, switches));
        }
    }
    let mut listed = HashSet::new();
    for row in rows {
        let same = rules::same(row.name, switches);
        let mut messages = Vec::new();
        if !rules::is_name(row.name) {
            messages.push(ILLEGAL_NAME);
            flaws.names.push(row.name);
        }
        if !rules::is_secret(row.secret) {
            messages.push(ILLEGAL_SECRET);
            flaws.secrets.push(row.secret);
        }
        if let Some(sn) = row.sn.filter(|sn| !rules::is_sn(sn)) {
            messages.push(ILLEGAL_SN);
            flaws.sns.push(sn);
        }
        let twice = repeated.contains(&same);
        let taken = exists(row.name);
        if twice {
            messages.push(&switches.repeated_text);
        }
        if taken {
            messages.push(&switches.existing_text);
        }
        let in_list = match switches.repeated_list {
            Repeated::Request => twice,
            Repeated::Existing => taken,
            Repeated::Both => twice || taken,
        };
        if in_list && listed.insert(same) {
            flaws.repeated.push(row.name);
        }
        if !messages.is_empty() {
            flaws.details.push(RowDetail {
                device_name: row.name,
                device_secret: row.secret,
                sn: row.sn,
                error_msg: messages.join("|"),
            });
        }
    }
    flaws
}

impl std::fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Flaws<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flaws")
            .field("details", &self.details)
            .finish_non_exhaustive()
    }
}
