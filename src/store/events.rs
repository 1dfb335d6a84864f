//! Reading what changed.

use std::time::Duration;

use time::OffsetDateTime;

use super::{Error, Store};
use crate::domain::{ApplyId, Corrupt, Counts, Snapshot};

/// Events read in one go; a reader that gets so many asks again. A look for ten thousand watched
/// applies stays within a few megabytes.
pub const EVENTS: usize = 10_000;

/// An event as it is selected.
pub(super) struct EventRow {
    pub(super) apply_id: i64,
    pub(super) revision: i64,
    pub(super) status: String,
    pub(super) at: OffsetDateTime,
    pub(super) pending: i32,
    pub(super) valid: i32,
    pub(super) invalid: i32,
    pub(super) created: i32,
    pub(super) failed: i32,
    pub(super) unknown: i32,
    pub(super) cancelled: i32,
    pub(super) cancelling: bool,
    pub(super) sealed: bool,
    /// Seconds since it was written, where that was asked for.
    pub(super) age: Option<f64>,
}

/// Events of applies, each of which may be unreadable.
pub type Events = Vec<(ApplyId, Result<Snapshot, Corrupt>)>;

impl TryFrom<EventRow> for (ApplyId, Snapshot) {
    type Error = Corrupt;

    fn try_from(row: EventRow) -> Result<Self, Corrupt> {
        let counts = Counts::from_array([
            row.pending,
            row.valid,
            row.invalid,
            row.created,
            row.failed,
            row.unknown,
            row.cancelled,
        ]);
        let snapshot = Snapshot {
            revision: row.revision,
            status: row.status.parse()?,
            counts,
            cancelling: row.cancelling,
            sealed: row.sealed,
            at: row.at,
        };
        Ok((ApplyId(row.apply_id), snapshot))
    }
}

impl Store {
    /// The events of each of these applies after a revision of it, by rising revision. At most
    /// 10,000 events, so that a reader who gets that many asks again. Fails if one cannot be read.
    pub async fn events_after(
        &self,
        seen: &[(ApplyId, i64)],
    ) -> Result<Vec<(ApplyId, Snapshot)>, Error> {
        let read = self.each_event_after(seen).await?;
        Ok(read
            .into_iter()
            .map(|(apply, event)| Ok((apply, event?)))
            .collect::<Result<_, Corrupt>>()?)
    }

    /// The same, where an event that cannot be read (a newer version wrote a word that this one
    /// does not know) is an error in its place. One query for all applies.
    pub async fn each_event_after(&self, seen: &[(ApplyId, i64)]) -> Result<Events, Error> {
        Ok(self.each_event_with_age(seen).await?.0)
    }

    /// The same, and how long before they were read they were written.
    pub async fn each_event_with_age(
        &self,
        seen: &[(ApplyId, i64)],
    ) -> Result<(Events, Vec<Duration>), Error> {
        let (ids, revisions): (Vec<i64>, Vec<i64>) =
            seen.iter().map(|(id, revision)| (id.0, *revision)).unzip();
        let rows = sqlx::query_as!(
            EventRow,
            r#"SELECT e.apply_id, e.revision, e.status, e.at, e.cancelling, e.sealed,
                      e.total - e.valid - e.invalid - e.created - e.failed - e.unknown
                          - e.cancelled AS "pending!",
                      e.valid, e.invalid, e.created, e.failed, e.unknown, e.cancelled,
                      extract(epoch FROM clock_timestamp() - e.at)::float8 AS age
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
        let read = rows.into_iter().map(|row| {
            let apply = ApplyId(row.apply_id);
            let age = Duration::from_secs_f64(row.age.unwrap_or_default().max(0.0));
            ((apply, row.try_into().map(|(_, event)| event)), age)
        });
        Ok(read.unzip())
    }
}
