//! What happens to a call before a message is read and after the transport has refused one.
//!
//! Bounds how many submissions are in memory and how long a call may take, and puts refusals of the
//! transport itself (too large, not readable, not known) into the words of this API.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use tokio::sync::Semaphore;
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

use super::{Options, status};

const SUBMISSION: &str = "/registrar.v1.RegistrarService/CheckDevices";

/// Stands before the API.
#[derive(Clone, Debug)]
pub(super) struct Transport<S> {
    inner: S,
    submissions: Arc<Semaphore>,
    call_timeout: Duration,
}

impl<S> Transport<S> {
    pub(super) fn new(inner: S, options: &Options) -> Self {
        let submissions = Arc::new(Semaphore::new(options.submissions_at_once as usize));
        Self {
            inner,
            submissions,
            call_timeout: options.call_timeout,
        }
    }
}

impl<S: NamedService> NamedService for Transport<S> {
    const NAME: &'static str = S::NAME;
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
        // The clone has not been asked whether it is ready, so it stays here for the next call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let submissions = self.submissions.clone();
        let call_timeout = self.call_timeout;
        Box::pin(async move {
            let answer = async {
                // Taken before the body is read: until then a caller holds no more than a window.
                let _permit = match request.uri().path() == SUBMISSION {
                    true => Some(submissions.acquire().await.expect("never closed")),
                    false => None,
                };
                inner.call(request).await
            };
            match tokio::time::timeout(call_timeout, answer).await {
                Ok(Ok(response)) => Ok(in_our_words(response)),
                Err(_) => Ok(status::too_slow(call_timeout).into_http()),
            }
        })
    }
}

/// Rewrites a refusal that has no details: ours all have.
fn in_our_words(response: Response<Body>) -> Response<Body> {
    let Some(refusal) = refusal_of_transport(response.headers()) else {
        return response;
    };
    let mut rewritten = status::of_transport(refusal.code()).into_http();
    // Says which encodings are known where the caller's is not.
    if let Some(encodings) = response.headers().get("grpc-accept-encoding") {
        rewritten
            .headers_mut()
            .insert("grpc-accept-encoding", encodings.clone());
    }
    rewritten
}

fn refusal_of_transport(headers: &HeaderMap) -> Option<Status> {
    let status = Status::from_header_map(headers)?;
    (status.code() != tonic::Code::Ok && status.details().is_empty()).then_some(status)
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::{domain::ApplyId, store::Error};

    /// Never answers.
    #[derive(Clone)]
    struct Silent;

    impl Service<Request<Body>> for Silent {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Pending<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            std::future::pending()
        }
    }

    fn status_after(status: Status) -> Status {
        let response = in_our_words(status.into_http());
        Status::from_header_map(response.headers()).unwrap()
    }

    #[tokio::test]
    async fn a_call_that_takes_too_long_is_ended_and_gives_its_place_to_the_next() {
        let options = Options {
            heartbeat: Duration::from_secs(15),
            streams_per_connection: 1,
            submissions_at_once: 1,
            call_timeout: Duration::from_millis(1),
        };
        let mut transport = Transport::new(Silent, &options);

        for _ in 0..2 {
            let request = Request::builder()
                .uri(SUBMISSION)
                .body(Body::empty())
                .unwrap();
            let response = transport.call(request).await.unwrap();

            let status = Status::from_header_map(response.headers()).unwrap();
            assert_eq!(status.code(), Code::DeadlineExceeded);
            assert_eq!(transport.submissions.available_permits(), 1);
        }
    }

    #[test]
    fn no_text_of_a_library_reaches_a_caller() {
        let status = status_after(Status::out_of_range(
            "Error, decoded message length too large",
        ));

        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("16 MiB"), "{status}");
        assert_eq!(
            status.get_details_error_info().unwrap().reason,
            "MESSAGE_TOO_LARGE"
        );
    }

    #[test]
    fn what_the_api_refuses_stays_as_it_is() {
        let status = status_after(status::of(Error::NoSuchApply(ApplyId(7))));

        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "apply 7 does not exist");
    }

    #[test]
    fn an_answer_passes_untouched() {
        assert!(refusal_of_transport(Response::new(Body::empty()).headers()).is_none());
    }
}
