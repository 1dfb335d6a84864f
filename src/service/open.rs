//! The calls that are not over yet, each until the last of its answer is handed to the transport.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::sync::watch;
use tonic::body::Body;

use super::{
    tls::{Calling, Peer, Place},
    upload, watch as watching,
};

/// The calls that may never end by themselves, because nobody reads what they answer.
const STREAMS: [&str; 3] = [
    watching::PATH,
    "/registrar.v1.RegistrarService/ExportDevices",
    upload::PATH,
];

/// When a server stops, its streams are told so at once, and have this long to take it: so many
/// short waits, begun anew whenever one of them has. Short, since a machine that stalls for longer
/// than all of them stalls for one, and then the watchers have the others.
const TAKEN_WITHIN: u32 = 20;
const SHORT_WAIT: Duration = Duration::from_millis(100);

/// How many calls there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    streams: watch::Sender<usize>,
    others: watch::Sender<usize>,
}

impl Open {
    /// Returns once there are no calls but streams that nobody reads, as far as can be seen.
    pub(super) async fn only_unread_streams(&self) {
        let (mut streams, mut others) = (self.streams.subscribe(), self.others.subscribe());
        let mut waits = 0;
        while waits < TAKEN_WITHIN {
            let none = others.wait_for(|count| *count == 0).await;
            drop(none.expect("we keep the count"));
            tokio::select! {
                Ok(()) = streams.changed() => waits = 0,
                Ok(()) = others.changed() => waits = 0,
                () = tokio::time::sleep(SHORT_WAIT) => waits += 1,
            }
        }
    }
}

/// One of them, until this ends.
#[derive(Debug)]
struct Counting(watch::Sender<usize>);

impl Counting {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Keeps a call among those that are open. It is an extension of the answer, and whoever makes the
/// answer's body keeps it for as long as that.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    _call: Arc<(Counting, Option<Calling>)>,
}

/// Counts the calls of a service.
#[derive(Clone, Debug)]
pub(super) struct Counted<S> {
    inner: S,
    open: Open,
}

impl<S> Counted<S> {
    pub(super) fn new(inner: S, open: Open) -> Self {
        Self { inner, open }
    }
}

impl<S> tower::Service<Request<Body>> for Counted<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let counting = Counting::new(match STREAMS.contains(&request.uri().path()) {
            true => &self.open.streams,
            false => &self.open.others,
        });
        let place = request
            .extensions()
            .get::<Peer>()
            .and_then(|peer| peer.place.clone());
        let kept = Kept {
            _call: Arc::new((counting, place.map(Place::call))),
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            answer.extensions_mut().insert(kept);
            Ok(answer)
        })
    }
}
