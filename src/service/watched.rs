//! How watches fare, for metrics.

use crate::{
    proto::WatchApplyResponse,
    telemetry::{metrics, metrics::Moving},
};

/// One watch, until it ends. One that is dropped without a word was left by its caller.
#[derive(Debug)]
pub(super) struct Watched {
    _open: Moving<0>,
    end: &'static str,
}

impl Watched {
    pub(super) fn new() -> Self {
        Self {
            _open: metrics().watchers.one([]),
            end: "left",
        }
    }

    /// Heeds a message that is handed out; none is the end that was asked for.
    pub(super) fn heed(&mut self, message: Option<&WatchApplyResponse>) {
        match message {
            Some(message) if message.heartbeat => metrics().watch_messages.add(1, ["heartbeat"]),
            Some(_) => metrics().watch_messages.add(1, ["event"]),
            None => self.end = "settled",
        }
    }

    /// It ends for another reason.
    pub(super) fn ends(&mut self, end: &'static str) {
        self.end = end;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        metrics().watch_ends.add(1, [self.end]);
    }
}
