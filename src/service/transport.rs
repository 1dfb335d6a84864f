//! What stands before every call: what a call of gRPC must look like, how long it may take, and
//! refusals of the transport itself (too large, not readable, not known) in the words of this API.

mod call;
mod deadline;
mod words;

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tonic::body::Body;
use tower::Service;

use self::{call::Call, deadline::Deadline};

pub(super) use self::words::unreadable;

/// Stands before all services of the server.
#[derive(Clone, Debug)]
pub(super) struct Transport<S> {
    inner: S,
    call_timeout: Duration,
}

impl<S> Transport<S> {
    /// Gives each call at most `call_timeout`.
    pub(super) fn new(inner: S, call_timeout: Duration) -> Self {
        Self {
            inner,
            call_timeout,
        }
    }
}

impl<S> Service<Request<Body>> for Transport<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // Before anything else: the library's own clock of the call starts when this returns.
        let deadline = Deadline::of(request.headers(), self.call_timeout);
        // The clone has not been asked whether it is ready, so it stays here for the next call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            if let Some(refusal) = words::not_grpc(&request) {
                return Ok(refusal);
            }
            let call = Call::of(&request);
            match deadline.hold(inner.call(request)).await {
                Ok(Ok(response)) => Ok(words::in_our_words(response, call)),
                Err(too_slow) => Ok(too_slow.into_http()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::{domain::ApplyId, service::status, store::Error};

    /// Answers with what it was made with, or never.
    #[derive(Clone)]
    struct Answers(Option<Status>);

    impl Service<Request<Body>> for Answers {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            let status = self.0.clone();
            Box::pin(async {
                match status {
                    Some(status) => Ok(status.into_http()),
                    None => std::future::pending().await,
                }
            })
        }
    }

    fn request(path: &str) -> http::request::Builder {
        Request::post(path).header("content-type", "application/grpc")
    }

    async fn answer(answers: Answers, request: http::request::Builder) -> Status {
        let mut transport = Transport::new(answers, Duration::from_secs(60));
        let response = transport.call(request.body(Body::empty()).unwrap()).await;
        Status::from_header_map(response.unwrap().headers()).unwrap()
    }

    fn reason(status: &Status) -> String {
        status.get_details_error_info().unwrap().reason
    }

    #[tokio::test]
    async fn a_call_ends_with_the_deadline_of_the_caller() {
        let call = request("/a/B").header("grpc-timeout", "1m");
        let status = answer(Answers(None), call).await;

        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(reason(&status), "DEADLINE_EXCEEDED");
        let what_to_do = "with the same request_id and a longer deadline";
        assert!(status.message().contains(what_to_do), "{status}");
    }

    #[tokio::test]
    async fn a_call_ends_with_the_time_that_the_server_gives_it() {
        let mut transport = Transport::new(Answers(None), Duration::from_millis(1));
        let call = request("/a/B").header("grpc-timeout", "99S");
        let response = transport.call(call.body(Body::empty()).unwrap()).await;

        let status = Status::from_header_map(response.unwrap().headers()).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(reason(&status), "CALL_TIMEOUT");
    }

    #[tokio::test]
    async fn no_text_of_a_library_reaches_a_caller() {
        let library = Status::out_of_range("Error, decoded message length too large");
        let status = answer(Answers(Some(library)), request("/a/B")).await;

        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(reason(&status), "MESSAGE_TOO_LARGE");
    }

    #[tokio::test]
    async fn what_the_api_refuses_stays_as_it_is() {
        let ours = status::of(Error::NoSuchApply(ApplyId(7)));
        let status = answer(Answers(Some(ours.clone())), request("/a/B")).await;

        assert_eq!(
            (status.code(), status.message()),
            (ours.code(), ours.message())
        );
        assert_eq!(status.details(), ours.details());
    }

    #[tokio::test]
    async fn what_is_not_grpc_gets_no_further() {
        let json = Request::post("/a/B").header("content-type", "application/json");
        let status = answer(Answers(None), json).await;

        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason(&status), "NOT_GRPC");
    }
}
