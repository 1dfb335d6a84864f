//! What is counted of every event that is written.

use crate::{
    domain::{ApplyStatus, Counts, Outcome},
    telemetry::metrics,
};

/// Counts which status and which outcomes an apply enters with an event. What was before its first
/// event is nothing. Counted when written: a commit that fails then is counted all the same.
pub(super) fn count(before: Option<(ApplyStatus, Counts)>, status: ApplyStatus, counts: &Counts) {
    if before.is_none_or(|(was, _)| was != status) {
        metrics().apply_changes.add(1, [status.as_str()]);
    }
    for outcome in Outcome::ALL {
        let was = before.map_or(0, |(_, counts)| counts.of(outcome));
        if let Ok(more @ 1..) = u64::try_from(counts.of(outcome) - was) {
            metrics().device_outcomes.add(more, [outcome.as_str()]);
        }
    }
}
