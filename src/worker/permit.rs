//! Permits on the local clock.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::Worker;
use crate::{domain::Lane, store};

/// The time in which one call may be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Not before.
    pub(super) open: Instant,
    /// Not after.
    pub(super) close: Instant,
}

impl Worker {
    /// Takes the next `count` slots of a lane, the first no sooner than `lead` from now.
    ///
    /// The database said at some moment between asking and answering how far off the first slot
    /// is. Counting from the answer never opens a slot early, and counting from the question never
    /// closes it late.
    pub(super) async fn slots(
        &self,
        lane: Lane,
        count: u32,
        lead: Duration,
    ) -> Result<impl Iterator<Item = Slot> + use<>, store::Error> {
        let spacing = self.options.spacing(lane);
        let window = self.options.permit_window;
        let asked = Instant::now();
        let permits = self.store.permits(lane, count, spacing, lead).await?;
        let answered = Instant::now();
        let too_slow = answered - asked >= window;
        let was_slow = self.slow_database.swap(too_slow, Ordering::Relaxed);
        if too_slow && !was_slow {
            tracing::warn!(
                lane = lane.as_str(),
                round_trip_ms = (answered - asked).as_millis() as u64,
                window_ms = window.as_millis() as u64,
                "the database answers too slowly for its permits to be used; told once"
            );
        }
        Ok((0..permits.count).map(move |n| {
            let from_now = permits.first_in + permits.spacing * n;
            Slot {
                open: answered + from_now,
                close: asked + from_now + window,
            }
        }))
    }
}
