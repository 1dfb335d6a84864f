//! Looking at all lanes at once, for whichever of them ask.
//!
//! What wakes one lane wakes the others as well, so they would ask the same thing at the same time.
//! One that asks while a look is under way waits for the next, which then is everyone's.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::{
    domain::Lane,
    store::{self, Look, Store},
};

/// The looks of one process.
#[derive(Debug)]
pub(super) struct Looks {
    store: Store,
    lanes: Vec<Lane>,
    /// How many have asked so far.
    asked: AtomicU64,
    latest: Mutex<Latest>,
}

/// The latest look.
#[derive(Debug, Default)]
struct Latest {
    /// How many had asked when it began: it answers them.
    answers: u64,
    /// In the order of the lanes; empty if it failed.
    looks: Vec<Look>,
}

impl Looks {
    pub(super) fn new(store: Store, lanes: Vec<Lane>) -> Self {
        Self {
            store,
            lanes,
            asked: AtomicU64::new(0),
            latest: Mutex::default(),
        }
    }

    /// What a lane has to do, as of a moment after this was called. None if another lane that asked
    /// at the same time was told why that cannot be known.
    pub(super) async fn at(&self, lane: Lane) -> Result<Option<Look>, store::Error> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let mut latest = self.latest.lock().await;
        if latest.answers <= asked {
            *latest = Latest {
                answers: self.asked.load(Ordering::SeqCst),
                looks: Vec::new(),
            };
            latest.looks = self.store.looks(&self.lanes).await?;
        }
        let at = self.lanes.iter().position(|known| *known == lane);
        Ok(at.and_then(|at| latest.looks.get(at)).copied())
    }
}
