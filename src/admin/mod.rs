//! What operators and their machines ask over HTTP: health, and metrics.
//!
//! `/livez` answers as long as the process does: alive is not ready. `/readyz` answers 200 while
//! calls can be served: the database answers, takes writes and has the schema, the upstream accepts
//! the clock, and the process is not stopping. `/metrics` tells what was measured, in Prometheus' text
//! format, and asks nothing of the database: [`tell_state`] does, at its own pace.

mod incoming;
mod state;

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{
    store::{Error, Store},
    telemetry,
};

use self::incoming::Incoming;

pub use self::state::tell_state;

/// How long the database may take to answer before the process is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// As Prometheus wants its text format called.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether calls can be served.
#[derive(Clone, Debug)]
pub struct Health {
    store: Store,
    clock: watch::Receiver<bool>,
    stop: CancellationToken,
}

impl Health {
    /// Of a process that is not ready any more once `stop` is asked for.
    pub fn new(store: Store, clock: watch::Receiver<bool>, stop: CancellationToken) -> Self {
        Self { store, clock, stop }
    }
}

/// Serves until `end`.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    end: CancellationToken,
) -> anyhow::Result<()> {
    let routes = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(tell))
        .route("/metrics", get(measured))
        .with_state(health);
    axum::serve(Incoming::new(listener), routes)
        .with_graceful_shutdown(end.cancelled_owned())
        .await?;
    Ok(())
}

async fn tell(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match obstacle(&health.store, &health.clock).await {
        None => (StatusCode::OK, "ready\n"),
        Some(obstacle) => (StatusCode::SERVICE_UNAVAILABLE, obstacle),
    }
}

async fn measured() -> impl IntoResponse {
    (
        [(CONTENT_TYPE, PROMETHEUS_TEXT)],
        telemetry::metrics::text(),
    )
}

/// What keeps the process from serving calls well, as a line of text.
pub async fn obstacle(store: &Store, clock: &watch::Receiver<bool>) -> Option<&'static str> {
    match tokio::time::timeout(PATIENCE, store.check_schema()).await {
        Ok(Ok(())) if *clock.borrow() => None,
        Ok(Ok(())) => Some("the upstream refuses the clock of this machine; set it\n"),
        Ok(Err(Error::NotMigrated { .. })) => {
            Some("the schema of the database is older than this program; run `registrar migrate`\n")
        }
        Ok(Err(error)) if error.is_read_only() => Some(
            "the database takes no writes: it is a standby, or read-only by a setting; lead the \
             address to the primary\n",
        ),
        Ok(Err(_)) | Err(_) => Some("the database does not answer\n"),
    }
}
