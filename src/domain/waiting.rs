//! What an apply waits for.

use time::OffsetDateTime;

use super::{ApplyStatus, Phase, outcome::words};
use crate::domain::Corrupt;

words! {
    /// How far the cause of a failed call reaches.
    pub enum FailureScope ("a scope") {
        /// The call itself.
        Call = "CALL",
        /// The product or instance.
        Apply = "APPLY",
        /// The action.
        Lane = "LANE",
        /// The account.
        Account = "ACCOUNT",
        /// The clock of the process that called.
        Clock = "CLOCK",
    }
}

/// The kind of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitKind {
    /// Its turn in a quota.
    Quota,
    /// The upstream, which is at it.
    Upstream,
    /// The next attempt.
    Retry,
    /// A caller.
    Caller,
    /// The account.
    BlockedAccount,
    /// A permission for one action.
    BlockedAction,
    /// The product or instance.
    BlockedProduct,
}

/// What an apply waits for, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The kind.
    pub kind: WaitKind,
    /// The same in words, with what can be done.
    pub text: String,
    /// When it is expected to end or to be tried again, if anybody knows.
    pub until: Option<OffsetDateTime>,
}

/// The rounds of an apply that are in one phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InPhase {
    /// The phase.
    pub phase: Phase,
    /// How many.
    pub rounds: i64,
    /// How many of them wait for another attempt, after one that came to nothing.
    pub failing: i64,
    /// When the first of them is due.
    pub due_at: Option<OffsetDateTime>,
}

/// The latest call of an apply, if it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// The action.
    pub action: String,
    /// Its code.
    pub code: String,
    /// What it said.
    pub message: String,
    /// How far its cause reaches.
    pub scope: FailureScope,
}

/// What an apply waits for; none if nothing will ever happen to it again.
pub fn waiting(
    status: ApplyStatus,
    phases: &[InPhase],
    failure: Option<&LastFailure>,
) -> Option<Waiting> {
    use {ApplyStatus as S, WaitKind as K};
    let caller = |text: &str| {
        Some(Waiting {
            kind: K::Caller,
            text: text.to_owned(),
            until: None,
        })
    };
    match status {
        S::CreateSuccess | S::Cancelled => return None,
        S::CheckSuccess => return caller("every device is valid; call Register"),
        S::CheckFailed => {
            return caller(
                "some devices are not valid (ListDevices says why); call Register with \
                 skip_invalid for the others, or CancelApply",
            );
        }
        S::CreateFailed => {
            return caller(
                "some devices were not created (ListDevices says why); call Register with \
                 retry_failed once the cause is gone",
            );
        }
        S::Check | S::Create => {}
    }
    if let Some(failure) = failure
        && let Some(waiting) = after_failure(phases, failure)
    {
        return Some(waiting);
    }
    // Whatever will move it first is what it waits for.
    let next = phases
        .iter()
        .filter(|one| one.phase.lane().is_some())
        .min_by_key(|one| one.due_at)?;
    let rounds = match next.rounds {
        1 => "1 round".to_owned(),
        rounds => format!("{rounds} rounds"),
    };
    let (kind, text) = match next.phase {
        Phase::Check => (
            K::Quota,
            format!("{rounds} of devices wait for their turn to be checked"),
        ),
        Phase::Register => (
            K::Quota,
            format!("{rounds} of devices wait for their turn to be registered"),
        ),
        Phase::Checking => (
            K::Upstream,
            format!("the upstream is checking {rounds} of devices"),
        ),
        Phase::Registering | Phase::Creating => (
            K::Upstream,
            format!("the upstream is creating {rounds} of devices"),
        ),
        Phase::Counting | Phase::Listing | Phase::Held | Phase::Ended => (
            K::Quota,
            format!("the results of {rounds} of devices are being read"),
        ),
    };
    Some(Waiting {
        kind,
        text,
        until: next.due_at,
    })
}

fn after_failure(phases: &[InPhase], failure: &LastFailure) -> Option<Waiting> {
    let until = phases.iter().filter_map(|one| one.due_at).min();
    let LastFailure {
        action,
        code,
        message,
        scope,
    } = failure;
    let message = message.trim_end_matches('.');
    let said = format!("the upstream answered {action} with {code}: {message}");
    let (kind, text) = match scope {
        FailureScope::Account => (
            WaitKind::BlockedAccount,
            format!("{said}. Mend the account or its key; it goes on by itself"),
        ),
        FailureScope::Lane => (
            WaitKind::BlockedAction,
            format!("{said}. Permit the action to the access key; it goes on by itself"),
        ),
        FailureScope::Apply => (
            WaitKind::BlockedProduct,
            format!("{said}. Make the product and its instance available; it goes on by itself"),
        ),
        FailureScope::Clock => (
            WaitKind::Retry,
            format!("{said}. Set the clock of the server; it goes on by itself"),
        ),
        FailureScope::Call if phases.iter().any(|one| one.failing > 0) => {
            (WaitKind::Retry, format!("{said}. It is tried again"))
        }
        FailureScope::Call => return None,
    };
    Some(Waiting { kind, text, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp(seconds).ok()
    }

    fn phase(phase: Phase, failing: i64, due: i64) -> InPhase {
        InPhase {
            phase,
            rounds: 2,
            failing,
            due_at: at(due),
        }
    }

    fn failure(scope: FailureScope) -> LastFailure {
        LastFailure {
            action: "BatchCheckDeviceNames".into(),
            code: "Throttling".into(),
            message: "slow down".into(),
            scope,
        }
    }

    #[test]
    fn an_apply_waits_for_what_will_move_it_first() {
        let phases = [phase(Phase::Check, 0, 20), phase(Phase::Creating, 0, 10)];

        let told = waiting(ApplyStatus::Create, &phases, None).unwrap();

        assert_eq!((told.kind, told.until), (WaitKind::Upstream, at(10)));
    }

    #[test]
    fn a_block_is_named_with_its_scope() {
        let phases = [phase(Phase::Check, 0, 20)];
        for (scope, kind) in [
            (FailureScope::Account, WaitKind::BlockedAccount),
            (FailureScope::Lane, WaitKind::BlockedAction),
            (FailureScope::Apply, WaitKind::BlockedProduct),
        ] {
            let told = waiting(ApplyStatus::Check, &phases, Some(&failure(scope))).unwrap();
            assert_eq!((told.kind, told.until), (kind, at(20)));
            assert!(told.text.contains("slow down"));
        }
    }

    #[test]
    fn a_failure_that_is_over_is_not_waited_for() {
        let failure = failure(FailureScope::Call);
        let told = |failing| {
            let phases = [phase(Phase::Check, failing, 20)];
            waiting(ApplyStatus::Check, &phases, Some(&failure))
                .unwrap()
                .kind
        };

        assert_eq!(told(0), WaitKind::Quota);
        assert_eq!(told(1), WaitKind::Retry);
    }

    #[test]
    fn a_settled_apply_waits_for_a_caller_or_for_nothing() {
        for &status in ApplyStatus::ALL.iter().filter(|status| status.is_settled()) {
            let kind = waiting(status, &[], None).map(|told| told.kind);
            let expected = match status {
                ApplyStatus::CreateSuccess | ApplyStatus::Cancelled => None,
                _ => Some(WaitKind::Caller),
            };
            assert_eq!(kind, expected, "{status}");
        }
    }
}
