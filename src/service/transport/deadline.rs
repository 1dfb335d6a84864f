//! How long a call may take: as long as its caller gives it, and at most as long as the server does.

use std::{
    future::poll_fn,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::service::status::info;

/// How much earlier than asked for a call ends, so that the answer is there before the caller's own
/// clock ends the call without one: a twentieth, within these bounds. The least is what a timer can
/// tell apart, so that ours also ends before that of the library, which knows no details.
const EARLIER: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// When a call ends, and who says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Instant,
    limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    OfCaller(Duration),
    OfServer(Duration),
}

impl Deadline {
    /// The deadline of a call that begins now.
    pub(super) fn of(headers: &HeaderMap, call_timeout: Duration) -> Self {
        let (after, limit) = limit(headers, call_timeout);
        Self {
            at: Instant::now() + after,
            limit,
        }
    }

    /// The answer, if it comes in time.
    pub(super) async fn hold<F: Future>(self, answer: F) -> Result<F::Output, Status> {
        let mut answer = pin!(answer);
        let mut end = pin!(tokio::time::sleep_until(self.at.into()));
        poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(Ok(answer));
            }
            // By the clock too: the timer may ring late, and then the library's with it.
            if Instant::now() >= self.at || end.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(self.limit.too_slow()));
            }
            Poll::Pending
        })
        .await
    }
}

impl Limit {
    fn too_slow(self) -> Status {
        let (reason, message) = match self {
            Self::OfCaller(limit) => (
                "DEADLINE_EXCEEDED",
                format!(
                    "the call was cut off by its own deadline of {}; an apply comes to no harm by \
                     that, and what was asked for may have been done: to learn it, call again with \
                     the same request_id and a longer deadline",
                    humantime::format_duration(limit),
                ),
            ),
            Self::OfServer(limit) => (
                "CALL_TIMEOUT",
                format!(
                    "the call was cut off after {}, the longest that this server gives a call; an \
                     apply comes to no harm by that, and what was asked for may have been done: to \
                     learn it, call again with the same request_id",
                    humantime::format_duration(limit),
                ),
            ),
        };
        Status::with_error_details(Code::DeadlineExceeded, message, info(reason, []))
    }
}

/// After how long a call ends, and the limit that is told.
fn limit(headers: &HeaderMap, call_timeout: Duration) -> (Duration, Limit) {
    let (least, most) = EARLIER;
    match grpc_timeout(headers) {
        Some(asked) if asked < call_timeout => {
            let earlier = (asked / 20).clamp(least, most);
            (asked.saturating_sub(earlier), Limit::OfCaller(asked))
        }
        _ => (call_timeout, Limit::OfServer(call_timeout)),
    }
}

/// The deadline that the caller set: at most 8 digits and a unit, as gRPC over HTTP/2 defines it.
/// What is not one counts as none, as it does for the library.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn of(timeout: &'static str) -> (Duration, Limit) {
        let value = http::HeaderValue::from_static(timeout);
        limit(
            &HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), value)]),
            MINUTE,
        )
    }

    #[test]
    fn a_call_ends_a_little_before_the_caller_stops_listening() {
        for (timeout, after, asked) in [
            ("10S", Duration::from_millis(9_950), Duration::from_secs(10)),
            (
                "100m",
                Duration::from_millis(95),
                Duration::from_millis(100),
            ),
            ("5000u", Duration::from_millis(4), Duration::from_millis(5)),
            ("1m", Duration::ZERO, Duration::from_millis(1)),
            ("7n", Duration::ZERO, Duration::from_nanos(7)),
        ] {
            assert_eq!(of(timeout), (after, Limit::OfCaller(asked)));
        }
    }

    #[test]
    fn no_caller_has_more_time_than_the_server_gives() {
        for timeout in [
            "99999999H",
            "2M",
            "60S",
            "",
            "S",
            "x",
            "1",
            "123456789m",
            "1.5S",
        ] {
            assert_eq!(of(timeout), (MINUTE, Limit::OfServer(MINUTE)), "{timeout}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_there_comes_in_time() {
        let deadline = Deadline::of(&HeaderMap::new(), Duration::ZERO);

        assert_eq!(deadline.hold(async { 7 }).await.unwrap(), 7);
    }
}
