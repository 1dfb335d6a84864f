//! Slots one at a time, for calls that nobody queues up in rows.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, sleep_until},
};

use super::{Lanes, Slot};
use crate::{domain::Lane, store};

/// Whose turn it is in a lane, among the callers of this process that share this. First come, first
/// served; those that wait for their slots hold a block at most.
#[derive(Clone, Debug)]
pub struct Turns {
    lanes: Lanes,
    lane: Lane,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Room for those that wait for a slot, or for it to open.
    room: Semaphore,
    /// How many of them have none yet.
    wanting: AtomicU32,
    /// Slots that were taken for them and given to none yet.
    taken: Mutex<VecDeque<Slot>>,
}

impl Turns {
    /// Turns in one lane.
    pub fn new(lanes: Lanes, lane: Lane) -> Self {
        let room = Semaphore::new(lanes.block(lane) as usize);
        Self {
            lanes,
            lane,
            shared: Arc::new(Shared {
                room,
                wanting: AtomicU32::new(0),
                taken: Mutex::default(),
            }),
        }
    }

    /// Waits for a slot, until it is open. A process whose clock is refused waits, too.
    ///
    /// Who gives up waiting has used nothing: its slot goes to the next, or is over.
    pub async fn next(&self) -> Result<Slot, store::Error> {
        while let Some(pause) = self.lanes.clock.holds(Instant::now()) {
            tokio::time::sleep(pause).await;
        }
        let _room = self.shared.room.acquire().await.expect("never closed");
        let slot = self.take().await?;
        sleep_until(slot.open).await;
        Ok(slot)
    }

    async fn take(&self) -> Result<Slot, store::Error> {
        let _wanting = Wanting::new(&self.shared.wanting);
        let mut taken = self.shared.taken.lock().await;
        loop {
            let now = Instant::now();
            while let Some(slot) = taken.pop_front() {
                if slot.close > now {
                    return Ok(slot);
                }
            }
            // One statement for all that have none, this one included.
            let count = self.shared.wanting.load(Ordering::Relaxed).max(1);
            taken.extend(self.lanes.slots(self.lane, count, Duration::ZERO).await?);
        }
    }
}

/// One that has no slot yet, for as long as this lasts.
struct Wanting<'a>(&'a AtomicU32);

impl<'a> Wanting<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
