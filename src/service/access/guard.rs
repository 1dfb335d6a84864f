//! Stands before the API and lets nobody through whom it does not know.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{Request, Response, header::AUTHORIZATION};
use tonic::body::Body;

use super::rights;
use crate::service::{Service, tls::Peer};

/// A service behind the guard.
#[derive(Clone, Debug)]
pub(in crate::service) struct Guard<S> {
    pub(in crate::service) inner: S,
    pub(in crate::service) service: Service,
}

impl<S> tower::Service<Request<Body>> for Guard<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get().cloned().unwrap_or(Peer::UNKNOWN);
        let identified = self.service.access.identify(request.headers(), &peer);
        let pass = match identified {
            Ok(pass) => pass,
            Err(refusal) => return Box::pin(async { Ok(refusal.into_http()) }),
        };
        if let Some(right) = rights::missing(request.uri().path(), pass.caller.rights) {
            let service = self.service.clone();
            return Box::pin(async move {
                let refusal = service.refuse(&pass.caller, right, None).await;
                Ok(refusal.into_http())
            });
        }
        // A token that was looked at goes no further.
        request.headers_mut().remove(AUTHORIZATION);
        request.extensions_mut().insert(pass);
        Box::pin(self.inner.call(request))
    }
}
