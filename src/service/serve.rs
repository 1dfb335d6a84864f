//! Serving: one listener, the API, reflection and health.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tokio::{net::TcpListener, sync::watch};
use tonic::{body::Body, server::NamedService, transport::Server};
use tower::layer::layer_fn;

use super::{
    Health, MAX_SMALL_MESSAGE, Service, Tls,
    access::Guard,
    observed::Observed,
    submissions::Api,
    tls::{Peer, Place, incoming},
    transport::Transport,
    upload,
};
use crate::proto::DESCRIPTORS;

/// The calls that may never end by themselves, because nobody reads what they answer.
const STREAMS: [&str; 3] = [
    "/registrar.v1.RegistrarService/WatchApply",
    "/registrar.v1.RegistrarService/ExportDevices",
    upload::PATH,
];

/// A peer that is silent for so long is asked for a sign of life, and is gone if it gives none in
/// time. Watches may be silent for minutes, and proxies drop what is silent for longer.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes that the headers of a call may have, each name and value with 32 more (RFC 9113, 6.5.2). A
/// token and what tracing adds take one or two thousand.
const HEADERS: u32 = 16 * 1024;

/// Streams that a peer may open and reset before they are looked at, and streams that may have to be
/// reset for its errors, on one connection; it is closed then. Who gives up a call does so later.
const RESETS: usize = 20;
const ERRORS: usize = 256;

/// When a server stops, its streams are told so at once, and have this long to take it: so many
/// short waits, begun anew whenever one of them has. Short, since a machine that stalls for longer
/// than all of them stalls for one, and then the watchers have the others.
const TAKEN_WITHIN: u32 = 20;
const SHORT_WAIT: Duration = Duration::from_millis(100);

/// Serves until the service is told to stop, then ends every watch, upload and export with
/// UNAVAILABLE and finishes the other calls. Gives up on those after `grace`, and on streams that
/// nobody reads some 2 s after the others are gone.
pub async fn serve(
    service: Service,
    listener: TcpListener,
    tls: Option<Tls>,
    health: Health,
    grace: Duration,
) -> anyhow::Result<()> {
    let (options, stop) = (&service.options.clone(), &service.stop.clone());
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that clients which ask for descriptors can show the details of an error.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let newest = reflection().build_v1().context("the API's descriptors")?;
    let older = reflection()
        .build_v1alpha()
        .context("the API's descriptors")?;
    let open = Open::default();
    let incoming = incoming(listener, tls, options.max_connections as usize);
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(HEADERS)
        .http2_max_pending_accept_reset_streams(Some(RESETS))
        .http2_max_local_error_reset_streams(Some(ERRORS))
        .max_concurrent_streams(options.streams_per_connection)
        .max_connection_age(options.connection_age())
        .layer(layer_fn(|services| {
            Observed::new(Transport::new(services, options.call_timeout))
        }))
        .add_service(Guard {
            service: service.clone(),
            inner: Counted {
                inner: Api::new(service),
                open: open.clone(),
            },
        })
        .add_service(health.server().max_decoding_message_size(MAX_SMALL_MESSAGE))
        .add_service(newest.max_decoding_message_size(MAX_SMALL_MESSAGE))
        .add_service(older.max_decoding_message_size(MAX_SMALL_MESSAGE))
        .serve_with_incoming_shutdown(incoming, async {
            stop.cancelled().await;
            health.stop().await;
        });
    tokio::select! {
        served = serving => served.context("serving the API"),
        () = async { stop.cancelled().await; open.only_unread_streams().await } => {
            tracing::info!("streams that nobody reads were cut off by the stop");
            Ok(())
        }
        () = async { stop.cancelled().await; tokio::time::sleep(grace).await } => {
            tracing::warn!(grace_ms = grace.as_millis() as u64, "calls were cut off by the stop");
            Ok(())
        }
    }
}

/// The calls that are not over yet.
#[derive(Clone, Debug, Default)]
struct Open {
    streams: watch::Sender<usize>,
    others: watch::Sender<usize>,
}

impl Open {
    /// Returns once there are no calls but streams that nobody reads, as far as can be seen.
    async fn only_unread_streams(&self) {
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

/// Counts the calls of a service, each until the last of its answer is handed to the transport.
#[derive(Clone, Debug)]
struct Counted<S> {
    inner: S,
    open: Open,
}

impl<S: NamedService> NamedService for Counted<S> {
    const NAME: &'static str = S::NAME;
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
        let counting = (counting, place.map(Place::call));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            Ok(answer.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    let _until_the_body_ends = &counting;
                    frame
                }))
            }))
        })
    }
}
