//! Serving: one listener, the API, reflection and health.

use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};
use tower::layer::layer_fn;

use super::{Health, MAX_SMALL_MESSAGE, Service, submissions::Api, transport::Transport};
use crate::proto::DESCRIPTORS;

/// A peer that is silent for so long is asked for a sign of life, and is gone if it gives none in
/// time. Watches may be silent for minutes, and proxies drop what is silent for longer.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves until the service is told to stop, then ends every watch with UNAVAILABLE and finishes
/// the other calls. Gives up on those after `grace`.
pub async fn serve(
    service: Service,
    listener: TcpListener,
    health: Health,
    grace: Duration,
) -> anyhow::Result<()> {
    let Service { options, stop, .. } = service.clone();
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
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(options.streams_per_connection)
        .layer(layer_fn(|services| {
            Transport::new(services, options.call_timeout)
        }))
        .add_service(Api::new(service))
        .add_service(health.server().max_decoding_message_size(MAX_SMALL_MESSAGE))
        .add_service(newest.max_decoding_message_size(MAX_SMALL_MESSAGE))
        .add_service(older.max_decoding_message_size(MAX_SMALL_MESSAGE))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            async {
                stop.cancelled().await;
                health.stop().await;
            },
        );
    tokio::select! {
        served = serving => served.context("serving the API"),
        () = async { stop.cancelled().await; tokio::time::sleep(grace).await } => {
            tracing::warn!(grace_ms = grace.as_millis() as u64, "calls were cut off by the stop");
            Ok(())
        }
    }
}
