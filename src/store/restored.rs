//! A database that was restored to an older state has forgotten what was sent since.
//!
//! That is announced by an operator, or noticed: the rows are kept by another server than before, or
//! on another timeline. Either marks what is not finished: nothing of it that changes something
//! upstream is sent under what is remembered, but only once it was asked about anew.

use std::{
    io,
    sync::{Arc, Once},
    time::Duration,
};

use sqlx::{
    Connection as _, PgConnection, Postgres, Row as _, Transaction, postgres::PgConnectOptions,
};
use tokio::sync::Mutex;

use super::{Error, Store, pool::within};
use crate::breaking::{self, Point};

/// How long marking may take: it reads every apply and round that there is. Nobody works meanwhile.
const MARKED_WITHIN: Duration = Duration::from_secs(600);

/// A table or column that is not there: the schema is not up to date, which is told elsewhere.
const NOT_MIGRATED: [&str; 2] = ["42P01", "42703"];

/// What was marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    /// Applies that are not finished for good.
    pub applies: u64,
    /// Their rounds that have not ended.
    pub rounds: u64,
}

/// Which server, on which timeline.
#[derive(Debug, PartialEq, Eq)]
struct Keeper {
    system_identifier: i64,
    timeline: String,
}

impl Store {
    /// Marks what is not finished, since the database may be older than what was sent.
    ///
    /// May be repeated, and done while replicas serve: their steps in flight record nothing.
    pub async fn restored(&self) -> Result<Marked, Error> {
        // On a connection of its own, which takes its time.
        let mut on = PgConnection::connect_with(&self.connect).await?;
        let here = here(&mut on).await?;
        let mut tx = on.begin().await?;
        // In the order of whoever notices it at the same time.
        sqlx::query("SELECT FROM keeper FOR UPDATE")
            .execute(&mut *tx)
            .await?;
        let marked = mark(&mut tx).await?;
        if let Some((here, _)) = here {
            keep(&mut tx, &here).await?;
        }
        breaking::point(Point::RestoredWritten);
        tx.commit().await?;
        breaking::point(Point::RestoredCommitted);
        self.bell.ring();
        Ok(marked)
    }
}

/// Looks who keeps the rows. Clones share who marks them.
#[derive(Clone, Debug)]
pub(super) struct Lookout {
    connect: PgConnectOptions,
    /// Held while rows are marked.
    marking: Arc<Mutex<()>>,
}

impl Lookout {
    pub(super) fn new(connect: PgConnectOptions) -> Self {
        Self {
            connect,
            marking: Arc::default(),
        }
    }

    /// Looks who keeps the rows, on a connection that was not used yet; so nothing is done on another
    /// server before it is known to be another one, and what is not finished is marked.
    pub(super) async fn look(&self, on: &mut PgConnection) -> Result<(), sqlx::Error> {
        match here(on).await? {
            Some((here, Some(before))) if here != before => {
                self.mark().await?;
                match self::here(on).await? {
                    Some((here, Some(before))) if here != before => Err(not_marked()),
                    _ => Ok(()),
                }
            }
            Some((here, None)) => first(on, &here).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Has the rows marked, by one at a time and on a connection of its own: it may take longer than
    /// anybody waits for one, and goes on when they have gone.
    async fn mark(&self) -> Result<(), sqlx::Error> {
        let (alone, connect) = (
            self.marking.clone().lock_owned().await,
            self.connect.clone(),
        );
        let marks = async move {
            let _alone = alone;
            within(MARKED_WITHIN, async {
                let mut on = PgConnection::connect_with(&connect).await?;
                match here(&mut on).await? {
                    Some((here, Some(before))) if here != before => changed(&mut on, &here).await,
                    Some(_) | None => Ok(()),
                }
            })
            .await
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "bounded; what it leaves undone at the end of the process is rolled back"
        )]
        let marked = tokio::spawn(marks).await;
        marked.unwrap_or_else(|_| Err(not_marked()))
    }
}

fn not_marked() -> sqlx::Error {
    let text = "the rows are kept by another server than before and are not marked yet";
    sqlx::Error::Io(io::Error::other(text))
}

/// Whether asking again would tell no more: the rights, the functions or the tables are not there.
fn cannot_be_told(error: &dyn sqlx::error::DatabaseError) -> bool {
    const NOT_ALLOWED: [&str; 3] = ["42501", "42883", "0A000"];
    let code = error.code().unwrap_or_default();
    NOT_ALLOWED
        .iter()
        .chain(&NOT_MIGRATED)
        .any(|one| *one == code)
}

/// Who keeps the rows, and who did when that was last looked at. None where it cannot be told.
async fn here(on: &mut PgConnection) -> Result<Option<(Keeper, Option<Keeper>)>, sqlx::Error> {
    static TOLD: Once = Once::new();
    let asked = sqlx::query(
        r#"SELECT (SELECT system_identifier FROM pg_control_system()) AS here_id,
                  substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS here_timeline,
                  k.system_identifier AS kept_id, k.timeline AS kept_timeline
           FROM (SELECT) AS always LEFT JOIN keeper AS k ON k.one
           WHERE NOT pg_is_in_recovery()"#,
    )
    .fetch_optional(on)
    .await;
    let row = match asked {
        Err(sqlx::Error::Database(error)) if cannot_be_told(&*error) => {
            let code = error.code().unwrap_or_default().into_owned();
            if !NOT_MIGRATED.contains(&code.as_str()) {
                TOLD.call_once(|| {
                    tracing::warn!(
                        %code,
                        "the database does not say which server it is on, so a restored one is not \
                         noticed; announce it with `registrar reconcile --restored`"
                    );
                });
            }
            None
        }
        asked => asked?,
    };
    let Some(row) = row else { return Ok(None) };
    let here = Keeper {
        system_identifier: row.try_get("here_id")?,
        timeline: row.try_get("here_timeline")?,
    };
    let kept: Option<i64> = row.try_get("kept_id")?;
    let before = match kept {
        Some(system_identifier) => Some(Keeper {
            system_identifier,
            timeline: row.try_get("kept_timeline")?,
        }),
        None => None,
    };
    Ok(Some((here, before)))
}

/// The first look at all.
async fn first(on: &mut PgConnection, here: &Keeper) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"INSERT INTO keeper (system_identifier, timeline) VALUES ($1, $2)
           ON CONFLICT DO NOTHING"#,
        here.system_identifier,
        here.timeline,
    )
    .execute(on)
    .await?;
    Ok(())
}

/// Somebody else keeps the rows now. Of several that notice it the first marks them.
async fn changed(on: &mut PgConnection, here: &Keeper) -> Result<(), sqlx::Error> {
    let mut tx = on.begin().await?;
    let kept = sqlx::query!("SELECT system_identifier, timeline FROM keeper FOR UPDATE")
        .fetch_one(&mut *tx)
        .await?;
    if kept.system_identifier == here.system_identifier && kept.timeline == here.timeline {
        return tx.rollback().await;
    }
    let marked = mark(&mut tx).await?;
    keep(&mut tx, here).await?;
    breaking::point(Point::RestoredWritten);
    tx.commit().await?;
    breaking::point(Point::RestoredCommitted);
    tracing::warn!(
        applies = marked.applies,
        rounds = marked.rounds,
        timeline = here.timeline,
        "the database is on another server or timeline than before and may be older than what was \
         sent: what is under way is asked about before anything of it is sent"
    );
    Ok(())
}

async fn keep(tx: &mut Transaction<'_, Postgres>, here: &Keeper) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"INSERT INTO keeper (system_identifier, timeline) VALUES ($1, $2)
           ON CONFLICT (one) DO UPDATE
           SET system_identifier = excluded.system_identifier, timeline = excluded.timeline,
               since = now()"#,
        here.system_identifier,
        here.timeline,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Marks the applies that are not finished for good, and puts back what their rounds would send next.
///
/// A round that is remembered as not asked to be registered may have been, under its number or under
/// one that is forgotten. It is checked anew, whatever its check had come to, so that devices that
/// exist by now turn up; one that waits for its apply's decision is so once it is accepted. One that
/// was asked is asked after, as after any lost answer.
async fn mark(tx: &mut Transaction<'_, Postgres>) -> Result<Marked, sqlx::Error> {
    let applies = sqlx::query!(
        r#"UPDATE applies SET restored = true
           WHERE status NOT IN ('CREATE_SUCCESS', 'CANCELLED') AND NOT restored"#
    )
    .execute(&mut **tx)
    .await?
    .rows_affected();
    let rounds = sqlx::query!(
        r#"UPDATE rounds AS r
           SET phase = CASE WHEN phase IN ('CHECKING', 'REGISTER') AND intent_at IS NULL THEN 'CHECK'
                            WHEN phase = 'REGISTER' THEN 'REGISTERING'
                            WHEN phase = 'IMPORT' THEN 'CHECK_IMPORT'
                            ELSE phase END,
               upstream_apply_id = CASE WHEN NOT unsent THEN upstream_apply_id END,
               checked_at = CASE WHEN NOT unsent THEN checked_at END,
               nameless = 0, attempts = 0, setbacks = 0, failing_since = NULL,
               lease = NULL,
               due_at = CASE WHEN due_at IS NOT NULL THEN now() END,
               -- What it waits for has its time anew.
               asked_at = CASE WHEN asked_at IS NOT NULL THEN now() END
           FROM (SELECT r.apply_id, round_no,
                        phase IN ('CHECK', 'CHECKING', 'HELD', 'CHECK_IMPORT', 'IMPORT')
                        OR phase = 'REGISTER' AND intent_at IS NULL AS unsent
                 FROM rounds AS r JOIN applies AS a USING (apply_id)
                 WHERE phase <> 'ENDED' AND a.restored
                   AND a.status NOT IN ('CREATE_SUCCESS', 'CANCELLED')
                 -- As they are once they are held: claims go on meanwhile.
                 ORDER BY r.apply_id, round_no FOR NO KEY UPDATE OF r) AS open
           WHERE r.apply_id = open.apply_id AND r.round_no = open.round_no"#
    )
    .execute(&mut **tx)
    .await?
    .rows_affected();
    // Numbers that were given out since are not given out again. A gap costs nothing.
    sqlx::query(
        r#"SELECT setval(number, nextval(number) + 1000000)
           FROM (SELECT pg_get_serial_sequence('applies', 'apply_id')::regclass AS number) AS one"#,
    )
    .execute(&mut **tx)
    .await?;
    Ok(Marked { applies, rounds })
}
