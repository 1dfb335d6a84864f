//! Around all else: the request's id, a span, and how long each call takes to which end.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Instant,
};

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response};
use tonic::{Code, Status, body::Body};
use tower::Service;
use tracing::Instrument as _;
use uuid::Builder;

use super::methods;
use crate::telemetry::{metrics, trace::Rpc};

/// What a request is called, by its caller or by us. It goes into every line that is logged of it,
/// and back to the caller.
const REQUEST_ID: &str = "x-request-id";

/// Bytes that it may have.
const LONGEST_ID: usize = 128;

/// Stands around all services of the server.
#[derive(Clone, Debug)]
pub(super) struct Observed<S> {
    inner: S,
}

impl<S> Observed<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> Service<Request<Body>> for Observed<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let names = methods::of(request.uri().path());
        let id = request_id(request.headers());
        let text = id.to_str().expect("checked, or made here");
        let rpc = Rpc::begin(names.service, names.method, text, request.headers());
        let (traced, logged) = (rpc.traced(), rpc.logged());
        let mut watched = Watched {
            rpc,
            label: names.label,
            begun: Instant::now(),
            code: Code::Cancelled,
        };
        let answer = self.inner.call(request);
        let observed = async move {
            let mut answer = answer.await?;
            watched.heed(answer.headers());
            answer.headers_mut().insert(REQUEST_ID, id);
            Ok(answer)
        };
        Box::pin(observed.instrument(logged).instrument(traced))
    }
}

/// A call under way. One that is dropped was cancelled by its caller.
struct Watched {
    rpc: Rpc,
    label: &'static str,
    begun: Instant,
    code: Code,
}

impl Watched {
    /// What the call came to, as the head of its answer says; of a stream, that it was opened.
    fn heed(&mut self, headers: &HeaderMap) {
        self.code = Status::from_header_map(headers).map_or(Code::Ok, |status| status.code());
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let labels = [self.label, name(self.code)];
        metrics().rpc.record(self.begun.elapsed(), labels);
        self.rpc.answered(self.code as i32, is_fault(self.code));
    }
}

/// The caller's id if it is printable and of a sensible length; a random one otherwise.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|id| {
        let id = id.as_bytes();
        (1..=LONGEST_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| {
        // Only to tell calls apart, so not from the system, which would be a call of it each time.
        let made = Builder::from_random_bytes(rand::random()).into_uuid();
        let made = made.to_string();
        HeaderValue::try_from(made).expect("letters, digits and dashes")
    })
}

/// The code by the name that the specification gives it.
pub(super) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Whether a code is the server's fault, by the semantic conventions of spans.
fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn answered(given: Option<&[u8]>) -> String {
        let mut headers = HeaderMap::new();
        if let Some(given) = given {
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(given).unwrap());
        }
        request_id(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_request_keeps_the_id_that_it_came_with() {
        assert_eq!(answered(Some(b"job-17/3")), "job-17/3");
        assert_eq!(answered(Some(&[b'x'; LONGEST_ID])), "x".repeat(LONGEST_ID));
    }

    #[test]
    fn an_id_that_would_spoil_a_log_line_is_replaced() {
        let long = [b'x'; LONGEST_ID + 1];
        for given in [
            &b""[..],
            b"two words",
            b"tab\t",
            "caf\u{e9}".as_bytes(),
            &long,
        ] {
            let made = answered(Some(given));
            assert!(Uuid::parse_str(&made).is_ok(), "{made}");
        }
        assert_ne!(answered(None), answered(None));
    }
}
