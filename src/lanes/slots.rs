//! Permits on the local clock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::Lanes;
use crate::{domain::Lane, store, telemetry::metrics};

/// The time in which one call may be sent.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Not before.
    pub open: Instant,
    /// Not after.
    pub close: Instant,
}

/// By how much calls may be later than usual, since this process or its database is slow.
///
/// Each block of permits is followed by this much more time, so that no second sees more calls
/// however late one is. A slow machine thus works slowly, and not never.
#[derive(Debug, Default)]
pub(super) struct Slack {
    micros: AtomicU64,
}

impl Slack {
    /// Beyond this nothing would be left of the rates.
    const MOST: Duration = Duration::from_secs(2);

    fn now(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }

    /// Something took so long for which there was `window` of time. Returns whether that has made it
    /// more than none.
    pub(super) fn learn(&self, took: Duration, window: Duration) -> bool {
        let slack = self.now();
        let wanted = match took * 2 > window + slack {
            true => (took * 2).min(Self::MOST),
            // Given back little by little.
            false => slack.mul_f64(0.9),
        };
        let micros = wanted.as_micros() as u64 / 1_000 * 1_000;
        self.micros.store(micros, Ordering::Relaxed);
        slack.is_zero() && micros > 0
    }
}

impl Lanes {
    /// Takes the next `count` slots of a lane, the first no sooner than `lead` from now.
    ///
    /// The database said at some moment between asking and answering how far off the first slot
    /// is. Counting from the answer never opens a slot early, and counting from the question never
    /// closes it late.
    pub async fn slots(
        &self,
        lane: Lane,
        count: u32,
        lead: Duration,
    ) -> Result<impl Iterator<Item = Slot> + use<>, store::Error> {
        let spacing = self.options.spacing(lane);
        let (window, slack) = (self.options.window(lane), self.slack.now());
        let asked = Instant::now();
        let permits = self
            .store
            .permits(lane, count, spacing, lead, slack)
            .await?;
        let answered = Instant::now();
        let spaced = permits.spacing.as_secs_f64();
        metrics().lane_spacing.set(spaced, [lane.as_str()]);
        if self.slack.learn(answered - asked, window) {
            tracing::warn!(
                lane = lane.as_str(),
                round_trip_ms = (answered - asked).as_millis() as u64,
                window_ms = window.as_millis() as u64,
                "permits come slowly; less of the quotas is used while they do"
            );
        }
        Ok((0..permits.count).map(move |n| {
            let from_now = permits.first_in + permits.spacing * n;
            Slot {
                open: answered + from_now,
                close: asked + from_now + window + slack,
            }
        }))
    }

    /// A slot, or the next one after it where something else than slowness has used it up.
    pub async fn still_open(&self, lane: Lane, slot: Slot) -> Result<Slot, store::Error> {
        if Instant::now() < slot.close {
            return Ok(slot);
        }
        let next = self.slots(lane, 1, Duration::ZERO).await?.next();
        Ok(next.unwrap_or(slot))
    }

    /// Learns from a slot that nobody came in time to use.
    pub fn missed(&self, lane: Lane, slot: Slot) {
        metrics().slots_missed.add(1, [lane.as_str()]);
        let late = Instant::now().saturating_duration_since(slot.open);
        self.slack.learn(late, self.options.window(lane));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(40);

    #[test]
    fn what_is_slow_gets_time_and_what_is_fast_again_gives_it_back() {
        let slack = Slack::default();
        assert!(!slack.learn(Duration::from_millis(2), WINDOW));
        assert_eq!(slack.now(), Duration::ZERO);

        assert!(slack.learn(Duration::from_millis(60), WINDOW));
        assert_eq!(slack.now(), Duration::from_millis(120));
        assert!(!slack.learn(Duration::from_millis(60), WINDOW));
        for _ in 0..100 {
            slack.learn(Duration::from_millis(2), WINDOW);
        }

        assert_eq!(slack.now(), Duration::ZERO);
    }

    #[test]
    fn however_slow_it_is_there_is_an_end_to_the_time_given() {
        let slack = Slack::default();

        slack.learn(Duration::from_secs(60), WINDOW);

        assert_eq!(slack.now(), Slack::MOST);
    }
}
