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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use time::OffsetDateTime;

    use super::*;
    use crate::domain::{AfterCheck, ApplyStatus, Counts, Labels};

    fn standing(revision: i64) -> Snapshot {
        Snapshot {
            revision,
            status: ApplyStatus::Check,
            counts: Counts::pending(3),
            cancelling: false,
            sealed: true,
            at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn an_answer_is_good_for_one_revision_and_for_a_second() {
        let connect = "postgres://127.0.0.1:1/none".parse().unwrap();
        let (store, waits) = (Store::new(connect, 1, "test"), Waits::default());
        let apply = Apply {
            id: ApplyId(7),
            product_key: "a1".into(),
            iot_instance_id: String::new(),
            after_check: AfterCheck::Stop,
            import: false,
            labels: Labels::default(),
            created_at: OffsetDateTime::UNIX_EPOCH,
        };
        let waiting = Waiting::for_upload(3);
        let answered = |at| {
            let told = Told {
                at,
                revision: 4,
                waiting: Some(waiting.clone()),
            };
            waits.lock().insert(apply.id, told);
        };
        // None where it has to ask, since nobody answers.
        let told = |revision| {
            let now = waits
                .now(&store, &apply, &standing(revision))
                .now_or_never();
            now.map(Result::unwrap)
        };

        answered(Instant::now());
        assert_eq!(told(4), Some(Some(waiting.clone())));
        assert_eq!(told(5), None);
        answered(Instant::now() - FRESH);
        assert_eq!(told(4), None);
    }
}
