//! When to ask how a check or a creation stands.
//!
//! Rounds of one size and phase take about the same time, so the first poll is made when they have
//! usually finished, and the next ones back off. The estimate grows to what was seen and shrinks a
//! little with each first poll that finds the work done, so that it follows the upstream both ways.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use crate::domain::Phase;

/// What is assumed of sizes never seen: the upstream's samples wait seconds for ten devices, and
/// asking early costs one call.
const FIRST: Duration = Duration::from_millis(300);
const FIRST_PER_DEVICE: Duration = Duration::from_micros(100);

/// How far polls back off, and how close they follow each other.
const LONGEST: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_millis(100);

/// How far apart the questions after unknown devices get.
const SELDOM: Duration = Duration::from_secs(600);

/// How much of the estimate is left after a first poll that found the work done.
const SHRINK: f64 = 0.98;

/// How long rounds usually take, by phase and size.
#[derive(Debug, Default)]
pub(super) struct Pace {
    usual: Mutex<HashMap<(Phase, u32), Duration>>,
}

impl Pace {
    /// How long a round of so many devices usually takes from being asked in this phase.
    pub(super) fn usual(&self, phase: Phase, devices: usize) -> Duration {
        let seen = self.lock().get(&(phase, bucket(devices))).copied();
        seen.unwrap_or(FIRST + FIRST_PER_DEVICE * devices as u32)
    }

    /// How long to wait after a poll that came too early.
    pub(super) fn again(elapsed: Duration) -> Duration {
        (elapsed / 3).clamp(SHORTEST, LONGEST)
    }

    /// How long to wait before devices are asked after again that have been unknown for so long.
    pub(super) fn seldom(elapsed: Duration) -> Duration {
        (elapsed / 3).clamp(SHORTEST, SELDOM)
    }

    /// Learns from a round that was found finished so long after it was asked.
    pub(super) fn finished(&self, phase: Phase, devices: usize, elapsed: Duration) {
        let usual = self.usual(phase, devices);
        // A first poll comes a little late; a second one at least a third of the time later.
        let by_first_poll = elapsed < usual.mul_f64(1.25) + SHORTEST;
        let next = match by_first_poll {
            true => usual.mul_f64(SHRINK),
            // What kept us from asking was not the upstream's, so no lesson is taken whole.
            false => elapsed.min(usual * 2 + SHORTEST),
        };
        self.lock()
            .insert((phase, bucket(devices)), next.min(LONGEST * 120));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Phase, u32), Duration>> {
        self.usual
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Sizes within a factor of two share an estimate.
fn bucket(devices: usize) -> u32 {
    devices.max(1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_grows_to_what_was_seen_within_a_few_rounds() {
        let pace = Pace::default();

        for _ in 0..5 {
            pace.finished(Phase::Checking, 10_000, Duration::from_secs(20));
        }

        assert!(pace.usual(Phase::Checking, 9_000) > Duration::from_secs(19));
        assert!(pace.usual(Phase::Creating, 9_000) < Duration::from_secs(2));
        assert!(pace.usual(Phase::Checking, 10) < Duration::from_secs(2));
    }

    #[test]
    fn one_round_that_was_long_forgotten_teaches_little() {
        let pace = Pace::default();

        pace.finished(Phase::Checking, 100, Duration::from_secs(3600));

        assert!(pace.usual(Phase::Checking, 100) < Duration::from_secs(2));
    }

    #[test]
    fn the_estimate_shrinks_while_first_polls_find_the_work_done() {
        let pace = Pace::default();
        for _ in 0..500 {
            let usual = pace.usual(Phase::Checking, 100);
            pace.finished(Phase::Checking, 100, usual);
        }

        assert!(pace.usual(Phase::Checking, 100) < Duration::from_millis(1));
    }

    #[test]
    fn polls_back_off_with_what_has_passed() {
        assert_eq!(Pace::again(Duration::from_millis(10)), SHORTEST);
        assert_eq!(Pace::again(Duration::from_secs(9)), Duration::from_secs(3));
        assert_eq!(Pace::again(Duration::from_secs(900)), LONGEST);
    }
}
