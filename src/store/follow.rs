//! What follows for an apply, decided under its lock.

use time::OffsetDateTime;

use super::{Error, counted, pool::Tx, visible};
use crate::{
    breaking::{self, Fault},
    domain::{
        ApplyId, ApplyStatus, Caller, Corrupt, Counts, Outcome, Snapshot,
        apply::{Rounds, Standing, decide},
    },
};

/// How long a passed check is good for. The upstream does not say how long an ApplyId lives; a list
/// that was checked longer ago is checked again before it is registered.
pub(super) const CHECK_GOOD_FOR_SECONDS: f64 = 3600.0;

/// An apply whose row this transaction has locked.
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) id: ApplyId,
    pub(super) standing: Standing,
    /// The number of the latest stream that uploads it; 0 if it came otherwise.
    pub(super) uploads: i32,
    /// How many seconds ago its latest devices were stored.
    pub(super) stored_ago: f64,
}

impl Locked {
    /// Locks an apply until the transaction ends; for a caller, only one that it sees. That of
    /// another tenant is not even waited for.
    pub(super) async fn lock(
        tx: &mut Tx<'_>,
        caller: Option<&Caller>,
        id: ApplyId,
    ) -> Result<Self, Error> {
        let row = sqlx::query!(
            r#"SELECT status, after_check, sealed, cancelling, uploads,
                      extract(epoch FROM now() - stored_at)::float8 AS "stored_ago!",
                      total - valid - invalid - created - failed - unknown - cancelled AS "pending!",
                      valid, invalid, created, failed, unknown, cancelled
               FROM applies
               WHERE apply_id = $1
                 AND ($2::text IS NULL OR tenant = $2 AND product_key LIKE ANY ($3))
               FOR NO KEY UPDATE"#,
            id.0,
            caller.map(|caller| caller.tenant.as_str()),
            &caller.map(visible::products).unwrap_or_default(),
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(Error::NoSuchApply(id))?;
        let counts = Counts::from_array([
            row.pending,
            row.valid,
            row.invalid,
            row.created,
            row.failed,
            row.unknown,
            row.cancelled,
        ]);
        let standing = Standing {
            status: row.status.parse()?,
            after_check: row.after_check.parse()?,
            sealed: row.sealed,
            cancelling: row.cancelling,
            counts,
        };
        Ok(Self {
            id,
            standing,
            uploads: row.uploads,
            stored_ago: row.stored_ago,
        })
    }

    /// Decides the status that follows, releases held rounds if they may go on, and writes the
    /// event if there is something new to see.
    pub(super) async fn follow(
        &mut self,
        tx: &mut Tx<'_>,
        mut changed: bool,
    ) -> Result<Snapshot, Error> {
        let rounds = sqlx::query_as!(
            Rounds,
            r#"SELECT count(*) FILTER (WHERE NOT accepted
                                           AND phase IN ('CHECK', 'CHECKING', 'CHECK_IMPORT',
                                                         'LOOKUP')) AS "checking!",
                      count(*) FILTER (WHERE phase = 'HELD') AS "held!",
                      count(*) FILTER (WHERE accepted AND phase NOT IN ('UNRESOLVED', 'ENDED')) AS "moving!"
               FROM rounds WHERE apply_id = $1"#,
            self.id.0,
        )
        .fetch_one(&mut *tx)
        .await?;
        let decision = decide(&self.standing, rounds);
        if decision.release || !self.standing.sealed && breaking::on(Fault::SealNotAwaited) {
            release(tx, self.id).await?;
        }
        if decision.status != self.standing.status {
            changed = true;
            self.standing.status = decision.status;
            if decision.status == ApplyStatus::Cancelled {
                self.cancel_the_rest(tx).await?;
            }
        }
        if changed {
            self.write_event(tx).await
        } else {
            self.snapshot(tx).await
        }
    }

    /// The devices that are still open were not sent and will not be, nor will those that failed.
    async fn cancel_the_rest(&mut self, tx: &mut Tx<'_>) -> Result<(), Error> {
        sqlx::query!(
            r#"UPDATE chunks
               SET outcomes = translate(outcomes, 'PV', 'XX'),
                   secrets = NULL
               WHERE apply_id = $1
                 AND (secrets IS NOT NULL OR outcomes ~ '[PV]')"#,
            self.id.0,
        )
        .execute(&mut *tx)
        .await?;
        self.standing
            .counts
            .shift_all(Outcome::Pending, Outcome::Cancelled);
        self.standing
            .counts
            .shift_all(Outcome::Valid, Outcome::Cancelled);
        Ok(())
    }

    /// The apply as of its latest event, which is how it still stands.
    async fn snapshot(&self, tx: &mut Tx<'_>) -> Result<Snapshot, Error> {
        let row = sqlx::query!(
            "SELECT revision, updated_at FROM applies WHERE apply_id = $1",
            self.id.0,
        )
        .fetch_one(&mut *tx)
        .await?;
        Ok(self.standing_at(row.revision, row.updated_at))
    }

    fn standing_at(&self, revision: i64, at: OffsetDateTime) -> Snapshot {
        Snapshot {
            revision,
            status: self.standing.status,
            counts: self.standing.counts,
            cancelling: self.standing.cancelling,
            sealed: self.standing.sealed,
            at,
        }
    }

    /// Has the next event take the revision of the one before, or leave one out.
    async fn falsify_revision(&self, tx: &mut Tx<'_>) -> Result<(), Error> {
        let by = match () {
            () if breaking::on(Fault::RevisionRepeated) => -1,
            () if breaking::on(Fault::RevisionSkipped) => 1,
            () => return Ok(()),
        };
        sqlx::query(
            r#"WITH gone AS (
                   DELETE FROM events AS e USING applies AS a
                   WHERE a.apply_id = $1 AND e.apply_id = $1 AND e.revision = a.revision AND $2 < 0
               )
               UPDATE applies SET revision = revision + $2 WHERE apply_id = $1 AND revision > 1"#,
        )
        .bind(self.id.0)
        .bind(by)
        .execute(&mut *tx)
        .await?;
        Ok(())
    }

    /// Writes the apply as it stands now, and the same as its next event.
    async fn write_event(&self, tx: &mut Tx<'_>) -> Result<Snapshot, Error> {
        self.falsify_revision(tx).await?;
        let row = sqlx::query!(
            r#"WITH was AS (
                   SELECT * FROM applies WHERE apply_id = $1
               ), now_is AS (
                   UPDATE applies
                   SET status = $2, revision = revision + 1, updated_at = clock_timestamp(),
                       valid = $3, invalid = $4, created = $5, failed = $6, unknown = $7,
                       cancelled = $8, cancelling = $9, sealed = $10, total = $11,
                       stored_at = CASE WHEN total = $11 THEN stored_at ELSE now() END,
                       -- It ends with the last secret that it has sealed.
                       data_key = CASE WHEN data_key IS NOT NULL
                                            AND (NOT $10 AND $2 <> 'CANCELLED' OR EXISTS (
                                                 SELECT FROM chunks AS c
                                                 WHERE c.apply_id = $1 AND c.secrets IS NOT NULL))
                                       THEN data_key END
                   WHERE apply_id = $1
                   RETURNING *
               )
               INSERT INTO events (apply_id, revision, status, total, valid, invalid, created,
                                   failed, unknown, cancelled, cancelling, sealed, at)
               SELECT apply_id, revision, status, total, valid, invalid, created, failed, unknown,
                      cancelled, cancelling, sealed, updated_at
               FROM now_is
               RETURNING revision, at,
                         (SELECT status FROM was) AS "status_before!",
                         (SELECT ARRAY[total - valid - invalid - created - failed - unknown
                                           - cancelled,
                                       valid, invalid, created, failed, unknown, cancelled]
                          FROM was) AS "counts_before!""#,
            self.id.0,
            self.standing.status.as_str(),
            self.standing.counts.of(Outcome::Valid),
            self.standing.counts.of(Outcome::Invalid),
            self.standing.counts.of(Outcome::Created),
            self.standing.counts.of(Outcome::Failed),
            self.standing.counts.of(Outcome::Unknown),
            self.standing.counts.of(Outcome::Cancelled),
            self.standing.cancelling,
            self.standing.sealed,
            self.standing.counts.total(),
        )
        .fetch_one(&mut *tx)
        .await?;
        let counts_before: Option<[i32; 7]> = row.counts_before.try_into().ok();
        let before = counts_before
            .filter(|_| row.revision > 1)
            .map(|counts| Ok((row.status_before.parse()?, Counts::from_array(counts))))
            .transpose()
            .map_err(|corrupt: Corrupt| Error::from(corrupt))?;
        counted::count(before, self.standing.status, &self.standing.counts);
        Ok(self.standing_at(row.revision, row.at))
    }
}

/// Accepts the held rounds of an apply. Their turn stays that of the request that set them going.
pub(super) async fn release(tx: &mut Tx<'_>, apply: ApplyId) -> Result<(), Error> {
    sqlx::query!(
        r#"UPDATE rounds
           SET accepted = true, due_at = now(), attempts = 0, setbacks = 0, failing_since = NULL,
               phase = CASE WHEN import AND good THEN 'IMPORT'
                            WHEN import THEN 'CHECK_IMPORT'
                            WHEN good THEN 'REGISTER'
                            ELSE 'CHECK' END,
               upstream_apply_id = CASE WHEN good THEN upstream_apply_id END
           FROM (SELECT round_no AS number, a.import,
                        -- The check of an import has no number to go on under.
                        (upstream_apply_id IS NOT NULL OR a.import)
                        AND checked_at > now() - make_interval(secs => $2) AS good
                 FROM rounds AS r JOIN applies AS a USING (apply_id)
                 WHERE apply_id = $1 AND phase = 'HELD'
                 ORDER BY round_no FOR UPDATE OF r) AS held
           WHERE apply_id = $1 AND round_no = number"#,
        apply.0,
        CHECK_GOOD_FOR_SECONDS,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}
