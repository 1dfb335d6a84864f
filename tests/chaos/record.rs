//! The clients' own record: what they sent, what they were told, and what was wrong with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use registrar::proto::{AfterCheck, Apply, NewDevice};
use time::OffsetDateTime;

/// A run with more of them has told enough.
const MOST_VIOLATIONS: usize = 200;

#[derive(Default)]
pub(crate) struct Record {
    pub(crate) counts: Counts,
    applies: Mutex<BTreeMap<i64, Told>>,
    changes: Mutex<Vec<Change>>,
    troubles: Mutex<Vec<(OffsetDateTime, OffsetDateTime)>>,
    violations: Mutex<BTreeSet<String>>,
}

/// What was done, in numbers.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) kills: AtomicU64,
    pub(crate) database_kills: AtomicU64,
    pub(crate) stops: AtomicU64,
    pub(crate) pauses: AtomicU64,
    pub(crate) cuts: AtomicU64,
    pub(crate) holds: AtomicU64,
    pub(crate) skews: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) watches: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) repeats: AtomicU64,
    pub(crate) streams: AtomicU64,
}

/// An apply, as its clients know it.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) devices: Vec<NewDevice>,
    pub(crate) import: bool,
    pub(crate) after_check: AfterCheck,
    /// Whether its end was ever sent, answered or not.
    pub(crate) sealed: bool,
    /// Whether anybody has asked for its registration since.
    pub(crate) registers: bool,
    /// When the cancel was answered.
    pub(crate) cancelled: Option<OffsetDateTime>,
    /// The last revision that each watcher saw, at the end.
    pub(crate) ends: Vec<i64>,
    /// The apply at each revision that anybody was told of.
    pub(crate) seen: BTreeMap<i64, Apply>,
}

/// A change that reached a watcher that was connected when it was made.
#[derive(Clone, Copy)]
pub(crate) struct Change {
    /// Whose watcher it is.
    pub(crate) replica: usize,
    pub(crate) apply_id: i64,
    pub(crate) revision: i64,
    pub(crate) made: OffsetDateTime,
    pub(crate) reached: OffsetDateTime,
}

impl Record {
    pub(crate) fn violation(&self, what: &str) {
        let mut violations = locked(&self.violations);
        if violations.len() < MOST_VIOLATIONS && violations.insert(what.to_owned()) {
            eprintln!("VIOLATION: {what}");
        }
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        locked(&self.violations).iter().cloned().collect()
    }

    /// An apply that was accepted.
    pub(crate) fn accepted(&self, apply_id: i64, told: Told) {
        locked(&self.applies).entry(apply_id).or_insert(told);
    }

    /// Changes what is known of an apply that was accepted.
    pub(crate) fn note(&self, apply_id: i64, note: impl FnOnce(&mut Told)) {
        note(locked(&self.applies).get_mut(&apply_id).expect("accepted"));
    }

    pub(crate) fn applies(&self) -> BTreeMap<i64, Told> {
        locked(&self.applies).clone()
    }

    pub(crate) fn ids(&self) -> Vec<i64> {
        locked(&self.applies).keys().copied().collect()
    }

    /// Holds what was told of an apply to what else was told of it.
    pub(crate) fn seen(&self, who: &str, apply: &Apply) {
        let id = apply.apply_id;
        let counts = apply.counts.unwrap_or_default();
        let sum = counts.pending
            + counts.valid
            + counts.invalid
            + counts.created
            + counts.failed
            + counts.unknown
            + counts.cancelled;
        if sum != counts.total {
            self.violation(&format!(
                "apply {id}: counts do not add up for {who}: {apply:?}"
            ));
        }
        let mut applies = locked(&self.applies);
        let Some(told) = applies.get_mut(&id) else {
            return;
        };
        let before = told
            .seen
            .entry(apply.revision)
            .or_insert_with(|| apply.clone());
        let differs = (before != apply).then(|| format!("{before:?} and {apply:?}"));
        let total = told.devices.len() as i64;
        let wrong_total = apply.sealed && counts.total != total;
        drop(applies);
        if let Some(both) = differs {
            self.violation(&format!(
                "apply {id}: two things were told of a revision, one to {who}: {both}"
            ));
        }
        if wrong_total {
            self.violation(&format!(
                "apply {id}: sealed with {} devices, {total} were sent",
                counts.total
            ));
        }
    }

    pub(crate) fn change(&self, change: Change) {
        locked(&self.changes).push(change);
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        locked(&self.changes).clone()
    }

    /// Something was done to the stack, and is over.
    pub(crate) fn trouble(&self, from: OffsetDateTime, to: OffsetDateTime) {
        locked(&self.troubles).push((from, to));
    }

    pub(crate) fn troubles(&self) -> Vec<(OffsetDateTime, OffsetDateTime)> {
        locked(&self.troubles).clone()
    }
}

impl Told {
    pub(crate) fn new(devices: Vec<NewDevice>, import: bool, after_check: AfterCheck) -> Self {
        Self {
            devices,
            import,
            after_check,
            sealed: true,
            registers: false,
            cancelled: None,
            ends: Vec::new(),
            seen: BTreeMap::new(),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            replica,
            apply_id,
            revision,
            made,
            reached,
        } = self;
        let took = (*reached - *made).whole_milliseconds();
        write!(
            f,
            "apply {apply_id}: revision {revision}, made at {made}, took {took} ms to a watcher at \
             replica {replica}"
        )
    }
}

pub(crate) fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}
