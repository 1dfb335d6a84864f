//! Whether the upstream accepts the clock of this process.
//!
//! The client corrects it by the date of an answer. Where that is refused as well, calls are in
//! vain: this process takes no permits and is not ready, and measures again now and then. Others
//! may have better clocks, so nothing of this is in the database.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::telemetry::metrics;

/// How long a refused clock takes no permits before one call measures it again.
const MEASURE_EVERY: Duration = Duration::from_secs(60);

/// What is known of the clock.
#[derive(Debug)]
pub struct Clock {
    accepted: watch::Sender<bool>,
    measured_at: Mutex<Instant>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            accepted: watch::Sender::new(true),
            measured_at: Mutex::new(Instant::now()),
        }
    }

    /// Whether it is accepted, as it changes.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.accepted.subscribe()
    }

    /// Whether it is accepted, as far as is known.
    pub fn is_accepted(&self) -> bool {
        *self.accepted.borrow()
    }

    /// Learns from an answer at `now`: whether it refuses the clock, or was given in spite of it.
    pub(super) fn heed(&self, refused: bool, now: Instant) {
        metrics()
            .clock_accepted
            .set(f64::from(u8::from(!refused)), []);
        if refused {
            *self.lock() = now;
            if self.accepted.send_replace(false) {
                tracing::error!("the upstream refuses the clock of this machine; set it");
            }
        } else if !self.accepted.send_replace(true) {
            tracing::info!("the upstream accepts the clock of this machine again");
        }
    }

    /// How long from `now` no permit is to be taken. One who is told none while the clock is refused
    /// measures it: the next is held again.
    pub fn holds(&self, now: Instant) -> Option<Duration> {
        if self.is_accepted() {
            return None;
        }
        let mut measured_at = self.lock();
        let left = MEASURE_EVERY.saturating_sub(now.saturating_duration_since(*measured_at));
        if left.is_zero() {
            *measured_at = now;
            return None;
        }
        Some(left)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.measured_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_refused_takes_no_permits_but_one_a_minute() {
        let clock = Clock::new();
        let accepted = clock.watch();
        let now = Instant::now();
        assert_eq!(clock.holds(now), None);

        clock.heed(true, now);
        assert!(!*accepted.borrow());
        assert_eq!(clock.holds(now), Some(MEASURE_EVERY));

        let later = now + MEASURE_EVERY;
        assert_eq!(clock.holds(later), None);
        assert_eq!(clock.holds(later), Some(MEASURE_EVERY));

        clock.heed(false, later);
        assert!(*accepted.borrow());
        assert_eq!(clock.holds(later), None);
    }
}
