//! How an upload ends that is not sealed, and what its client does then.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    domain::ApplyId,
    service::status::{info, unavailable},
};

/// After how long there may be a place: most uploads are over within a minute.
const PLACE_WITHIN: Duration = Duration::from_secs(5);

/// As many streams upload as may.
pub(super) fn no_place(most: u32) -> Status {
    let message = format!(
        "{most} uploads are under way and this server takes no more at a time; call again later, or \
         at another server"
    );
    let mut details = info("TOO_MANY_UPLOADS", [("most", most.to_string())]);
    details.add_quota_failure_violation("uploads at once", message.clone());
    details.set_retry_info(Some(PLACE_WITHIN));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// The stream did not go on in time.
pub(super) fn idle(bound: Duration) -> Status {
    let message = format!(
        "no whole message came, or no answer was taken, for {}; go on at next_ordinal, with smaller \
         parts if the way here is slow",
        humantime::format_duration(bound)
    );
    Status::with_error_details(Code::DeadlineExceeded, message, info("UPLOAD_IDLE", []))
}

/// A part does not begin where the devices sent so far end.
pub(super) fn out_of_order(first: i64, expected: i64) -> Status {
    let message = format!(
        "the part begins with device {first} and device {expected} is next; go on at next_ordinal"
    );
    let metadata = [("expected_ordinal", expected.to_string())];
    let mut details = info("PART_OUT_OF_ORDER", metadata);
    details.add_bad_request_violation("first_ordinal", format!("must be {expected}"));
    Status::with_error_details(Code::OutOfRange, message, details)
}

/// The seal does not count what was sent.
pub(super) fn miscounted(total: i64, sent: i64) -> Status {
    let message = format!(
        "the seal says {total} devices and {sent} were sent; send the devices that lack, or seal with \
         their number"
    );
    precondition("SEAL_MISCOUNTED", message)
}

/// This server stops; the upload goes on elsewhere.
pub(super) fn stopping() -> Status {
    let message = "this server is stopping; what is stored is kept, go on at next_ordinal";
    unavailable("SERVER_STOPPING", message, [])
}

/// The stream ended before the seal.
pub(super) fn not_sealed() -> Status {
    let message = "the stream ended without a seal; what is stored is kept, go on at next_ordinal";
    precondition("UPLOAD_NOT_SEALED", message.to_owned())
}

fn precondition(reason: &str, message: String) -> Status {
    let mut details = info(reason, []);
    details.add_precondition_failure_violation(reason, "the upload", message.clone());
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

/// The same refusal, which says where the upload of an apply goes on. One without a reason is the
/// transport's and stays as it is.
pub(in crate::service) fn with_next_ordinal(
    status: Status,
    apply: ApplyId,
    next_ordinal: i32,
) -> Status {
    let mut details = status.get_error_details();
    let Some(info) = details.error_info().cloned() else {
        return status;
    };
    let mut metadata = info.metadata;
    metadata.insert("apply_id".to_owned(), apply.to_string());
    metadata.insert("next_ordinal".to_owned(), next_ordinal.to_string());
    details.set_error_info(info.reason, info.domain, metadata);
    Status::with_error_details(status.code(), status.message(), details)
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn every_refusal_says_where_to_go_on_and_keeps_what_it_said() {
        for refusal in [
            no_place(8),
            idle(Duration::from_secs(60)),
            out_of_order(5, 7),
            miscounted(8, 7),
            not_sealed(),
            stopping(),
        ] {
            let told = with_next_ordinal(refusal.clone(), ApplyId(7), 20_000);

            assert_eq!(told.code(), refusal.code());
            assert_eq!(told.message(), refusal.message());
            let (before, now) = (refusal.get_error_details(), told.get_error_details());
            let info = now.error_info().unwrap();
            assert_eq!(info.reason, before.error_info().unwrap().reason);
            assert_eq!(info.metadata["apply_id"], "7");
            assert_eq!(info.metadata["next_ordinal"], "20000");
            let delay = |details: &ErrorDetails| details.retry_info().map(|it| it.retry_delay);
            assert_eq!(delay(&now), delay(&before));
            assert_eq!(
                now.quota_failure().is_some(),
                before.quota_failure().is_some()
            );
            assert_eq!(
                now.precondition_failure().is_some(),
                before.precondition_failure().is_some()
            );
        }
    }
}
