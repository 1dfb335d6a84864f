//! Cancelling what nobody registers, and removing what has settled long ago.

use std::{error::Error as StdError, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Error, Store, seconds};
use crate::{
    breaking::{self, Point},
    domain::ApplyId,
};

/// Applies looked at in one statement. Each may hold ten chunks, hundreds of calls and as many
/// events, which go with it.
const BATCH: i64 = 100;

/// How long such a statement may take. Nobody waits for it.
const AT_LEISURE: Duration = Duration::from_secs(300);

/// How long a block that was lifted is remembered: longer than any wait that it could have held up
/// is likely to last.
const LIFTED_BLOCKS: Duration = Duration::from_secs(7 * 86_400);

/// How long applies are kept.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Retention {
    /// How long an apply is kept after it has last changed, once it has settled. At least 1s
    #[arg(long, env = "REGISTRAR_RETAIN_FOR", default_value = "30d",
          value_parser = humantime::parse_duration)]
    pub retain_for: Duration,

    /// How long an apply waits in CHECK_SUCCESS or CHECK_FAILED for somebody to register it, before
    /// it is cancelled. At least 1s
    #[arg(long, env = "REGISTRAR_REGISTER_WITHIN", default_value = "7d",
          value_parser = humantime::parse_duration)]
    pub register_within: Duration,

    /// How long an upload that is not sealed waits for more devices, counted from when the last were
    /// stored, before it is cancelled. At least 1s
    #[arg(long, env = "REGISTRAR_UPLOAD_WITHIN", default_value = "24h",
          value_parser = humantime::parse_duration)]
    pub upload_within: Duration,

    /// How often to look for applies that are kept no longer. At least 1s
    #[arg(long, env = "REGISTRAR_RETENTION_EVERY", default_value = "10m",
          value_parser = humantime::parse_duration)]
    pub retention_every: Duration,

    /// How long the audit is kept: who changed what, who saw whose credentials. For good unless
    /// given. At least 1s
    #[arg(long, env = "REGISTRAR_RETAIN_AUDIT_FOR", value_parser = humantime::parse_duration)]
    pub retain_audit_for: Option<Duration>,
}

impl Retention {
    /// Refuses what would remove applies under the hands of their callers.
    pub fn check(&self) -> Result<(), String> {
        if self.retain_for < Duration::from_secs(1) {
            return Err("applies must be retained for at least 1s".into());
        }
        if self.register_within < Duration::from_secs(1) {
            return Err("applies must have at least 1s to be registered".into());
        }
        if self.upload_within < Duration::from_secs(1) {
            return Err("uploads must have at least 1s to go on".into());
        }
        let audit = self.retain_audit_for;
        if audit.is_some_and(|kept| kept < Duration::from_secs(1)) {
            return Err("the audit must be retained for at least 1s".into());
        }
        if self.retention_every < Duration::from_secs(1) {
            return Err("retention can look every 1s at most".into());
        }
        Ok(())
    }
}

/// What one batch came to.
struct Batch {
    last: Option<i64>,
    removed: i64,
    /// Whether all that was looked at is old, so that there may be more.
    old: bool,
}

impl Store {
    /// Removes what is kept no longer, now and then, until `stop`. Any number of processes may.
    pub async fn retain(&self, options: &Retention, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            match self.tidy(options, stop).await {
                Ok(()) => {}
                Err(error) => {
                    let error = &error as &dyn StdError;
                    tracing::warn!(error, "retention fails; it tries again at its next turn");
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(options.retention_every) => {}
            }
        }
    }

    async fn tidy(&self, options: &Retention, stop: &CancellationToken) -> Result<(), Error> {
        while !stop.is_cancelled() {
            match self
                .cancel_unregistered(options.register_within, BATCH)
                .await?
            {
                0 => break,
                applies => tracing::info!(applies, "applies that nobody registers are cancelled"),
            }
        }
        while !stop.is_cancelled() {
            match self.cancel_unsealed(options.upload_within, BATCH).await? {
                0 => break,
                applies => tracing::info!(applies, "uploads that do not go on are cancelled"),
            }
        }
        match self.remove_settled(options.retain_for, stop).await? {
            0 => {}
            applies => tracing::info!(applies, "applies that settled long ago are removed"),
        }
        if let Some(kept) = options.retain_audit_for {
            self.forget_audit(kept).await?;
        }
        self.forget_lifted_blocks(LIFTED_BLOCKS).await
    }

    /// Removes the applies that have settled and have not changed for so long, with all that is
    /// theirs, until `stop`. Returns how many those were.
    ///
    /// No index says when an apply last changed: it would cost every change. Numbers rise with
    /// time, so this walks the oldest applies and ends where they become younger than that.
    pub async fn remove_settled(
        &self,
        unchanged_for: Duration,
        stop: &CancellationToken,
    ) -> Result<u64, Error> {
        let (mut after, mut removed) = (0, 0);
        while !stop.is_cancelled() {
            let batch = self.remove_batch(after, unchanged_for).await?;
            removed += batch.removed as u64;
            match batch.last.filter(|_| batch.old) {
                Some(last) => after = last,
                None => break,
            }
        }
        Ok(removed)
    }

    async fn remove_batch(&self, after: i64, unchanged_for: Duration) -> Result<Batch, Error> {
        // Locked in their order, passing by what others hold: two processes do not wait for each
        // other, and an apply that someone has just asked to register is not old any more.
        let batch = sqlx::query_as!(
            Batch,
            r#"WITH batch AS (
                   SELECT apply_id, created_at FROM applies
                   WHERE apply_id > $1 ORDER BY apply_id LIMIT $2
               ), gone AS (
                   DELETE FROM applies WHERE apply_id IN (
                       SELECT apply_id FROM applies
                       WHERE apply_id > $1 AND apply_id <= (SELECT max(apply_id) FROM batch)
                         AND status NOT IN ('CHECK', 'CREATE')
                         AND updated_at < now() - make_interval(secs => $3)
                       ORDER BY apply_id
                       FOR UPDATE SKIP LOCKED)
                   RETURNING 1
               )
               SELECT (SELECT max(apply_id) FROM batch) AS last,
                      (SELECT count(*) FROM gone) AS "removed!",
                      (SELECT coalesce(bool_and(created_at < now() - make_interval(secs => $3)),
                                       false) FROM batch) AS "old!""#,
            after,
            BATCH,
            seconds(unchanged_for),
        )
        .fetch_one(&self.pool.with_patience(AT_LEISURE))
        .await?;
        if batch.removed > 0 {
            breaking::point(Point::Removed);
        }
        Ok(batch)
    }

    /// Those of these applies that do not exist any more.
    pub async fn missing(&self, applies: &[ApplyId]) -> Result<Vec<ApplyId>, Error> {
        let ids: Vec<i64> = applies.iter().map(|id| id.0).collect();
        let missing = sqlx::query_scalar!(
            r#"SELECT id AS "id!" FROM unnest($1::bigint[]) AS watched (id)
               WHERE NOT EXISTS (SELECT FROM applies WHERE apply_id = id)"#,
            &ids,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(missing.into_iter().map(ApplyId).collect())
    }
}
