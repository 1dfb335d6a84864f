//! What failed, as codes with details. The caller learns what to do; the log learns what happened.

mod export;

use std::{collections::HashMap, error::Error as StdError, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::{
    domain::{ApplyId, ApplyStatus, apply::Refusal},
    store::Error,
};

pub(super) use export::{
    beyond_the_last, export_barred, no_credentials, not_taken, stopping_export, too_many_exports,
};

/// After how long a caller may try again. The hub and the pool find the database again within two
/// seconds, and a replica takes over at once.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// After how long there may be room in a full queue: at the published rates some 1,000,000 devices
/// are checked in it.
const QUEUE_MOVES_IN: Duration = Duration::from_secs(10);

/// What a failure of the store means to a caller.
pub(super) fn of(error: Error) -> Status {
    match error {
        Error::NoSuchApply(id) => no_such_apply(id),
        Error::NotAcceptable {
            apply,
            status,
            refusal,
        } => not_acceptable(apply, status, refusal),
        Error::RequestReused { request_id } => reused(&request_id),
        Error::RequestLost => unavailable(
            "REQUEST_LOST",
            "the same request was answered and its apply has been removed; call again",
            [],
        ),
        Error::QueueFull { queued, most } => queue_full(queued, most),
        Error::UploadTakenOver(id) => taken_over(id),
        Error::UploadCancelled(id) => unfit(
            "APPLY_CANCELLED",
            id,
            "was cancelled and takes no devices; upload them as a new apply, with another request_id",
        ),
        Error::UploadSealed { apply, total } => unfit(
            "APPLY_SEALED",
            apply,
            &format!(
                "is sealed with {total} devices and takes no more; upload others as a new apply, with \
                 another request_id"
            ),
        ),
        Error::Unreachable(_) => {
            tracing::debug!(error = &error as &dyn StdError, "a call found no database");
            unavailable(
                "DATABASE_UNREACHABLE",
                "the database is not reachable; call again",
                [],
            )
        }
        Error::LeaseLost { .. }
        | Error::Corrupt(_)
        | Error::Illegal(_)
        | Error::NotMigrated { .. }
        | Error::Migrate(_)
        | Error::Query(_) => {
            tracing::error!(error = &error as &dyn StdError, "a call failed");
            internal()
        }
    }
}

/// A request id stands for another request.
fn reused(request_id: &str) -> Status {
    let message = format!(
        "request_id {request_id:?} was used with other content; take a new one, or repeat the \
         request as it was"
    );
    let metadata = [("request_id", request_id.to_owned())];
    Status::with_error_details(
        Code::AlreadyExists,
        message,
        info("REQUEST_ID_REUSED", metadata),
    )
}

/// The request is wrong in these fields, and in so many more.
pub(super) fn invalid(fields: Vec<FieldViolation>, more: usize) -> Status {
    let mut message = match fields.first() {
        Some(first) => format!("{} {}", first.field, first.description),
        None => "the request is not valid".to_owned(),
    };
    let others = fields.len().saturating_sub(1) + more;
    if others > 0 {
        message += &format!("; {others} more in the details");
    }
    let counted = (more > 0).then(|| ("more", more.to_string()));
    let mut details = info("INVALID_REQUEST", counted);
    details.set_bad_request(fields);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// A watch asks for what is later than the apply's latest revision.
pub(super) fn from_the_future(apply: ApplyId, after_revision: i64, revision: i64) -> Status {
    let metadata = [
        ("apply_id", apply.to_string()),
        ("revision", revision.to_string()),
    ];
    let message = format!(
        "apply {apply} is at revision {revision} and after_revision is {after_revision}; watch \
         again from 0"
    );
    let mut details = info("REVISION_FROM_THE_FUTURE", metadata);
    details.add_bad_request_violation("after_revision", format!("must be at most {revision}"));
    Status::with_error_details(Code::OutOfRange, message, details)
}

/// This server stops and a watch goes on elsewhere.
pub(super) fn stopping(apply: ApplyId, seen: i64) -> Status {
    let metadata = [
        ("apply_id", apply.to_string()),
        ("after_revision", seen.to_string()),
    ];
    let message = format!(
        "this server is stopping; watch apply {apply} again with after_revision {seen}, nothing \
         is missed"
    );
    unavailable("SERVER_STOPPING", &message, metadata)
}

/// A watch has lasted as long as its connection, and goes on with another one.
pub(super) fn moving_on(apply: ApplyId, seen: i64) -> Status {
    let metadata = [
        ("apply_id", apply.to_string()),
        ("after_revision", seen.to_string()),
    ];
    let message = format!(
        "this connection is old; watch apply {apply} again with after_revision {seen}, nothing is \
         missed"
    );
    unavailable("CONNECTION_TOO_OLD", &message, metadata)
}

/// A fault of ours, logged where it was found.
pub(super) fn internal() -> Status {
    Status::with_error_details(Code::Internal, "internal error", info("INTERNAL", []))
}

fn no_such_apply(id: ApplyId) -> Status {
    let message = format!(
        "apply {id} does not exist, or was removed long after it settled; ListApplies tells which \
         there are"
    );
    let mut details = info("APPLY_NOT_FOUND", [("apply_id", id.to_string())]);
    details.set_resource_info("registrar.v1.Apply", id.to_string(), "", message.clone());
    Status::with_error_details(Code::NotFound, message, details)
}

fn not_acceptable(id: ApplyId, status: ApplyStatus, refusal: Refusal) -> Status {
    let (reason, what_to_do) = match refusal {
        Refusal::StillChecking => (
            "APPLY_STILL_IN_CHECK",
            "is still being checked; watch it, and call Register when it is in CHECK_SUCCESS or \
             CHECK_FAILED",
        ),
        Refusal::HasInvalid => (
            "APPLY_HAS_INVALID_DEVICES",
            "has devices that are not valid; call Register with skip_invalid to register the \
             others, or submit corrected devices",
        ),
        Refusal::NothingValid => (
            "APPLY_HAS_NO_VALID_DEVICE",
            "has no valid device; ListDevices says why, submit corrected devices",
        ),
        Refusal::Cancelled => (
            "APPLY_CANCELLED",
            "was cancelled; submit its devices as a new apply",
        ),
    };
    let message = format!("apply {id} {what_to_do}");
    let metadata = [("apply_id", id.to_string()), ("status", status.to_string())];
    let mut details = info(reason, metadata);
    details.add_precondition_failure_violation(reason, format!("applies/{id}"), message.clone());
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

fn taken_over(id: ApplyId) -> Status {
    let message = "a newer stream of this upload has taken over; leave it to that one, or call again \
                   to take it back";
    let metadata = [("apply_id", id.to_string())];
    Status::with_error_details(Code::Aborted, message, info("UPLOAD_TAKEN_OVER", metadata))
}

/// An apply that cannot be uploaded as it stands.
fn unfit(reason: &str, id: ApplyId, what_to_do: &str) -> Status {
    let message = format!("apply {id} {what_to_do}");
    let mut details = info(reason, [("apply_id", id.to_string())]);
    details.add_precondition_failure_violation(reason, format!("applies/{id}"), message.clone());
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

fn queue_full(queued: i64, most: i64) -> Status {
    let message = format!(
        "{queued} devices are on their way and this server takes at most {most}; these were not \
         stored, submit them again later"
    );
    let metadata = [("queued", queued.to_string()), ("most", most.to_string())];
    let mut details = info("QUEUE_FULL", metadata);
    details.add_quota_failure_violation("queued devices", message.clone());
    details.set_retry_info(Some(QUEUE_MOVES_IN));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

pub(super) fn unavailable(
    reason: &str,
    message: &str,
    metadata: impl IntoIterator<Item = (&'static str, String)>,
) -> Status {
    let mut details = info(reason, metadata);
    details.set_retry_info(Some(AGAIN_AFTER));
    Status::with_error_details(Code::Unavailable, message, details)
}

/// The one reason that every failure has.
pub(super) fn info(
    reason: &str,
    metadata: impl IntoIterator<Item = (&'static str, String)>,
) -> ErrorDetails {
    let metadata: HashMap<String, String> = metadata
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    ErrorDetails::with_error_info(reason, "registrar", metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Corrupt;

    const APPLY: ApplyId = ApplyId(7);

    fn corrupt() -> Error {
        Error::Corrupt(Corrupt {
            what: "a status",
            value: "SECRET".into(),
        })
    }

    #[test]
    fn every_failure_carries_one_reason_of_ours() {
        let all = [
            of(Error::NoSuchApply(APPLY)),
            of(corrupt()),
            of(Error::QueueFull { queued: 9, most: 8 }),
            of(Error::UploadTakenOver(APPLY)),
            of(Error::UploadCancelled(APPLY)),
            of(Error::UploadSealed {
                apply: APPLY,
                total: 9,
            }),
            invalid(vec![FieldViolation::new("devices", "is empty")], 0),
            from_the_future(APPLY, 9, 4),
            stopping(APPLY, 3),
            moving_on(APPLY, 3),
            stopping_export(APPLY, 3),
            no_credentials(APPLY, 3, "Forbidden.RAM"),
            not_taken(APPLY, 3),
            beyond_the_last(APPLY, 9, 4),
            too_many_exports(8),
            internal(),
        ];

        for status in all {
            let details = status.get_error_details_vec();
            let infos = details.iter().filter_map(|detail| match detail {
                tonic_types::ErrorDetail::ErrorInfo(info) => Some(info),
                _ => None,
            });
            let infos: Vec<_> = infos.collect();
            assert_eq!(infos.len(), 1, "{status}");
            assert_eq!(infos[0].domain, "registrar");
            assert!(
                infos[0]
                    .reason
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c == '_')
            );
        }
    }

    #[test]
    fn a_fault_of_the_server_keeps_to_itself_what_it_was() {
        let status = of(corrupt());

        assert_eq!(
            (status.code(), status.message()),
            (Code::Internal, "internal error")
        );
        assert!(!format!("{status:?}").contains("SECRET"));
    }

    #[test]
    fn a_full_queue_says_which_quota_and_when_to_come_again() {
        let status = of(Error::QueueFull { queued: 9, most: 8 });

        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        assert_eq!(details.quota_failure().unwrap().violations.len(), 1);
        assert!(details.retry_info().unwrap().retry_delay.is_some());
    }

    #[test]
    fn an_unknown_apply_is_named() {
        let status = of(Error::NoSuchApply(APPLY));

        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(
            status.get_details_resource_info().unwrap().resource_name,
            "7"
        );
    }

    #[test]
    fn each_refusal_to_register_says_what_to_do() {
        let refused = |refusal| {
            let status = not_acceptable(APPLY, ApplyStatus::CheckFailed, refusal);
            assert_eq!(status.code(), Code::FailedPrecondition);
            status
                .get_details_precondition_failure()
                .unwrap()
                .violations[0]
                .description
                .clone()
        };

        assert!(refused(Refusal::StillChecking).contains("watch it"));
        assert!(refused(Refusal::HasInvalid).contains("skip_invalid"));
        assert!(refused(Refusal::NothingValid).contains("submit corrected devices"));
        assert!(refused(Refusal::Cancelled).contains("as a new apply"));
    }

    #[test]
    fn a_watch_that_a_stop_ends_says_where_to_resume() {
        let status = stopping(APPLY, 3);

        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(
            status.get_details_error_info().unwrap().metadata["after_revision"],
            "3"
        );
        assert!(
            status
                .get_details_retry_info()
                .unwrap()
                .retry_delay
                .is_some()
        );
    }
}
