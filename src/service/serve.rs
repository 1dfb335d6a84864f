//! Serving: one listener, the API, reflection and health.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::future::{Either, FutureExt as _};
use http::{Request, Response};
use tokio::net::TcpListener;
use tonic::{body::Body, transport::Server};
use tower::layer::layer_fn;

use super::{
    Health, MAX_SMALL_MESSAGE, Service, Tls,
    access::Guard,
    observed::Observed,
    open::{Counted, Open},
    submissions::Api,
    tls::incoming,
    transport::Transport,
};
use crate::proto::{DESCRIPTORS, registrar_service_server::SERVICE_NAME};

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
    let api = Guard {
        service: service.clone(),
        inner: Counted::new(Api::new(service), open.clone()),
    };
    let incoming = incoming(listener, tls, options.max_connections as usize);
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(HEADERS)
        .http2_max_pending_accept_reset_streams(Some(RESETS))
        .http2_max_local_error_reset_streams(Some(ERRORS))
        .max_concurrent_streams(options.streams_per_connection)
        .max_connection_age(options.connection_age())
        .layer(layer_fn(|others| {
            let front = Front {
                api: api.clone(),
                others,
            };
            Observed::new(Transport::new(front, options.call_timeout))
        }))
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

/// Has the API answer by itself. The library's own routes put each answer into two more boxes, which
/// every message of a watch has to pass.
#[derive(Clone, Debug)]
struct Front<A, S> {
    api: A,
    others: S,
}

impl<A, S> tower::Service<Request<Body>> for Front<A, S>
where
    A: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<A::Future, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        match self.api.poll_ready(context) {
            Poll::Ready(Ok(())) => self.others.poll_ready(context),
            waits => waits,
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = request.uri().path().split('/').nth(1);
        match service == Some(SERVICE_NAME) {
            true => self.api.call(request).left_future(),
            false => self.others.call(request).right_future(),
        }
    }
}
