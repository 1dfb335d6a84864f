//! What a run came to, as a line of JSON.

use std::{sync::atomic::Ordering, time::Duration};

use registrar::proto::DeviceCounts;
use serde_json::{Value, json};

use crate::{judge, record::Record};

/// The figures of a run.
pub(crate) fn report(seed: u64, time: Duration, record: &Record) -> Value {
    let counts = &record.counts;
    let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let applies = record.applies();
    let devices: usize = applies.values().map(|told| told.devices.len()).sum();
    let sum = |of: fn(&DeviceCounts) -> i64| -> i64 {
        let ends = applies
            .values()
            .filter_map(|told| told.seen.values().next_back());
        ends.filter_map(|end| end.counts.as_ref()).map(of).sum()
    };
    let quiet = judge::quiet(&record.changes(), &record.troubles());
    let mut took: Vec<_> = quiet
        .iter()
        .map(|change| (change.reached - change.made).whole_milliseconds() as i64)
        .collect();
    took.sort_unstable();
    json!({
        "seed": seed,
        "seconds": time.as_secs(),
        "kills": count(&counts.kills),
        "database_kills": count(&counts.database_kills),
        "stops": count(&counts.stops),
        "pauses": count(&counts.pauses),
        "cuts": count(&counts.cuts) + count(&counts.holds),
        "skews": count(&counts.skews),
        "faults": count(&counts.faults),
        "applies": applies.len(),
        "devices": devices,
        "created": sum(|counts| counts.created),
        "failed": sum(|counts| counts.failed),
        "unknown": sum(|counts| counts.unknown),
        "cancelled": sum(|counts| counts.cancelled),
        "watches": count(&counts.watches),
        "reconnects": count(&counts.reconnects),
        "repeats": count(&counts.repeats),
        "changes": took.len(),
        "slowest_ms": took.last(),
        "median_ms": took.get(took.len() / 2),
        "violations": record.violations().len(),
    })
}
