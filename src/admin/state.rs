//! The state of the database as metrics: read by one task, told to whoever looks.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{ApplyStatus, Lane, Outcome, Phase, waiting::FailureScope},
    store::{State, Store},
    telemetry::metrics,
};

/// How long reading it may take, all queries together. A database that is slower has other worries.
const PATIENCE: Duration = Duration::from_secs(3);

/// Reads the state again and again until `end`. What was read last stays told while the database is
/// away, and how old it is, too.
pub async fn tell_state(store: Store, every: Duration, end: CancellationToken) {
    let mut read_at = Instant::now();
    let mut is_failing = false;
    while !end.is_cancelled() {
        match tokio::time::timeout(PATIENCE, read(&store)).await {
            Ok(Ok(state)) => {
                (read_at, is_failing) = (Instant::now(), false);
                tell(&state);
            }
            Ok(Err(_)) | Err(_) if is_failing => {}
            // Who cannot work without the database says aloud that it is away.
            Ok(Err(error)) => {
                is_failing = true;
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "the state cannot be read for metrics");
            }
            Err(_) => {
                is_failing = true;
                tracing::warn!(
                    patience_ms = PATIENCE.as_millis() as u64,
                    "the database takes too long to read its state for metrics; they grow old"
                );
            }
        }
        metrics().state_age.set(read_at.elapsed().as_secs_f64(), []);
        let pool = store.connections();
        metrics().pool.set(f64::from(pool.used), ["used"]);
        metrics().pool.set(f64::from(pool.idle), ["idle"]);
        metrics().pool_max.set(f64::from(pool.most), []);
        tokio::select! {
            () = end.cancelled() => {}
            () = tokio::time::sleep(every) => {}
        }
    }
}

async fn read(store: &Store) -> Result<State, crate::store::Error> {
    let connection = metrics().pool_wait.time([], store.connection()).await?;
    store.state(connection).await
}

/// Tells all of it, so that what there is none of any more is told as well.
fn tell(state: &State) {
    let metrics = metrics();
    for &status in &[
        ApplyStatus::Check,
        ApplyStatus::Create,
        ApplyStatus::CheckSuccess,
        ApplyStatus::CheckFailed,
    ] {
        metrics
            .applies
            .set(count(&state.applies, status), [status.as_str()]);
    }
    for (outcome, devices) in Outcome::ALL.into_iter().zip(state.devices) {
        metrics.devices.set(devices as f64, [outcome.as_str()]);
    }
    metrics.oldest_unsettled.set(state.oldest_unsettled, []);
    metrics.quiet.set(state.quiet, []);
    for &phase in Phase::ALL
        .iter()
        .filter(|phase| !matches!(phase, Phase::Held | Phase::Ended))
    {
        metrics
            .rounds
            .set(count(&state.rounds, phase), [phase.as_str()]);
    }
    for &lane in Lane::ALL {
        let now = state.lanes.iter().find(|one| one.lane == lane);
        let name = [lane.as_str()];
        metrics
            .rounds_due
            .set(now.map_or(0.0, |one| one.due as f64), name);
        metrics
            .rounds_overdue
            .set(now.map_or(0.0, |one| one.overdue as f64), name);
        metrics
            .oldest_due
            .set(now.map_or(0.0, |one| one.oldest_due), name);
        metrics.slowed.set(now.map_or(1.0, |one| one.slowed), name);
    }
    for scope in [
        FailureScope::Account,
        FailureScope::Lane,
        FailureScope::Product,
    ] {
        metrics
            .blocks
            .set(count(&state.blocks, scope), [scope.as_str()]);
    }
}

fn count<K: PartialEq>(counts: &[(K, i64)], of: K) -> f64 {
    counts
        .iter()
        .find(|(key, _)| *key == of)
        .map_or(0.0, |(_, count)| *count as f64)
}
