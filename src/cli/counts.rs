//! The counts of an apply in words.

use std::fmt::Write as _;

use crate::proto::{Apply, DeviceCounts};

/// The devices by outcome: four always, the others where there are any.
pub(super) fn counts(counts: &DeviceCounts) -> String {
    let mut text = format!(
        "{} created, {} invalid, {} failed, {} unknown",
        counts.created, counts.invalid, counts.failed, counts.unknown,
    );
    for (count, outcome) in others(counts) {
        if count > 0 {
            write!(text, ", {count} {outcome}").expect("a string takes every text");
        }
    }
    text
}

/// The devices by outcome, where there are any.
pub(super) fn some_counts(counts: &DeviceCounts) -> String {
    let first = [
        (counts.created, "created"),
        (counts.invalid, "invalid"),
        (counts.failed, "failed"),
        (counts.unknown, "unknown"),
    ];
    let all = first.into_iter().chain(others(counts));
    let some: Vec<_> = all
        .filter(|(count, _)| *count > 0)
        .map(|(count, outcome)| format!("{count} {outcome}"))
        .collect();
    some.join(", ")
}

fn others(counts: &DeviceCounts) -> [(i64, &'static str); 3] {
    [
        (counts.pending, "pending"),
        (counts.valid, "valid"),
        (counts.cancelled, "cancelled"),
    ]
}

/// How many devices the apply has.
pub(super) fn total(apply: &Apply) -> i64 {
    apply.counts.map_or(0, |counts| counts.total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_that_no_device_has_are_left_out() {
        let all = DeviceCounts {
            total: 9,
            invalid: 2,
            created: 3,
            pending: 4,
            ..DeviceCounts::default()
        };

        assert_eq!(some_counts(&all), "3 created, 2 invalid, 4 pending");
        assert_eq!(some_counts(&DeviceCounts::default()), "");
        assert_eq!(
            counts(&all),
            "3 created, 2 invalid, 0 failed, 0 unknown, 4 pending"
        );
    }
}
