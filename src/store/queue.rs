//! The bound on what may be queued.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Error, Store};

/// How long a count of what is queued is good for. In the meantime a submission is added where it
/// was let in, so that what is missed is what other processes let in, and what came while counting.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// What is queued, as far as this process knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue(Arc<Mutex<Option<Counted>>>);

#[derive(Clone, Copy, Debug)]
struct Counted {
    at: Instant,
    devices: i64,
}

impl Queue {
    /// Whether it is the caller's turn to count. The others use the last count meanwhile, so that
    /// none waits for another one's query; before the first count all count.
    fn wants_count(&self) -> bool {
        match self.lock().as_mut() {
            Some(counted) if counted.at.elapsed() < GOOD_FOR => false,
            Some(counted) => {
                counted.at = Instant::now();
                true
            }
            None => true,
        }
    }

    fn counted(&self, devices: i64) {
        let at = Instant::now();
        *self.lock() = Some(Counted { at, devices });
    }

    /// Adds so many devices if that makes no more than `most`, or says how many there are.
    fn add(&self, devices: i64, most: i64) -> Result<(), i64> {
        let mut queue = self.lock();
        let queued = queue.as_mut().map_or(0, |counted| counted.devices);
        let with_these = queued.saturating_add(devices);
        if with_these > most {
            return Err(queued);
        }
        if let Some(counted) = queue.as_mut() {
            counted.devices = with_these;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Counted>> {
        // Every change under the lock is whole, so what a panicking thread left behind is sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Refuses so many more devices if the queue would hold more than it may with them.
    pub(super) async fn admit(&self, devices: usize) -> Result<(), Error> {
        if devices == 0 || self.max_queued == i64::MAX {
            return Ok(());
        }
        if self.queue.wants_count() {
            self.queue.counted(self.queued().await?);
        }
        let most = self.max_queued;
        self.queue
            .add(devices as i64, most)
            .map_err(|queued| Error::QueueFull { queued, most })
    }

    /// The devices of unsettled applies that are still on their way. Those of an upload that is not
    /// sealed are so until they are checked: nothing moves them on but its own going on, which a
    /// queue that they fill would refuse.
    async fn queued(&self) -> Result<i64, Error> {
        let devices = sqlx::query_scalar!(
            r#"SELECT coalesce(sum(total - invalid - created - failed - unknown - cancelled
                                   - CASE WHEN sealed THEN 0 ELSE valid END), 0) AS "devices!"
               FROM applies
               WHERE account = $1 AND status IN ('CHECK', 'CREATE')"#,
            self.account,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(devices)
    }
}
