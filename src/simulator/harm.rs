//! What faults do to one call, from its arrival until its answer is sent or is not.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use http_body_util::BodyExt;
use time::OffsetDateTime;
use time::macros::format_description;

use super::action::Action;
use super::answers::{Answer, Refusal};
use super::clock::Clock;
use super::fault::{Code, Cut, Kind};
use super::gateway_options::ThrottlingStatus;

/// No JSON, no XML and no text.
const GARBAGE: &[u8] = b"\x8f\x1b{\"\x00\xfe<\xc3\x28\xff";

/// All that is done to one call. Of two faults of a kind the first by name counts, but delays add
/// up.
#[derive(Debug, Default)]
pub(super) struct Harm {
    cut: Option<Cut>,
    unavailable: Option<u16>,
    refused: Option<Code>,
    throttled: Option<Throttled>,
    delay: Duration,
    spoilt: Option<Spoilt>,
    /// In seconds.
    skew: Option<i32>,
}

#[derive(Debug)]
struct Throttled {
    status: ThrottlingStatus,
    retry_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
enum Spoilt {
    Garbage,
    Truncated,
}

impl Harm {
    /// Adds a fault that hits a call of this action.
    pub(super) fn add(&mut self, kind: &Kind, called: Option<Action>) {
        match kind {
            Kind::NoAnswer {} => {
                self.cut.get_or_insert(Cut::After);
            }
            Kind::Cut { at } => {
                self.cut.get_or_insert(*at);
            }
            Kind::Unavailable { status } => {
                self.unavailable.get_or_insert((*status).into());
            }
            Kind::BlockAction { action, .. } if called != Some(*action) => {}
            Kind::BlockAccount { code }
            | Kind::BlockAction { code, .. }
            | Kind::Refuse { code } => {
                self.refused.get_or_insert_with(|| code.clone());
            }
            Kind::Throttle {
                status,
                retry_after_ms,
            } => {
                let retry_after = retry_after_ms.map(|ms| Duration::from_millis(ms.into()));
                self.throttled.get_or_insert(Throttled {
                    status: *status,
                    retry_after,
                });
            }
            Kind::Delay { ms } => self.delay += Duration::from_millis((*ms).into()),
            Kind::Garbage {} => {
                self.spoilt.get_or_insert(Spoilt::Garbage);
            }
            Kind::Truncated {} => {
                self.spoilt.get_or_insert(Spoilt::Truncated);
            }
            Kind::ClockSkew { seconds } => {
                self.skew.get_or_insert(*seconds);
            }
            Kind::FailCreates { .. }
            | Kind::BlockProduct { .. }
            | Kind::NamelessCheckFailure { .. }
            | Kind::Stuck { .. } => {}
        }
    }

    /// What comes in place of the gateway, if the call does not reach it.
    pub(super) fn turned_away(&self) -> Option<Answer> {
        if let Some(Cut::Before) = self.cut {
            return Some(Answer::none());
        }
        self.unavailable.map(Answer::unavailable)
    }

    /// How the gateway refuses a call whose signature it found right.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let throttled = self.throttled.as_ref();
        let throttled = || throttled.map(|throttled| Refusal::throttled(throttled.status));
        self.refused.as_ref().map(Code::refusal).or_else(throttled)
    }

    /// What a throttled call is told of when to come back, if it would be `usual` without faults.
    pub(super) fn retry_after(&self, usual: Option<Duration>) -> Option<Duration> {
        match &self.throttled {
            Some(throttled) if self.refused.is_none() => throttled.retry_after,
            _ => usual,
        }
    }

    /// What the gateway's clock shows, in microseconds since the epoch.
    pub(super) fn shown(&self, now: u64) -> u64 {
        now.saturating_add_signed(i64::from(self.skew.unwrap_or(0)) * 1_000_000)
    }

    /// Whether the answer reaches its caller whole.
    pub(super) fn answered(&self) -> bool {
        self.cut.is_none() && self.spoilt.is_none()
    }

    /// Whether the caller has no answer at all.
    pub(super) fn hangs_up(&self) -> bool {
        matches!(self.cut, Some(Cut::Before | Cut::After))
    }

    /// What is sent in place of this answer, when it is time to.
    pub(super) async fn done_to(&self, answer: Option<Response>, clock: &Clock) -> Response {
        tokio::time::sleep(self.delay).await;
        let Some(answer) = answer else {
            return hang_up();
        };
        let (mut head, body) = answer.into_parts();
        if self.skew.is_some() {
            head.headers
                .insert(header::DATE, date(self.shown(clock.now())));
        }
        let body = body.collect().await;
        let body = body.expect("it is all in memory").to_bytes();
        let body = match self.spoilt {
            None => body,
            Some(Spoilt::Garbage) => Bytes::from_static(GARBAGE),
            Some(Spoilt::Truncated) => body.slice(..body.len() / 2),
        };
        if let Some(Cut::Middle) = self.cut {
            head.headers
                .insert(header::CONTENT_LENGTH, body.len().into());
            let half = body.slice(..body.len() / 2);
            return Response::from_parts(head, broken_off(half));
        }
        Response::from_parts(head, Body::from(body))
    }
}

/// Has the connection closed without a byte: the server gives up on a body that fails before the
/// head has gone out.
fn hang_up() -> Response {
    let failing = tokio_stream::once(Err::<&[u8], _>(io::Error::other("told not to answer")));
    Body::from_stream(failing).into_response()
}

/// Has the connection closed after these bytes. The server sends what it has when the body lets it
/// wait, which it does once before it fails.
fn broken_off(bytes: Bytes) -> Body {
    let failing = async {
        tokio::task::yield_now().await;
        Err(io::Error::other("told to break off"))
    };
    Body::from_stream(stream::iter([Ok(bytes)]).chain(stream::once(failing)))
}

fn date(micros: u64) -> HeaderValue {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let seconds = i64::try_from(micros / 1_000_000).unwrap_or(0);
    let date = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let date = date.format(&format).expect("each part of it is a date's");
    HeaderValue::try_from(date).expect("a date is plain text")
}
