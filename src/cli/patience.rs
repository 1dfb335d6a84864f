//! How long a call that may be repeated is repeated.

use std::{error::Error, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// How often a repeatable call is tried again without progress, and how long the pauses are.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    first_pause: Duration,
    tries: u32,
    failures: u32,
    steady: Duration,
}

impl Patience {
    /// No pause is longer, whatever the server asks for.
    const MAX_PAUSE: Duration = Duration::from_secs(5);

    /// Twelve pauses of 0.1 s to 5 s: about half a minute, in which a server is restarted.
    pub(super) fn new() -> Self {
        Self {
            first_pause: Duration::from_millis(100),
            tries: 12,
            failures: 0,
            steady: Self::MAX_PAUSE,
        }
    }

    /// For tests: three pauses of some milliseconds.
    #[cfg(test)]
    pub(super) fn short() -> Self {
        Self {
            first_pause: Duration::from_millis(1),
            tries: 3,
            failures: 0,
            steady: Duration::MAX,
        }
    }

    /// Something came through: what failed before no longer counts. A sign of life does so only
    /// after a while, lest a stream that always breaks at once be taken up forever.
    pub(super) fn progress(&mut self, heard: Heard, lasted: Duration) {
        match heard {
            Heard::Change => self.failures = 0,
            Heard::Heartbeat if lasted >= self.steady => self.failures = 0,
            Heard::Heartbeat | Heard::Nothing => {}
        }
    }

    /// How long to wait before the next try, or the status itself when there shall be none.
    pub(super) fn pause(&mut self, status: Status) -> Result<(Duration, Status), Status> {
        if !is_passing(&status) || self.failures >= self.tries {
            return Err(status);
        }
        let doubled = self.first_pause.saturating_mul(1 << self.failures.min(16));
        // Clients that were cut off together shall not come back together.
        let own = doubled
            .min(Self::MAX_PAUSE)
            .mul_f64(rand::random_range(0.5..=1.0));
        let asked = status
            .get_details_retry_info()
            .and_then(|retry| retry.retry_delay);
        self.failures += 1;
        Ok((
            asked.map_or(own, |asked| asked.min(Self::MAX_PAUSE).max(own)),
            status,
        ))
    }
}

/// The most that came through on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Heard {
    Nothing,
    Heartbeat,
    Change,
}

/// Whether the same call may succeed later: the server said so, or never came to say anything.
fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
        // Only what the transport made up on this side has a source; the server's words have none.
        || status.source().is_some()
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_heartbeat_gives_back_patience_only_on_a_stream_that_has_lasted() {
        let mut patience = Patience::new();
        patience.failures = 7;

        patience.progress(Heard::Heartbeat, Duration::from_secs(1));
        patience.progress(Heard::Nothing, Duration::from_secs(3600));
        assert_eq!(patience.failures, 7);
        patience.progress(Heard::Heartbeat, Patience::MAX_PAUSE);
        assert_eq!(patience.failures, 0);
    }

    #[test]
    fn pauses_grow_and_respect_what_the_server_asks_for_up_to_the_bound() {
        let mut patience = Patience::new();
        let mut pause = |status| patience.pause(status).unwrap().0;

        let first = pause(Status::unavailable(""));
        assert!(first >= Duration::from_millis(50) && first <= Duration::from_millis(100));
        let second = pause(Status::unavailable(""));
        assert!(second >= Duration::from_millis(100) && second <= Duration::from_millis(200));
        let mut details = ErrorDetails::new();
        details.set_retry_info(Some(Duration::from_secs(2)));
        let asked = Status::with_error_details(Code::Unavailable, "", details.clone());
        assert_eq!(pause(asked), Duration::from_secs(2));
        details.set_retry_info(Some(Duration::from_secs(3600)));
        let asked = Status::with_error_details(Code::Unavailable, "", details);
        assert_eq!(pause(asked), Patience::MAX_PAUSE);
    }
}
