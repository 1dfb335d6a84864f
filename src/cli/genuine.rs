//! Lets only answers of a gRPC server through to the generated client.
//!
//! A web server speaks HTTP/2 as well, and what the client would make of its pages is a riddle.

use std::task::{Context, Poll};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use tonic::{
    body::Body,
    codegen::{
        Service, StdError,
        http::{
            Request, Response, StatusCode,
            header::{AUTHORIZATION, CONTENT_TYPE},
        },
    },
    transport::Channel,
};

use super::credentials::Bearer;

/// A channel whose calls say who makes them, and whose answers are answers of a gRPC server.
#[derive(Clone, Debug)]
pub(super) struct Genuine {
    pub(super) channel: Channel,
    /// What is sent with each call.
    pub(super) bearer: Bearer,
    /// Where the server is, for what is said of it.
    pub(super) server: String,
}

/// Something answers that speaks HTTP and no gRPC.
#[derive(Debug, thiserror::Error)]
#[error("a web server answers at {server}, not a registrar (HTTP {status})")]
pub(super) struct NotGrpc {
    server: String,
    status: StatusCode,
}

impl NotGrpc {
    /// Whether it may be a proxy that waits for its server to come back.
    pub(super) fn is_passing(&self) -> bool {
        matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        )
    }

    /// The one that an error comes from.
    pub(super) fn of<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        causes.find_map(|cause| cause.downcast_ref())
    }
}

impl Service<Request<Body>> for Genuine {
    type Response = Response<Body>;
    type Error = StdError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context).map_err(StdError::from)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.bearer.header() {
            Ok(None) => {}
            Ok(Some(value)) => drop(request.headers_mut().insert(AUTHORIZATION, value)),
            Err(error) => return ready(Err(error.into())).boxed(),
        }
        let answer = self.channel.call(request);
        let server = self.server.clone();
        async move { genuine(answer.await?, server).map_err(StdError::from) }.boxed()
    }
}

fn genuine(answer: Response<Body>, server: String) -> Result<Response<Body>, NotGrpc> {
    let kind = answer.headers().get(CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let status = answer.status();
    if is_grpc {
        Ok(answer)
    } else {
        Err(NotGrpc { server, status })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{failure, patience::is_passing};

    fn judged(status: u16, kind: Option<&str>) -> Result<Response<Body>, NotGrpc> {
        genuine(answer(status, kind), "http://host:1".into())
    }

    fn answer(status: u16, kind: Option<&str>) -> Response<Body> {
        let answer = Response::builder().status(status);
        let answer = match kind {
            Some(kind) => answer.header(CONTENT_TYPE, kind),
            None => answer,
        };
        answer.body(Body::empty()).unwrap()
    }

    #[test]
    fn a_web_server_is_told_for_what_it_is_and_not_asked_again() {
        let refused = judged(404, Some("text/html")).unwrap_err();
        let status = tonic::Status::from_error(Box::new(refused));

        assert_eq!(
            failure::while_doing("listing the applies", &status).to_string(),
            "listing the applies: a web server answers at http://host:1, not a registrar (HTTP \
             404 Not Found)\n  Give the port of the gRPC API, which is 50051 unless --listen says \
             otherwise; 9464 tells health, 8090 is the simulator"
        );
        assert!(!is_passing(&status));
        let refused = judged(502, Some("text/html")).unwrap_err();
        assert!(is_passing(&tonic::Status::from_error(Box::new(refused))));
    }

    #[test]
    fn only_grpc_gets_through() {
        assert!(judged(200, Some("application/grpc")).is_ok());
        assert!(judged(200, Some("application/grpc+proto")).is_ok());
        let refused = |status, kind| judged(status, kind).unwrap_err();

        assert_eq!(
            refused(404, None).to_string(),
            "a web server answers at http://host:1, not a registrar (HTTP 404 Not Found)"
        );
        assert!(!refused(200, Some("text/html")).is_passing());
        assert!(refused(503, Some("text/html")).is_passing());
    }
}
