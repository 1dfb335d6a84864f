//! An outage: told once when it begins and once when it is over.

use std::time::Duration;

use crate::store::Error;

/// The pause after the first failure in a row, and how far it grows.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// The pause after so many failures in a row: doubling from 0.1 s to 2 s.
pub(super) fn pause_after(failures: u32) -> Duration {
    FIRST
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(LONGEST)
}

/// Something that is attempted again and again.
#[derive(Debug)]
pub(super) struct Outage {
    what: &'static str,
    failures: u32,
}

impl Outage {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, failures: 0 }
    }

    /// An attempt failed. Returns how long to pause before the next.
    pub(super) fn failed(&mut self, error: &Error) -> Duration {
        if self.failures == 0 {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, "{} fails; tried again until it works", self.what);
        }
        self.failures = self.failures.saturating_add(1);
        pause_after(self.failures)
    }

    /// An attempt succeeded.
    pub(super) fn over(&mut self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "{} works again", self.what);
        }
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ApplyId;

    #[test]
    fn pauses_grow_while_an_outage_lasts_and_begin_anew_after_it() {
        let error = Error::NoSuchApply(ApplyId(1));
        let mut outage = Outage::new("a test");

        let pauses: Vec<_> = (0..7).map(|_| outage.failed(&error).as_millis()).collect();
        outage.over();

        assert_eq!(pauses, [100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(outage.failed(&error).as_millis(), 100);
    }
}
