//! Connections that are used again at once.
//!
//! The library's pool asks each connection that comes back whether it still answers: a round trip and
//! a task for every statement. One whose last statement was answered, and that has no transaction
//! open, is kept here instead. While others are used it goes back when it has lain idle, and every few
//! seconds anyway, so that the pool has its say about those that are too old.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{Postgres, pool::PoolConnection};

/// For how long a connection is kept from the pool.
const LENT_FOR: Duration = Duration::from_secs(10);

/// How long a connection may lie idle before it is asked whether it still leads anywhere.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// A connection that the pool has lent.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) raw: PoolConnection<Postgres>,
    /// Since when.
    lent: Instant,
    /// When it was used last.
    used: Instant,
}

impl Lent {
    pub(super) fn new(raw: PoolConnection<Postgres>) -> Self {
        let now = Instant::now();
        Self {
            raw,
            lent: now,
            used: now,
        }
    }

    fn is_fresh(&self) -> bool {
        self.used.elapsed() < FRESH
    }

    /// Whether the pool need not see it yet.
    pub(super) fn may_stay(&self) -> bool {
        self.lent.elapsed() < LENT_FOR
    }
}

/// Connections that wait to be used again. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Idle>);

#[derive(Debug)]
struct Idle {
    /// From the one that has been idle for the longest; none once no more are kept.
    all: Mutex<Option<Vec<Lent>>>,
}

impl Default for Idle {
    fn default() -> Self {
        Self {
            all: Mutex::new(Some(Vec::new())),
        }
    }
}

impl Kept {
    /// The one that was used last, unless all have lain idle for too long.
    pub(super) fn take_fresh(&self) -> Option<Lent> {
        self.0.all().as_mut()?.pop_if(|last| last.is_fresh())
    }

    pub(super) fn take_all(&self) -> Vec<Lent> {
        self.0
            .all()
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Keeps one. Returns one to be handed back: the one that has been idle for the longest, if that
    /// is too long, or the same if none are kept any more.
    pub(super) fn put(&self, lent: Lent) -> Option<Lent> {
        let used = Instant::now();
        let lent = Lent { used, ..lent };
        let mut all = self.0.all();
        let Some(all) = all.as_mut() else {
            return Some(lent);
        };
        all.push(lent);
        match all[0].is_fresh() {
            true => None,
            false => Some(all.remove(0)),
        }
    }

    /// Keeps none from now on, and returns those there are.
    pub(super) fn close(&self) -> Vec<Lent> {
        self.0.all().take().unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.0.all().as_ref().map_or(0, Vec::len)
    }
}

impl Idle {
    fn all(&self) -> MutexGuard<'_, Option<Vec<Lent>>> {
        // Every change under the lock is whole.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // Without the pool, which would need a runtime to take them back.
        for lent in self.all().take().unwrap_or_default() {
            drop(lent.raw.detach());
        }
    }
}
