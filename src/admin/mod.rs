//! Health over HTTP: alive is not ready.
//!
//! `/livez` answers as long as the process does. `/readyz` answers 200 while calls can be served:
//! the database answers, the upstream accepts the clock and the process is not stopping.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// How long the database may take to answer before the process is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Health {
    store: Store,
    clock: watch::Receiver<bool>,
    stop: CancellationToken,
}

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    clock: watch::Receiver<bool>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let health = Health {
        store,
        clock,
        stop: stop.clone(),
    };
    let routes = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(tell))
        .with_state(health);
    axum::serve(listener, routes)
        .with_graceful_shutdown(stop.cancelled_owned())
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

/// What keeps the process from serving calls well, as a line of text.
pub async fn obstacle(store: &Store, clock: &watch::Receiver<bool>) -> Option<&'static str> {
    let ping = tokio::time::timeout(PATIENCE, store.ping()).await;
    match ping {
        Ok(Ok(())) if *clock.borrow() => None,
        Ok(Ok(())) => Some("the upstream refuses the clock of this machine; set it\n"),
        Ok(Err(_)) | Err(_) => Some("the database does not answer\n"),
    }
}
