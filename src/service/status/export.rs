//! What ends an export, and from where it goes on.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{info, unavailable};
use crate::domain::ApplyId;

/// After how long there may be room for another export: one of 10,000 devices takes 4 s at the
/// published rate, and one without credentials less.
const EXPORTS_END_IN: Duration = Duration::from_secs(5);

/// This server stops and an export goes on elsewhere.
pub(in crate::service) fn stopping_export(apply: ApplyId, next: i64) -> Status {
    let message = format!(
        "this server is stopping; export apply {apply} again with from_ordinal {next}, no device is \
         missed"
    );
    unavailable("SERVER_STOPPING", &message, from_ordinal(apply, next))
}

/// The upstream has given no credentials for too long.
pub(in crate::service) fn no_credentials(apply: ApplyId, next: i64, said: &str) -> Status {
    let message = format!(
        "the upstream has given no credentials of apply {apply} for as long as an export waits, and \
         said last: {said}; mend that where it says what is wrong, then export again with \
         from_ordinal {next}, no device is missed"
    );
    unavailable("NO_CREDENTIALS", &message, from_ordinal(apply, next))
}

/// An export whose caller took nothing for too long.
pub(in crate::service) fn not_taken(apply: ApplyId, next: i64) -> Status {
    let message = format!(
        "the stream was not read for as long as an export waits; export apply {apply} again with \
         from_ordinal {next}, no device is missed"
    );
    let details = info("STREAM_NOT_READ", from_ordinal(apply, next));
    Status::with_error_details(Code::Aborted, message, details)
}

/// An export is to begin after the last device.
pub(in crate::service) fn beyond_the_last(apply: ApplyId, from: i64, total: i64) -> Status {
    let metadata = [
        ("apply_id", apply.to_string()),
        ("total", total.to_string()),
    ];
    let message = format!("apply {apply} has {total} devices and from_ordinal is {from}");
    let mut details = info("ORDINAL_BEYOND_THE_LAST", metadata);
    details.add_bad_request_violation("from_ordinal", format!("must be at most {total}"));
    Status::with_error_details(Code::OutOfRange, message, details)
}

/// As many exports are made as may be.
pub(in crate::service) fn too_many_exports(most: u32) -> Status {
    let message = format!(
        "this server makes {most} exports at a time, and makes them now; call again later, or on \
         another server"
    );
    let mut details = info("TOO_MANY_EXPORTS", [("most", most.to_string())]);
    details.add_quota_failure_violation("exports at a time", message.clone());
    details.set_retry_info(Some(EXPORTS_END_IN));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

fn from_ordinal(apply: ApplyId, next: i64) -> [(&'static str, String); 2] {
    [
        ("apply_id", apply.to_string()),
        ("from_ordinal", next.to_string()),
    ]
}
