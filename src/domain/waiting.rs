//! What an apply waits for.

use time::OffsetDateTime;

use super::{ApplyStatus, Counts, Outcome, Phase, outcome::words};
use crate::domain::Corrupt;

words! {
    /// How far the cause of a failed call reaches.
    pub enum FailureScope ("a scope") {
        /// The call itself.
        Call = "CALL",
        /// The product or instance.
        Product = "PRODUCT",
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
    /// Word of devices that may have been registered.
    Reconcile,
    /// Its upload, which is not sealed.
    Upload,
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

impl Waiting {
    /// For an upload to go on, whatever its rounds wait for: nobody else will settle the apply.
    pub fn for_upload(stored: i32) -> Self {
        let text = format!(
            "{stored} devices are stored and the upload is not sealed; send the others and the seal \
             (UploadDevices with the apply_id, or the upload as it was begun), or call CancelApply"
        );
        Self {
            kind: WaitKind::Upload,
            text,
            until: None,
        }
    }
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

/// What the upstream refuses for a reason that reaches further than one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// How far it reaches.
    pub scope: FailureScope,
    /// The action that was refused.
    pub action: String,
    /// With which code.
    pub code: String,
    /// What the upstream said.
    pub message: String,
    /// Since when.
    pub since: OffsetDateTime,
    /// When it is tried again.
    pub probe_at: OffsetDateTime,
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
    counts: &Counts,
    phases: &[InPhase],
    block: Option<&Block>,
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
        S::CheckFailed if counts.of(Outcome::Valid) == 0 => {
            return caller(
                "no device is valid (ListDevices says why); mend them and check them anew, or call \
                 CancelApply",
            );
        }
        S::CheckFailed => {
            return caller(
                "some devices are not valid (ListDevices says why); call Register with \
                 skip_invalid for the others, or CancelApply",
            );
        }
        S::CreateFailed if counts.of(Outcome::Unknown) > 0 => {
            return caller(
                "the upstream has not said of some devices whether they were created (ListDevices \
                 says which); call Register with retry_failed to have it asked once more",
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
    if let Some(waiting) = block.and_then(blocked) {
        return Some(waiting);
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
        Phase::Check | Phase::CheckImport => (
            K::Quota,
            format!("{rounds} of devices wait for their turn to be checked"),
        ),
        Phase::Register | Phase::Import => (
            K::Quota,
            format!("{rounds} of devices wait for their turn to be registered"),
        ),
        Phase::Checking => (
            K::Upstream,
            format!("the upstream is checking {rounds} of devices"),
        ),
        Phase::Registering | Phase::Creating | Phase::Importing | Phase::Imported => (
            K::Upstream,
            format!("the upstream is creating {rounds} of devices"),
        ),
        Phase::Unknown | Phase::Lookup => (
            K::Reconcile,
            format!("the upstream has not said what became of {rounds} of devices; it is asked on"),
        ),
        Phase::Counting
        | Phase::Listing
        | Phase::ListImported
        | Phase::Held
        | Phase::Unresolved
        | Phase::Ended => (
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

fn blocked(block: &Block) -> Option<Waiting> {
    let (kind, remedy) = match block.scope {
        FailureScope::Account => (WaitKind::BlockedAccount, "Mend the account or its key"),
        FailureScope::Lane => (
            WaitKind::BlockedAction,
            "Permit the action to the access key",
        ),
        FailureScope::Product => (
            WaitKind::BlockedProduct,
            "Make the product and its instance available",
        ),
        FailureScope::Call | FailureScope::Clock => return None,
    };
    let said = said(&block.action, &block.code, &block.message);
    Some(Waiting {
        kind,
        text: format!("{said}. {remedy}; it goes on by itself"),
        until: Some(block.probe_at),
    })
}

fn after_failure(phases: &[InPhase], failure: &LastFailure) -> Option<Waiting> {
    let said = said(&failure.action, &failure.code, &failure.message);
    let text = match failure.scope {
        FailureScope::Clock => {
            format!("{said}. Set the clock of the server; it goes on by itself")
        }
        FailureScope::Call if phases.iter().any(|one| one.failing > 0) => {
            format!("{said}. It is tried again")
        }
        // What blocked more than the call is told by the block, while it stands.
        FailureScope::Call | FailureScope::Account | FailureScope::Lane | FailureScope::Product => {
            return None;
        }
    };
    Some(Waiting {
        kind: WaitKind::Retry,
        text,
        until: phases.iter().filter_map(|one| one.due_at).min(),
    })
}

fn said(action: &str, code: &str, message: &str) -> String {
    let message = message.trim_end_matches('.');
    format!("the upstream answered {action} with {code}: {message}")
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

        let told = waiting(ApplyStatus::Create, &Counts::default(), &phases, None, None).unwrap();

        assert_eq!((told.kind, told.until), (WaitKind::Upstream, at(10)));
    }

    #[test]
    fn a_block_is_named_with_its_scope() {
        let phases = [phase(Phase::Check, 0, 20)];
        for (scope, kind) in [
            (FailureScope::Account, WaitKind::BlockedAccount),
            (FailureScope::Lane, WaitKind::BlockedAction),
            (FailureScope::Product, WaitKind::BlockedProduct),
        ] {
            let block = Block {
                scope,
                action: "BatchCheckDeviceNames".into(),
                code: "Forbidden.RAM".into(),
                message: "not permitted".into(),
                since: at(10).unwrap(),
                probe_at: at(40).unwrap(),
            };
            let told = waiting(
                ApplyStatus::Check,
                &Counts::default(),
                &phases,
                Some(&block),
                Some(&failure(scope)),
            )
            .unwrap();
            assert_eq!((told.kind, told.until), (kind, at(40)));
            assert!(told.text.contains("Forbidden.RAM: not permitted"));

            // A refusal that is lifted is not waited for.
            let told = waiting(
                ApplyStatus::Check,
                &Counts::default(),
                &phases,
                None,
                Some(&failure(scope)),
            )
            .unwrap();
            assert_eq!(told.kind, WaitKind::Quota);
        }
    }

    #[test]
    fn a_failure_that_is_over_is_not_waited_for() {
        let failure = failure(FailureScope::Call);
        let told = |failing| {
            let phases = [phase(Phase::Check, failing, 20)];
            waiting(
                ApplyStatus::Check,
                &Counts::default(),
                &phases,
                None,
                Some(&failure),
            )
            .unwrap()
            .kind
        };

        assert_eq!(told(0), WaitKind::Quota);
        assert_eq!(told(1), WaitKind::Retry);
    }

    #[test]
    fn a_settled_apply_waits_for_a_caller_or_for_nothing() {
        for &status in ApplyStatus::ALL.iter().filter(|status| status.is_settled()) {
            let kind = waiting(status, &Counts::default(), &[], None, None).map(|told| told.kind);
            let expected = match status {
                ApplyStatus::CreateSuccess | ApplyStatus::Cancelled => None,
                _ => Some(WaitKind::Caller),
            };
            assert_eq!(kind, expected, "{status}");
        }
    }

    #[test]
    fn what_a_caller_can_do_is_said_of_these_devices() {
        let told = |status, counts| {
            let waiting = waiting(status, &Counts::from_array(counts), &[], None, None);
            waiting.unwrap().text
        };

        assert!(told(ApplyStatus::CheckFailed, [0, 1, 1, 0, 0, 0, 0]).contains("skip_invalid"));
        assert!(!told(ApplyStatus::CheckFailed, [0, 0, 2, 0, 0, 0, 0]).contains("skip_invalid"));
        assert!(told(ApplyStatus::CreateFailed, [0, 0, 0, 0, 0, 2, 0]).contains("asked once more"));
    }
}
