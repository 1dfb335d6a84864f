//! When to ask how a check or a creation stands.
//!
//! Rounds of one size and phase take about the same time, so the first poll is made when they have
//! usually finished, and the next ones back off. Each answer tells that this time is longer or
//! shorter than what has passed; asking between the two narrows it down in a few rounds. What is known
//! of the shorter side fades, so that an upstream that has become faster is noticed.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use crate::domain::Phase;

/// What is assumed of sizes never seen. Asking early costs a few calls, until the first has finished;
/// asking late makes everyone wait.
const FIRST: Duration = Duration::from_millis(100);
const FIRST_PER_DEVICE: Duration = Duration::from_micros(20);

/// How far polls back off, and how close they follow each other.
const LONGEST: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_millis(100);

/// How far apart the questions after unknown devices get.
const SELDOM: Duration = Duration::from_secs(600);

/// How much longer than what was too early may be what was late enough, for the two to be taken for
/// the same.
const CLOSE: f64 = 1.2;

/// How much of what was too early is still believed after a poll that found the work done.
const BELIEVED: f64 = 0.98;

/// What is known of how long rounds of a kind take.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Longer than this.
    early: Duration,
    /// Not longer than this.
    done: Duration,
}

impl Known {
    fn guess(self) -> Duration {
        match self.done > self.early.mul_f64(CLOSE) {
            true => (self.early + self.done) / 2,
            false => self.done,
        }
    }

    fn still_running(self, elapsed: Duration) -> Self {
        let early = self.early.max(elapsed);
        Self {
            early,
            done: self.done.max(early + Pace::again(early)),
        }
    }

    fn finished(self, elapsed: Duration) -> Self {
        Self {
            early: self
                .early
                .mul_f64(BELIEVED)
                .min(elapsed / 2 + self.early / 2),
            done: elapsed,
        }
    }
}

/// How long rounds take, by phase and size.
#[derive(Debug, Default)]
pub(super) struct Pace {
    known: Mutex<HashMap<(Phase, u32), Known>>,
}

impl Pace {
    /// How long a round of so many devices usually takes from being asked in this phase.
    pub(super) fn usual(&self, phase: Phase, devices: usize) -> Duration {
        let known = self.lock().get(&(phase, bucket(devices))).copied();
        known.map_or_else(|| first(devices), Known::guess)
    }

    /// How long to wait after a poll that came too early.
    pub(super) fn again(elapsed: Duration) -> Duration {
        (elapsed / 3).clamp(SHORTEST, LONGEST)
    }

    /// How long to wait before devices are asked after again that have been unknown for so long.
    pub(super) fn seldom(elapsed: Duration) -> Duration {
        (elapsed / 3).clamp(SHORTEST, SELDOM)
    }

    /// Learns from a round that was found unfinished so long after it was asked.
    pub(super) fn still_running(&self, phase: Phase, devices: usize, elapsed: Duration) {
        self.learn(phase, devices, |known| known.still_running(elapsed));
    }

    /// Learns from a round that was found finished so long after it was asked.
    pub(super) fn finished(&self, phase: Phase, devices: usize, elapsed: Duration) {
        // What kept us from asking was not the upstream's, so no lesson is taken whole.
        let most = self.usual(phase, devices) * 2 + SHORTEST;
        self.learn(phase, devices, |known| known.finished(elapsed.min(most)));
    }

    fn learn(&self, phase: Phase, devices: usize, how: impl FnOnce(Known) -> Known) {
        let mut all = self.lock();
        let known = all.entry((phase, bucket(devices))).or_insert(Known {
            early: Duration::ZERO,
            done: first(devices),
        });
        *known = how(*known);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Phase, u32), Known>> {
        self.known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn first(devices: usize) -> Duration {
    FIRST + FIRST_PER_DEVICE * devices as u32
}

/// Sizes within a factor of two share an estimate.
fn bucket(devices: usize) -> u32 {
    devices.max(1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds one after the other that take so long. How often the last hundred were asked after, and
    /// how long after they were asked they were found finished, on average.
    fn rounds(pace: &Pace, take: Duration) -> (usize, Duration) {
        let (mut polls, mut found) = (0, Duration::ZERO);
        for n in 0..300 {
            let mut elapsed = pace.usual(Phase::Checking, 10_000);
            let counts = usize::from(n >= 200);
            polls += counts;
            while elapsed < take {
                pace.still_running(Phase::Checking, 10_000, elapsed);
                elapsed += Pace::again(elapsed);
                polls += counts;
            }
            pace.finished(Phase::Checking, 10_000, elapsed);
            found += elapsed * counts as u32;
        }
        (polls, found / 100)
    }

    #[test]
    fn rounds_are_soon_asked_after_once_and_when_they_have_just_finished() {
        for seconds in [0.5, 2.0, 20.0, 600.0] {
            let take = Duration::from_secs_f64(seconds);

            let (polls, found) = rounds(&Pace::default(), take);

            assert!(polls <= 130, "{polls} polls of 100 rounds of {seconds} s");
            assert!(found < take.mul_f64(1.25), "{found:?} of {seconds} s");
        }
    }

    #[test]
    fn an_upstream_that_becomes_faster_or_slower_is_followed() {
        let pace = Pace::default();
        for seconds in [20.0, 2.0, 10.0] {
            let take = Duration::from_secs_f64(seconds);

            let (_, found) = rounds(&pace, take);

            assert!(found < take.mul_f64(1.25), "{found:?} of {seconds} s");
        }
    }

    #[test]
    fn many_that_finish_together_teach_no_more_than_one() {
        let [one, many] = [1, 100].map(|rounds| {
            let pace = Pace::default();
            pace.still_running(Phase::Checking, 100, Duration::from_secs(1));
            for _ in 0..rounds {
                pace.finished(Phase::Checking, 100, Duration::from_secs(2));
            }
            pace.usual(Phase::Checking, 100)
        });

        assert!(many > one / 2, "{many:?} after many, {one:?} after one");
    }

    #[test]
    fn phases_and_sizes_are_told_apart() {
        let pace = Pace::default();

        rounds(&pace, Duration::from_secs(20));

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
    fn polls_back_off_with_what_has_passed() {
        assert_eq!(Pace::again(Duration::from_millis(10)), SHORTEST);
        assert_eq!(Pace::again(Duration::from_secs(9)), Duration::from_secs(3));
        assert_eq!(Pace::again(Duration::from_secs(900)), LONGEST);
    }
}
