//! Reading what changed.

use super::{Error, Store};
use crate::domain::{ApplyId, Counts, Snapshot};

/// Events read in one go; a reader that gets so many asks again. A look for ten thousand watched
/// applies stays within a few megabytes.
pub const EVENTS: usize = 10_000;

impl Store {
    /// The events of each of these applies after a revision of it, by rising revision. One query
    /// for all of them; at most 10,000 events, so that a reader who gets that many asks again.
    pub async fn events_after(
        &self,
        seen: &[(ApplyId, i64)],
    ) -> Result<Vec<(ApplyId, Snapshot)>, Error> {
        let (ids, revisions): (Vec<i64>, Vec<i64>) =
            seen.iter().map(|(id, revision)| (id.0, *revision)).unzip();
        let rows = sqlx::query!(
            r#"SELECT e.apply_id, e.revision, e.status, e.at, e.cancelling,
                      e.total - e.valid - e.invalid - e.created - e.failed - e.unknown
                          - e.cancelled AS "pending!",
                      e.valid, e.invalid, e.created, e.failed, e.unknown, e.cancelled
               FROM unnest($1::bigint[], $2::bigint[]) AS seen (apply_id, revision)
               CROSS JOIN LATERAL (
                   -- Bounded, so that no plan reads the whole table to join it.
                   SELECT * FROM events
                   WHERE events.apply_id = seen.apply_id AND events.revision > seen.revision
                   ORDER BY events.revision
                   LIMIT $3
               ) AS e
               ORDER BY e.apply_id, e.revision
               LIMIT $3"#,
            &ids,
            &revisions,
            EVENTS as i64,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let counts = Counts::from_array([
                    row.pending,
                    row.valid,
                    row.invalid,
                    row.created,
                    row.failed,
                    row.unknown,
                    row.cancelled,
                ]);
                let status = row.status.parse()?;
                let snapshot = Snapshot {
                    revision: row.revision,
                    status,
                    counts,
                    cancelling: row.cancelling,
                    at: row.at,
                };
                Ok((ApplyId(row.apply_id), snapshot))
            })
            .collect()
    }
}
