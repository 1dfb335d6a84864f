//! What applies wait for, read at most once a second for all who watch or poll one.

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
    told: Mutex<HashMap<ApplyId, Told>>,
}

#[derive(Debug)]
struct Told {
    /// When it was asked for, and of an apply that stood at this revision.
    at: Instant,
    revision: i64,
    waiting: Option<Waiting>,
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
    /// What an apply that stands so waits for, as of the last second.
    pub(super) async fn now(
        &self,
        store: &Store,
        apply: &Apply,
        now: &Snapshot,
    ) -> Result<Option<Waiting>, Error> {
        match self.told(apply.id, now.revision, None) {
            Some(waiting) => Ok(waiting),
            None => self.ask(store, apply, now).await,
        }
    }

    /// The same for one of many watchers, who leave most of the connections to others; and of no
    /// earlier time than `since`.
    pub(super) async fn of(
        &self,
        store: &Store,
        apply: &Apply,
        now: &Snapshot,
        since: Option<Instant>,
    ) -> Result<Option<Waiting>, Error> {
        if let Some(waiting) = self.told(apply.id, now.revision, since) {
            return Ok(waiting);
        }
        let _permit = self
            .asking
            .acquire()
            .await
            .expect("questions are never closed");
        // Who waited finds that another one of the apply has asked meanwhile.
        match self.told(apply.id, now.revision, since) {
            Some(waiting) => Ok(waiting),
            None => self.ask(store, apply, now).await,
        }
    }

    async fn ask(
        &self,
        store: &Store,
        apply: &Apply,
        now: &Snapshot,
    ) -> Result<Option<Waiting>, Error> {
        let (at, revision) = (Instant::now(), now.revision);
        let waiting = store.waiting(apply, now).await?;
        let mut told = self.lock();
        if told.len() >= KEPT {
            told.retain(|_, told| told.at.elapsed() < FRESH);
        }
        let answer = Told {
            at,
            revision,
            waiting: waiting.clone(),
        };
        told.insert(apply.id, answer);
        Ok(waiting)
    }

    fn told(&self, id: ApplyId, revision: i64, since: Option<Instant>) -> Option<Option<Waiting>> {
        let all = self.lock();
        let told = all.get(&id).filter(|told| told.revision == revision)?;
        let fresh = told.at.elapsed() < FRESH && since.is_none_or(|since| told.at >= since);
        fresh.then(|| told.waiting.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ApplyId, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
