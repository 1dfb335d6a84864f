//! How streams fare, for metrics.

use tonic::Code;

use super::observed;
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

/// One upload or export, until it ends. One that is dropped without a word was left by its caller.
#[derive(Debug)]
pub(super) struct Streamed {
    _open: Moving<1>,
    method: &'static str,
    code: Code,
}

impl Streamed {
    pub(super) fn new(method: &'static str) -> Self {
        Self {
            _open: metrics().streams.one([method]),
            method,
            code: Code::Cancelled,
        }
    }

    /// It ends so.
    pub(super) fn ends(&mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        let labels = [self.method, observed::name(self.code)];
        metrics().stream_ends.add(1, labels);
    }
}
