//! What is done to the stack and when, all of it from the seed.

use std::{fmt, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::faults;

/// Replicas of `registrar serve`.
pub(crate) const REPLICAS: usize = 3;

/// Trouble comes for so long, and then there is as much quiet, in which it is measured how long a
/// change takes to its watchers.
const ROUGH: Duration = Duration::from_secs(6);
const QUIET: Duration = Duration::from_secs(6);

/// Clocks may be off by so much: within what the upstream admits here (4 s) and beyond it, and beyond
/// what the real one does (15 minutes).
const SKEWS: [i64; 9] = [0, 0, 1, -1, 3, 180, -300, 1_200, -86_400];

/// Something that is done to the stack.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// `kill -9`, and a start with a clock that is off by so many seconds.
    KillReplica { replica: usize, skew: i64 },
    /// SIGTERM, and a start with such a clock.
    StopReplica { replica: usize, skew: i64 },
    /// SIGSTOP, and SIGCONT in the end.
    PauseReplica { replica: usize },
    /// The connections of a replica, or of its clients, are ended.
    Cut { replica: usize, link: Which },
    /// They are held up until the end.
    Hold { replica: usize, link: Which },
    /// Postgres is killed, and started again in the end.
    KillDatabase { how: Kill },
    /// The upstream has this fault until the end.
    Fault { json: String },
}

/// A link of a replica.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    Clients,
    Database,
    Upstream,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kill {
    /// SIGQUIT to all of it: what `pg_ctl stop -m immediate` does.
    Immediate,
    /// SIGKILL to the postmaster.
    Postmaster,
    /// SIGKILL to one backend, upon which the postmaster ends the others and recovers by itself.
    Backend,
}

/// An action with its time, from the beginning.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    /// How long the trouble lasts.
    pub(crate) lasts: Duration,
    pub(crate) action: Action,
}

/// The whole plan. Everything in it is over within `time`.
pub(crate) fn plan(seed: u64, time: Duration, skews: bool) -> Vec<Event> {
    let mut events = troubles(&mut StdRng::seed_from_u64(seed), time, skews);
    events.extend(outages(&mut StdRng::seed_from_u64(seed ^ 0xfa17), time));
    events.sort_by_key(|event| event.at);
    events
}

/// What happens to replicas, connections and Postgres.
fn troubles(rng: &mut StdRng, time: Duration, skews: bool) -> Vec<Event> {
    let mut events = Vec::new();
    // A replica, or Postgres, has one trouble at a time.
    let mut busy_until = [Duration::ZERO; REPLICAS + 1];
    let mut at = Duration::from_secs(2);
    loop {
        at += Duration::from_millis(rng.random_range(150..1_300));
        let into = Duration::from_millis((at.as_millis() % (ROUGH + QUIET).as_millis()) as u64);
        if into > ROUGH {
            at += ROUGH + QUIET - into;
        }
        let replica = rng.random_range(0..REPLICAS);
        let skew = *SKEWS.choose(rng).expect("some");
        let skew = if skews { skew } else { 0 };
        let short = Duration::from_millis(rng.random_range(50..2_500));
        let (target, lasts, action) = match rng.random_range(0..100) {
            0..32 => (replica, short, Action::KillReplica { replica, skew }),
            32..38 => (replica, short, Action::StopReplica { replica, skew }),
            // Longer than a lease, as a rule.
            38..53 => (
                replica,
                Duration::from_millis(rng.random_range(800..4_500)),
                Action::PauseReplica { replica },
            ),
            53..68 => {
                let how = [Kill::Immediate, Kill::Postmaster, Kill::Backend];
                let how = *how.choose(rng).expect("some");
                let lasts = Duration::from_millis(rng.random_range(0..1_200));
                (REPLICAS, lasts, Action::KillDatabase { how })
            }
            other => {
                let link = [Which::Clients, Which::Database, Which::Upstream];
                let link = *link.choose(rng).expect("some");
                match other {
                    68..85 => (replica, Duration::ZERO, Action::Cut { replica, link }),
                    _ => (replica, short, Action::Hold { replica, link }),
                }
            }
        };
        if at + lasts >= time {
            return events;
        }
        if busy_until[target] <= at {
            busy_until[target] = at + lasts + Duration::from_millis(200);
            events.push(Event { at, lasts, action });
        }
    }
}

/// What happens at the upstream.
fn outages(rng: &mut StdRng, time: Duration) -> Vec<Event> {
    let mut events = Vec::new();
    let mut at = Duration::from_secs(1);
    loop {
        at += Duration::from_millis(rng.random_range(200..2_200));
        let (json, longest) = faults::any(rng);
        let lasts = Duration::from_millis(rng.random_range(200..longest));
        if at + lasts >= time {
            return events;
        }
        events.push(Event {
            at,
            lasts,
            action: Action::Fault { json },
        });
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, lasts) = (self.at.as_secs_f64(), self.lasts.as_secs_f64());
        write!(f, "{at:7.2} s, for {lasts:4.2} s: ")?;
        match &self.action {
            Action::Fault { json } => write!(f, "fault {json}"),
            other => write!(f, "{other:?}"),
        }
    }
}
