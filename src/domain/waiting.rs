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
    /// Since when the first of them awaits a result.
    pub since: Option<OffsetDateTime>,
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

/// The code of a call that had no answer with one.
pub const NO_ANSWER: &str = "NO_ANSWER";

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
    let (kind, text) = goes_on(next);
    Some(Waiting {
        kind,
        text,
        until: next.due_at,
    })
}

/// What rounds wait for that nothing is in the way of.
fn goes_on(next: &InPhase) -> (WaitKind, String) {
    use WaitKind as K;
    let rounds = match next.rounds {
        1 => "1 round".to_owned(),
        rounds => format!("{rounds} rounds"),
    };
    let since = next.since.map(|since| format!(" since {}", minute(since)));
    let since = since.unwrap_or_default();
    match next.phase {
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
            format!(
                "the upstream is checking {rounds} of devices{since}. There is nothing to do: a \
                 check that takes too long is asked anew"
            ),
        ),
        Phase::Registering | Phase::Creating | Phase::Importing | Phase::Imported => (
            K::Upstream,
            format!(
                "the upstream is creating {rounds} of devices{since}. There is nothing to do: \
                 after a creation that takes too long its devices are UNKNOWN and asked after"
            ),
        ),
        Phase::Unknown | Phase::Lookup => (
            K::Reconcile,
            format!(
                "the upstream has not said what became of {rounds} of devices{since}; it is asked on"
            ),
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
    }
}

fn blocked(block: &Block) -> Option<Waiting> {
    let (kind, remedy) = match block.scope {
        FailureScope::Account => (
            WaitKind::BlockedAccount,
            "Mend what it names, the account or its access key",
        ),
        FailureScope::Lane => (
            WaitKind::BlockedAction,
            "Permit the action to the access key, by a RAM policy of its user",
        ),
        FailureScope::Product => (
            WaitKind::BlockedProduct,
            "Make the product and its instance available to the account, or cancel the apply and \
             submit it with the right ones",
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
    let LastFailure {
        action,
        code,
        message,
        ..
    } = failure;
    let said = said(action, code, message);
    let message = message.trim_end_matches('.');
    let waits = phases.iter().any(|one| one.failing > 0);
    let (kind, text) = match failure.scope {
        FailureScope::Clock => (
            WaitKind::Retry,
            format!(
                "{said}. Set the clock of the server, for instance by NTP; it goes on by itself"
            ),
        ),
        FailureScope::Call if failure.is_throttled() => (
            WaitKind::Quota,
            format!(
                "{said}. The quota of the account is used up, perhaps by others; it is tried again \
                 by itself. If it lasts, lower --quota-share or have the quota raised"
            ),
        ),
        FailureScope::Call if waits && code == NO_ANSWER => (
            WaitKind::Retry,
            format!(
                "{action} had no answer of the upstream that can be used: {message}. It is tried \
                 again by itself. If it lasts, look at the status of the upstream, and at the \
                 network and a proxy on the way there"
            ),
        ),
        FailureScope::Call if waits => (
            WaitKind::Retry,
            format!("{said}. It is tried again by itself"),
        ),
        // What blocked more than the call is told by the block, while it stands.
        FailureScope::Call | FailureScope::Account | FailureScope::Lane | FailureScope::Product => {
            return None;
        }
    };
    Some(Waiting {
        kind,
        text,
        until: phases.iter().filter_map(|one| one.due_at).min(),
    })
}

impl LastFailure {
    /// Whether the quota was all that was in the way. Throttling has many codes, which begin alike.
    fn is_throttled(&self) -> bool {
        self.code.starts_with("Throttling")
    }
}

/// A time as people read it.
fn minute(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    let (date, hour, minute) = (at.date(), at.hour(), at.minute());
    format!("{date} {hour:02}:{minute:02} UTC")
}

fn said(action: &str, code: &str, message: &str) -> String {
    let message = message.trim_end_matches('.');
    format!("the upstream answered {action} with {code}: {message}")
}

#[cfg(test)]
mod tests;
