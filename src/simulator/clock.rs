//! The wall clock, read once; from then on time only moves forward.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Tells the time in microseconds since the epoch, never going back within a run.
#[derive(Debug)]
pub(super) struct Clock {
    began_at: u64,
    began: Instant,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the simulator is a peer on the wire: it judges dates by its own clock, as the upstream does"
    )]
    pub(super) fn start() -> Clock {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Clock {
            began_at: micros(since_epoch),
            began: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.began_at + micros(self.began.elapsed())
    }
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).expect("585,000 years fit in 64 bits of microseconds")
}
