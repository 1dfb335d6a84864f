//! Values of the domain as messages.

use std::collections::HashMap;

use time::OffsetDateTime;

use crate::{
    domain::{
        AfterCheck, Apply, ApplyStatus, Counts, Labels, Outcome, Reason, ReasonCode, Snapshot,
        Submission,
        waiting::{WaitKind, Waiting},
    },
    proto as pb,
    store::DeviceRow,
};

/// Refused devices in an answer. Promised in the proto; ListDevices has those of an apply.
const REFUSED: usize = 1_000;

/// An apply as it stands at one revision.
pub(super) fn apply(apply: &Apply, at: &Snapshot) -> pb::Apply {
    pb::Apply {
        apply_id: apply.id.0,
        product_key: apply.product_key.clone(),
        iot_instance_id: apply.iot_instance_id.clone(),
        status: status(at.status).into(),
        counts: Some(counts(&at.counts)),
        revision: at.revision,
        after_check: after_check(apply.after_check).into(),
        create_time: Some(timestamp(apply.created_at)),
        update_time: Some(timestamp(at.at)),
        settled: at.status.is_settled(),
        cancelling: at.cancelling && !at.status.is_settled(),
        sealed: at.sealed,
        labels: labels(&apply.labels),
        import: apply.import,
    }
}

/// What an apply waits for.
pub(super) fn waiting_for(waiting: Waiting) -> pb::WaitingFor {
    let code = match waiting.kind {
        WaitKind::Quota => pb::WaitCode::Quota,
        WaitKind::Upstream => pb::WaitCode::Upstream,
        WaitKind::Retry => pb::WaitCode::Retry,
        WaitKind::Caller => pb::WaitCode::Caller,
        WaitKind::Reconcile => pb::WaitCode::Reconcile,
        WaitKind::Upload => pb::WaitCode::Upload,
        WaitKind::BlockedAccount => pb::WaitCode::BlockedAccount,
        WaitKind::BlockedAction => pb::WaitCode::BlockedAction,
        WaitKind::BlockedProduct => pb::WaitCode::BlockedProduct,
    };
    pb::WaitingFor {
        code: code.into(),
        message: waiting.text,
        until: waiting.until.map(timestamp),
    }
}

/// What a submission would be, and which of its devices break a rule.
pub(super) fn judged(submission: &Submission) -> pb::CheckDevicesResponse {
    let now = submission.status();
    let heading = &submission.heading;
    let apply = pb::Apply {
        product_key: heading.product_key.clone(),
        iot_instance_id: heading.iot_instance_id.clone(),
        status: status(now).into(),
        counts: Some(counts(&submission.counts())),
        after_check: after_check(heading.after_check).into(),
        settled: now.is_settled(),
        labels: labels(&heading.labels),
        import: heading.import,
        ..Default::default()
    };
    let refused = submission.refusals().take(REFUSED).map(|told| pb::Device {
        ordinal: told.ordinal.into(),
        device_name: told.name.to_owned(),
        nickname: told.nickname.to_owned(),
        sn: told.sn.to_owned(),
        outcome: outcome(Outcome::Invalid).into(),
        reason: Some(reason(told.reason.clone())),
    });
    pb::CheckDevicesResponse {
        apply: Some(apply),
        refused: refused.collect(),
    }
}

fn counts(counts: &Counts) -> pb::DeviceCounts {
    let of = |outcome| i64::from(counts.of(outcome));
    pb::DeviceCounts {
        total: i64::from(counts.total()),
        pending: of(Outcome::Pending),
        valid: of(Outcome::Valid),
        invalid: of(Outcome::Invalid),
        created: of(Outcome::Created),
        failed: of(Outcome::Failed),
        unknown: of(Outcome::Unknown),
        cancelled: of(Outcome::Cancelled),
    }
}

fn labels(labels: &Labels) -> HashMap<String, String> {
    let pairs = labels.as_map().iter();
    pairs.map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// One device with its outcome.
pub(super) fn device(row: DeviceRow) -> pb::Device {
    pb::Device {
        ordinal: row.ordinal.into(),
        device_name: row.name,
        nickname: row.nickname,
        sn: row.sn,
        outcome: outcome(row.outcome).into(),
        reason: row.reason.map(reason),
    }
}

fn reason(reason: Reason) -> pb::Reason {
    pb::Reason {
        code: code(reason.code).into(),
        message: reason.text,
        request_id: reason.request_id.unwrap_or_default(),
        first_ordinal: reason.first.map(i64::from),
    }
}

fn status(status: ApplyStatus) -> pb::ApplyStatus {
    match status {
        ApplyStatus::Check => pb::ApplyStatus::Check,
        ApplyStatus::CheckSuccess => pb::ApplyStatus::CheckSuccess,
        ApplyStatus::CheckFailed => pb::ApplyStatus::CheckFailed,
        ApplyStatus::Create => pb::ApplyStatus::Create,
        ApplyStatus::CreateSuccess => pb::ApplyStatus::CreateSuccess,
        ApplyStatus::CreateFailed => pb::ApplyStatus::CreateFailed,
        ApplyStatus::Cancelled => pb::ApplyStatus::Cancelled,
    }
}

fn after_check(after: AfterCheck) -> pb::AfterCheck {
    match after {
        AfterCheck::Stop => pb::AfterCheck::Stop,
        AfterCheck::RegisterIfAllValid => pb::AfterCheck::RegisterIfAllValid,
        AfterCheck::RegisterValid => pb::AfterCheck::RegisterValid,
    }
}

fn outcome(outcome: Outcome) -> pb::DeviceOutcome {
    match outcome {
        Outcome::Pending => pb::DeviceOutcome::Pending,
        Outcome::Valid => pb::DeviceOutcome::Valid,
        Outcome::Invalid => pb::DeviceOutcome::Invalid,
        Outcome::Created => pb::DeviceOutcome::Created,
        Outcome::Failed => pb::DeviceOutcome::Failed,
        Outcome::Unknown => pb::DeviceOutcome::Unknown,
        Outcome::Cancelled => pb::DeviceOutcome::Cancelled,
    }
}

fn code(code: ReasonCode) -> pb::ReasonCode {
    match code {
        ReasonCode::NameLength => pb::ReasonCode::NameLength,
        ReasonCode::NameCharacter => pb::ReasonCode::NameCharacter,
        ReasonCode::NicknameLength => pb::ReasonCode::NicknameLength,
        ReasonCode::NicknameCharacter => pb::ReasonCode::NicknameCharacter,
        ReasonCode::Duplicate => pb::ReasonCode::Duplicate,
        ReasonCode::Exists => pb::ReasonCode::Exists,
        ReasonCode::NameRefused => pb::ReasonCode::NameRefused,
        ReasonCode::NicknameRefused => pb::ReasonCode::NicknameRefused,
        ReasonCode::Refused => pb::ReasonCode::Refused,
        ReasonCode::UpstreamUnclear => pb::ReasonCode::UpstreamUnclear,
        ReasonCode::Blocked => pb::ReasonCode::Blocked,
        ReasonCode::Unresolved => pb::ReasonCode::Unresolved,
        ReasonCode::SecretLength => pb::ReasonCode::SecretLength,
        ReasonCode::SecretCharacter => pb::ReasonCode::SecretCharacter,
        ReasonCode::SnLength => pb::ReasonCode::SnLength,
        ReasonCode::SnCharacter => pb::ReasonCode::SnCharacter,
        ReasonCode::SecretRefused => pb::ReasonCode::SecretRefused,
        ReasonCode::SnRefused => pb::ReasonCode::SnRefused,
    }
}

/// A moment.
pub(super) fn timestamp(at: OffsetDateTime) -> prost_types::Timestamp {
    // The nanoseconds of a moment are below 1,000,000,000 and count forward before 1970 too, as the
    // message wants them.
    prost_types::Timestamp {
        seconds: at.unix_timestamp(),
        nanos: at.nanosecond() as i32,
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::domain::ApplyId;

    #[test]
    fn every_word_of_the_domain_is_called_the_same_in_the_api() {
        for &word in ApplyStatus::ALL {
            assert_eq!(status(word).as_str_name(), format!("APPLY_STATUS_{word}"));
        }
        for &word in AfterCheck::ALL {
            assert_eq!(
                after_check(word).as_str_name(),
                format!("AFTER_CHECK_{word}")
            );
        }
        for &word in ReasonCode::ALL {
            assert_eq!(code(word).as_str_name(), format!("REASON_CODE_{word}"));
        }
    }

    #[test]
    fn an_apply_is_told_whole() {
        let created_at = datetime!(2026-11-22 12:00:00.25 UTC);
        let stored = Apply {
            id: ApplyId(7),
            product_key: "a1".into(),
            iot_instance_id: "iot-1".into(),
            after_check: AfterCheck::RegisterValid,
            import: true,
            labels: Labels::stored([("team".into(), "lights".into())].into()),
            created_at,
        };
        let counts = Counts::from_array([1, 2, 3, 4, 5, 6, 7]);
        let now = Snapshot {
            revision: 9,
            status: ApplyStatus::Create,
            counts,
            cancelling: true,
            sealed: true,
            at: created_at,
        };

        let told = apply(&stored, &now);

        let counts = told.counts.unwrap();
        assert_eq!(
            (
                counts.total,
                counts.pending,
                counts.unknown,
                counts.cancelled
            ),
            (28, 1, 6, 7)
        );
        assert_eq!((told.apply_id, told.revision, told.settled), (7, 9, false));
        assert_eq!(told.labels["team"], "lights");
        assert!(told.import);
        assert_eq!(told.status(), pb::ApplyStatus::Create);
        assert_eq!(told.create_time.unwrap().nanos, 250_000_000);
    }

    #[test]
    fn a_duplicate_says_which_device_was_first() {
        let told = reason(Reason::duplicate(0));

        assert_eq!(told.first_ordinal, Some(0));
        assert_eq!(told.code(), pb::ReasonCode::Duplicate);
    }
}
