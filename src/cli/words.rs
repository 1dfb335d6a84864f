//! The words of the API without their prefixes. A number that a newer server has a word for and
//! this client has not is shown as the number.

use std::borrow::Cow;

use crate::proto::{AfterCheck, ApplyStatus, DeviceOutcome, ReasonCode, WaitCode};

pub(super) fn status(number: i32) -> Cow<'static, str> {
    let word = ApplyStatus::try_from(number).map(|status| status.as_str_name());
    without("APPLY_STATUS_", word.ok(), number)
}

pub(super) fn after_check(number: i32) -> Cow<'static, str> {
    let word = AfterCheck::try_from(number).map(|after| after.as_str_name());
    without("AFTER_CHECK_", word.ok(), number)
}

pub(super) fn outcome(number: i32) -> Cow<'static, str> {
    let word = DeviceOutcome::try_from(number).map(|outcome| outcome.as_str_name());
    without("DEVICE_OUTCOME_", word.ok(), number)
}

pub(super) fn reason(number: i32) -> Cow<'static, str> {
    let word = ReasonCode::try_from(number).map(|reason| reason.as_str_name());
    without("REASON_CODE_", word.ok(), number)
}

pub(super) fn wait(number: i32) -> Cow<'static, str> {
    let word = WaitCode::try_from(number).map(|wait| wait.as_str_name());
    without("WAIT_CODE_", word.ok(), number)
}

fn without(prefix: &str, word: Option<&'static str>, number: i32) -> Cow<'static, str> {
    match word {
        Some(word) => word.strip_prefix(prefix).unwrap_or(word).into(),
        None => number.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_without_prefix_and_numbers_of_a_newer_server_as_they_are() {
        assert_eq!(status(ApplyStatus::CheckFailed.into()), "CHECK_FAILED");
        assert_eq!(
            after_check(AfterCheck::RegisterIfAllValid.into()),
            "REGISTER_IF_ALL_VALID"
        );
        assert_eq!(outcome(DeviceOutcome::Pending.into()), "PENDING");
        assert_eq!(reason(ReasonCode::Exists.into()), "EXISTS");
        assert_eq!(wait(WaitCode::BlockedAccount.into()), "BLOCKED_ACCOUNT");
        assert_eq!(status(99), "99");
        assert_eq!(wait(-1), "-1");
    }
}
