//! What happened to an apply: its events and the calls made for it.

use time::OffsetDateTime;

use super::{Error, Store, events::EventRow, pool::Tx, read};
use crate::domain::{Apply, ApplyId, Caller, Snapshot};

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When and which: the place in the history.
    pub moment: Moment,
    /// What.
    pub what: Happened,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Happened {
    /// The apply changed visibly.
    Event(Snapshot),
    /// The upstream was called.
    Call {
        /// The action.
        action: String,
        /// The round that it was made for.
        round_no: i32,
        /// The upstream apply it was about or made.
        upstream_apply: Option<i64>,
        /// How long it took, in milliseconds.
        took_ms: i32,
        /// A status, OK, or the code or kind of the failure.
        result: String,
        /// What the failure said.
        message: Option<String>,
        /// The upstream's RequestId.
        request_id: Option<String>,
    },
}

/// A place in the history of an apply. No two entries share one, so it is where a page may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// When, to the microsecond.
    pub at: OffsetDateTime,
    /// Of a call, which precedes the event that it caused, 0; of an event 1.
    pub kind: i64,
    /// The number of the call, or the revision.
    pub number: i64,
}

impl Store {
    /// The apply as it is, and what happened to it after a moment (none: from the beginning), up
    /// to `limit` entries in their order. All of it is as of one time.
    ///
    /// A call is dated when it was made and recorded when it has ended. So one that ends while
    /// pages are read may belong before the page that comes next, and is then in none of them;
    /// whatever was recorded when the first page was read is in one of them.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "history"))]
    pub async fn history(
        &self,
        caller: &Caller,
        id: ApplyId,
        after: Option<Moment>,
        limit: u32,
    ) -> Result<(Apply, Snapshot, Vec<Entry>), Error> {
        let mut connection = self.pool.connection().await?;
        let mut tx = connection
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        let (apply, now) = read::apply(&mut tx, caller, id)
            .await?
            .ok_or(Error::NoSuchApply(id))?;
        let mut entries = events(&mut tx, id, after, limit).await?;
        entries.extend(calls(&mut tx, id, after, limit).await?);
        tx.commit().await?;
        entries.sort_by_key(|entry| entry.moment);
        entries.truncate(limit as usize);
        Ok((apply, now, entries))
    }
}

async fn events(
    tx: &mut Tx<'_>,
    id: ApplyId,
    after: Option<Moment>,
    limit: u32,
) -> Result<Vec<Entry>, Error> {
    let rows = sqlx::query_as!(
        EventRow,
        r#"SELECT cancelling, sealed, apply_id, revision, status, at,
                  total - valid - invalid - created - failed - unknown - cancelled AS "pending!",
                  valid, invalid, created, failed, unknown, cancelled, NULL::float8 AS age
           FROM events
           WHERE apply_id = $1 AND ($2::timestamptz IS NULL OR (at, 1::bigint, revision) > ($2, $3, $4))
           ORDER BY at, revision LIMIT $5"#,
        id.0,
        after.map(|moment| moment.at),
        after.map(|moment| moment.kind),
        after.map(|moment| moment.number),
        i64::from(limit),
    )
    .fetch_all(&mut *tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let (_, snapshot) = row.try_into()?;
            let moment = Moment {
                at: snapshot.at,
                kind: 1,
                number: snapshot.revision,
            };
            let what = Happened::Event(snapshot);
            Ok(Entry { moment, what })
        })
        .collect()
}

async fn calls(
    tx: &mut Tx<'_>,
    id: ApplyId,
    after: Option<Moment>,
    limit: u32,
) -> Result<Vec<Entry>, Error> {
    let rows = sqlx::query!(
        r#"SELECT call_no, round_no, action, upstream_apply_id, called_at, took_ms, result, message,
                  request_id
           FROM calls
           WHERE apply_id = $1
             AND ($2::timestamptz IS NULL OR (called_at, 0::bigint, call_no) > ($2, $3, $4))
           ORDER BY called_at, call_no LIMIT $5"#,
        id.0,
        after.map(|moment| moment.at),
        after.map(|moment| moment.kind),
        after.map(|moment| moment.number),
        i64::from(limit),
    )
    .fetch_all(&mut *tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Entry {
            moment: Moment {
                at: row.called_at,
                kind: 0,
                number: row.call_no,
            },
            what: Happened::Call {
                action: row.action,
                round_no: row.round_no,
                upstream_apply: row.upstream_apply_id,
                took_ms: row.took_ms,
                result: row.result,
                message: row.message,
                request_id: row.request_id,
            },
        })
        .collect())
}
