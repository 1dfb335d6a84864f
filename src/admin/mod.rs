//! Health over HTTP: alive is not ready.
//!
//! `/livez` answers as long as the process does. `/readyz` answers 200 while calls can be served:
//! the database answers and the process is not stopping.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// How long the database may take to answer before the process is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Health {
    store: Store,
    stop: CancellationToken,
}

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let health = Health {
        store,
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
    if is_ready(&health.store).await {
        (StatusCode::OK, "ready\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the database does not answer\n",
        )
    }
}

/// Whether the database answers.
pub async fn is_ready(store: &Store) -> bool {
    matches!(
        tokio::time::timeout(PATIENCE, store.ping()).await,
        Ok(Ok(()))
    )
}
