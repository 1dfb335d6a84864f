//! Complaints: what is wrong with a request, gathered so that a caller learns all of it at once.

use std::{
    collections::HashMap,
    fmt::{Arguments, Display},
};

use tonic::Status;
use tonic_types::FieldViolation;

use super::{page_token::Scope, status};
use crate::{
    domain::{ApplyStatus, Labels},
    proto as pb,
};

/// Complaints that are told in full; the rest are counted. Error details travel in headers.
const TOLD: usize = 20;

/// Characters of a request id.
const REQUEST_ID: usize = 128;

/// What is wrong with a request, field by field.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    told: Vec<FieldViolation>,
    more: usize,
}

impl Complaints {
    /// Complains about a field.
    pub(super) fn add(&mut self, field: &str, what: &str) {
        self.add_args(format_args!("{field}"), format_args!("{what}"));
    }

    /// The same; the texts are only made if they are told.
    pub(super) fn add_args(&mut self, field: Arguments<'_>, what: Arguments<'_>) {
        if self.told.len() < TOLD {
            self.told
                .push(FieldViolation::new(field.to_string(), what.to_string()));
        } else {
            self.more += 1;
        }
    }

    /// There are more devices than are taken at once.
    pub(super) fn about_devices(&mut self, size: impl Display) {
        self.add_args(
            format_args!("devices"),
            format_args!(
                "holds {size} devices and at most 100,000 are taken at once; use UploadDevices, or \
                 split them into several applies"
            ),
        );
    }

    pub(super) fn about_apply_id(&mut self, id: i64) {
        if id <= 0 {
            self.add(
                "apply_id",
                "must be the positive number that CheckDevices answered",
            );
        }
    }

    pub(super) fn about_request_id(&mut self, id: &str) {
        let fits = id.len() <= REQUEST_ID && id.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if !fits {
            self.add(
                "request_id",
                "must be empty or have up to 128 printable ASCII characters",
            );
        }
    }

    /// The size of the page; 0 means the usual one.
    pub(super) fn about_page_size(&mut self, size: i32, usual: u32, most: u32) -> u32 {
        match u32::try_from(size) {
            Ok(0) => usual,
            Ok(size) => size.min(most),
            Err(_) => {
                self.add("page_size", "must not be negative");
                usual
            }
        }
    }

    /// Where the page begins; none for the first.
    pub(super) fn about_page_token<const N: usize>(
        &mut self,
        scope: &Scope,
        token: &str,
    ) -> Option<[i64; N]> {
        if token.is_empty() {
            return None;
        }
        let cursor = scope.cursor(token);
        if cursor.is_none() {
            self.add(
                "page_token",
                "was not made by this call with the same filter; leave it empty to begin",
            );
        }
        cursor
    }

    /// The labels, which are not to be used after a complaint.
    pub(super) fn about_labels(&mut self, labels: HashMap<String, String>) -> Labels {
        Labels::parse(labels).unwrap_or_else(|wrong| {
            for what in wrong {
                self.add("labels", &what);
            }
            Labels::default()
        })
    }

    /// The statuses, each once and in their order whatever they came in.
    pub(super) fn about_statuses(&mut self, values: &[i32]) -> Vec<ApplyStatus> {
        let mut wanted = Vec::new();
        for (at, value) in values.iter().enumerate() {
            match status_of(*value) {
                Some(status) => wanted.push(status),
                None => self.add_args(
                    format_args!("statuses[{at}]"),
                    format_args!("is not a status that an apply can have"),
                ),
            }
        }
        let all = ApplyStatus::ALL.iter().copied();
        all.filter(|status| wanted.contains(status)).collect()
    }

    /// Refuses the request if there was anything to complain about.
    pub(super) fn refuse(self) -> Result<(), Status> {
        if self.told.is_empty() {
            Ok(())
        } else {
            Err(status::invalid(self.told, self.more))
        }
    }
}

fn status_of(value: i32) -> Option<ApplyStatus> {
    match pb::ApplyStatus::try_from(value).ok()? {
        pb::ApplyStatus::Unspecified => None,
        pb::ApplyStatus::Check => Some(ApplyStatus::Check),
        pb::ApplyStatus::CheckSuccess => Some(ApplyStatus::CheckSuccess),
        pb::ApplyStatus::CheckFailed => Some(ApplyStatus::CheckFailed),
        pb::ApplyStatus::Create => Some(ApplyStatus::Create),
        pb::ApplyStatus::CreateSuccess => Some(ApplyStatus::CreateSuccess),
        pb::ApplyStatus::CreateFailed => Some(ApplyStatus::CreateFailed),
        pb::ApplyStatus::Cancelled => Some(ApplyStatus::Cancelled),
    }
}
