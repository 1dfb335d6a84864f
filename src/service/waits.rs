//! What watched applies wait for, read once a second for all watchers of one.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    domain::{ApplyId, ApplyStatus, waiting::Waiting},
    store::{Error, Store},
};

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(1);

/// Answers that are kept; beyond that, old ones are dropped.
const KEPT: usize = 10_000;

/// Answers given lately.
#[derive(Debug, Default)]
pub(super) struct Waits {
    told: Mutex<HashMap<ApplyId, (Instant, Option<Waiting>)>>,
}

impl Waits {
    /// What an apply in `status` waits for, as of the last second, and of no earlier time than
    /// `since`.
    pub(super) async fn of(
        &self,
        store: &Store,
        id: ApplyId,
        status: ApplyStatus,
        since: Option<Instant>,
    ) -> Result<Option<Waiting>, Error> {
        if let Some((at, waiting)) = self.lock().get(&id)
            && at.elapsed() < FRESH
            && since.is_none_or(|since| *at >= since)
        {
            return Ok(waiting.clone());
        }
        // Others of the apply that come now take the old answer for a moment longer, or ask too;
        // either does no harm.
        let asked = Instant::now();
        let waiting = store.waiting(id, status).await?;
        let mut told = self.lock();
        if told.len() >= KEPT {
            told.retain(|_, (at, _)| at.elapsed() < FRESH);
        }
        told.insert(id, (asked, waiting.clone()));
        Ok(waiting)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ApplyId, (Instant, Option<Waiting>)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
