//! How long a call that may be repeated is repeated.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{credentials, failure, genuine::NotGrpc};

/// How long a repeatable call is tried again without progress, and how long the pauses are.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    first_pause: Duration,
    lasts: Duration,
    quiet: Duration,
    tries: u32,
    failures: u32,
    since: Option<Instant>,
    steady: Duration,
}

impl Patience {
    /// No pause is longer, whatever the server asks for.
    const MAX_PAUSE: Duration = Duration::from_secs(5);

    /// In which a server is restarted, or its database.
    const LASTS: Duration = Duration::from_secs(60);

    /// A call that takes longer is worth a word to who waits.
    const QUIET: Duration = Duration::from_secs(5);

    /// A minute of pauses from 0.1 s to 5 s.
    pub(super) fn new() -> Self {
        Self {
            first_pause: Duration::from_millis(100),
            lasts: Self::LASTS,
            quiet: Self::QUIET,
            tries: u32::MAX,
            failures: 0,
            since: None,
            steady: Self::MAX_PAUSE,
        }
    }

    /// For tests: three pauses of some milliseconds.
    #[cfg(test)]
    pub(super) fn short() -> Self {
        Self {
            first_pause: Duration::from_millis(1),
            lasts: Duration::MAX,
            quiet: Duration::MAX,
            tries: 3,
            failures: 0,
            since: None,
            steady: Duration::MAX,
        }
    }

    /// Something came through: what failed before no longer counts. A sign of life does so only
    /// after a while, lest a stream that always breaks at once be taken up forever.
    pub(super) fn progress(&mut self, heard: Heard, lasted: Duration) {
        let counts = match heard {
            Heard::Change => true,
            Heard::Heartbeat => lasted >= self.steady,
            Heard::Nothing => false,
        };
        if counts {
            self.failures = 0;
            self.since = None;
        }
    }

    /// For how long, from the first failure on, calls are tried again.
    pub(super) fn lasts(&self) -> Duration {
        self.lasts
    }

    /// For how long a call may be out before that is said.
    pub(super) fn quiet(&self) -> Duration {
        self.quiet
    }

    /// For tests: the same, said at once.
    #[cfg(test)]
    pub(super) fn restless(self) -> Self {
        let quiet = Duration::ZERO;
        Self { quiet, ..self }
    }

    /// How long to wait before the next try, or the status itself when there shall be none.
    pub(super) fn pause(&mut self, status: Status) -> Result<(Duration, Status), Status> {
        let failing_for = self.since.get_or_insert_with(Instant::now).elapsed();
        let is_used_up = self.failures >= self.tries || failing_for >= self.lasts;
        if !is_passing(&status) || is_used_up {
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
pub(super) fn is_passing(status: &Status) -> bool {
    // Only what the transport made up on this side has a source; the server's words have none.
    match status.source() {
        Some(source) => {
            NotGrpc::of(source).is_none_or(NotGrpc::is_passing)
                && credentials::advice(&failure::root(source)).is_none()
        }
        None => matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded),
    }
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
    fn patience_is_used_up_when_its_time_is_and_given_back_by_progress() {
        let mut patience = Patience {
            lasts: Duration::ZERO,
            ..Patience::new()
        };
        assert!(patience.pause(Status::unavailable("")).is_err());

        patience.lasts = Patience::LASTS;
        assert!(patience.pause(Status::unavailable("")).is_ok());
        patience.progress(Heard::Change, Duration::ZERO);
        assert_eq!((patience.failures, patience.since), (0, None));
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
