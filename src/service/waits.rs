//! What watched applies wait for, read once a second for all watchers of one.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

use crate::{
    domain::{Apply, ApplyId, Snapshot, waiting::Waiting},
    store::{Error, Store},
};

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(1);

/// Answers that are kept; beyond that, old ones are dropped.
const KEPT: usize = 10_000;

/// Questions at a time. All watchers of an account ask at once when it is blocked.
const ASKING: usize = 2;

/// Answers given lately.
#[derive(Debug)]
pub(super) struct Waits {
    asking: Semaphore,
    told: Mutex<HashMap<ApplyId, (Instant, Option<Waiting>)>>,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            asking: Semaphore::new(ASKING),
            told: Mutex::default(),
        }
    }
}

impl Waits {
    /// What an apply that stands so waits for, as of the last second, and of no earlier time than
    /// `since`.
    pub(super) async fn of(
        &self,
        store: &Store,
        apply: &Apply,
        now: &Snapshot,
        since: Option<Instant>,
    ) -> Result<Option<Waiting>, Error> {
        let id = apply.id;
        if let Some(waiting) = self.told(id, since) {
            return Ok(waiting);
        }
        let _permit = self
            .asking
            .acquire()
            .await
            .expect("questions are never closed");
        // Who waited finds that another one of the apply has asked meanwhile.
        if let Some(waiting) = self.told(id, since) {
            return Ok(waiting);
        }
        let asked = Instant::now();
        let waiting = store.waiting(apply, now).await?;
        let mut told = self.lock();
        if told.len() >= KEPT {
            told.retain(|_, (at, _)| at.elapsed() < FRESH);
        }
        told.insert(id, (asked, waiting.clone()));
        Ok(waiting)
    }

    fn told(&self, id: ApplyId, since: Option<Instant>) -> Option<Option<Waiting>> {
        let told = self.lock();
        let (at, waiting) = told.get(&id)?;
        let fresh = at.elapsed() < FRESH && since.is_none_or(|since| *at >= since);
        fresh.then(|| waiting.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ApplyId, (Instant, Option<Waiting>)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
