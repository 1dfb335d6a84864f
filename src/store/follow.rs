//! What follows for an apply, decided under its lock.

use sqlx::{Postgres, Transaction};

use super::{Error, counted};
use crate::domain::{
    ApplyId, ApplyStatus, Corrupt, Counts, Outcome, Snapshot,
    apply::{Rounds, Standing, decide},
};

/// How long a passed check is good for. The upstream does not say how long an ApplyId lives; a list
/// that was checked longer ago is checked again before it is registered.
pub(super) const CHECK_GOOD_FOR_SECONDS: f64 = 3600.0;

/// An apply whose row this transaction has locked.
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) id: ApplyId,
    pub(super) standing: Standing,
}

impl Locked {
    /// Locks an apply until the transaction ends.
    pub(super) async fn lock(
        tx: &mut Transaction<'_, Postgres>,
        id: ApplyId,
    ) -> Result<Self, Error> {
        let row = sqlx::query!(
            r#"SELECT status, after_check, sealed, cancelling,
                      total - valid - invalid - created - failed - unknown - cancelled AS "pending!",
                      valid, invalid, created, failed, unknown, cancelled
               FROM applies WHERE apply_id = $1 FOR NO KEY UPDATE"#,
            id.0,
        )
        .fetch_optional(&mut **tx)
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
        Ok(Self { id, standing })
    }

    /// Decides the status that follows, releases held rounds if they may go on, and writes the
    /// event if there is something new to see.
    pub(super) async fn follow(
        &mut self,
        tx: &mut Transaction<'_, Postgres>,
        mut changed: bool,
    ) -> Result<Snapshot, Error> {
        let rounds = sqlx::query_as!(
            Rounds,
            r#"SELECT count(*) FILTER (WHERE NOT accepted AND phase IN ('CHECK', 'CHECKING')) AS "checking!",
                      count(*) FILTER (WHERE phase = 'HELD') AS "held!",
                      count(*) FILTER (WHERE accepted AND phase NOT IN ('UNRESOLVED', 'ENDED')) AS "moving!"
               FROM rounds WHERE apply_id = $1"#,
            self.id.0,
        )
        .fetch_one(&mut **tx)
        .await?;
        let decision = decide(&self.standing, rounds);
        if decision.release {
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
            snapshot(tx, self.id).await
        }
    }

    /// The devices that are still open were not sent and will not be.
    async fn cancel_the_rest(&mut self, tx: &mut Transaction<'_, Postgres>) -> Result<(), Error> {
        sqlx::query!(
            r#"UPDATE chunks
               SET outcomes = array_replace(array_replace(outcomes, 'P', 'X'), 'V', 'X')
               WHERE apply_id = $1 AND outcomes && ARRAY['P', 'V']::"char"[]"#,
            self.id.0,
        )
        .execute(&mut **tx)
        .await?;
        self.standing
            .counts
            .shift_all(Outcome::Pending, Outcome::Cancelled);
        self.standing
            .counts
            .shift_all(Outcome::Valid, Outcome::Cancelled);
        Ok(())
    }

    /// Writes the apply as it stands now, and the same as its next event.
    async fn write_event(&self, tx: &mut Transaction<'_, Postgres>) -> Result<Snapshot, Error> {
        let row = sqlx::query!(
            r#"WITH was AS (
                   SELECT * FROM applies WHERE apply_id = $1
               ), now_is AS (
                   UPDATE applies
                   SET status = $2, revision = revision + 1, updated_at = clock_timestamp(),
                       valid = $3, invalid = $4, created = $5, failed = $6, unknown = $7,
                       cancelled = $8, cancelling = $9
                   WHERE apply_id = $1
                   RETURNING *
               )
               INSERT INTO events (apply_id, revision, status, total, valid, invalid, created,
                                   failed, unknown, cancelled, cancelling, at)
               SELECT apply_id, revision, status, total, valid, invalid, created, failed, unknown,
                      cancelled, cancelling, updated_at
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
        )
        .fetch_one(&mut **tx)
        .await?;
        let counts_before: Option<[i32; 7]> = row.counts_before.try_into().ok();
        let before = counts_before
            .filter(|_| row.revision > 1)
            .map(|counts| Ok((row.status_before.parse()?, Counts::from_array(counts))))
            .transpose()
            .map_err(|corrupt: Corrupt| Error::from(corrupt))?;
        counted::count(before, self.standing.status, &self.standing.counts);
        Ok(Snapshot {
            revision: row.revision,
            status: self.standing.status,
            counts: self.standing.counts,
            cancelling: self.standing.cancelling,
            at: row.at,
        })
    }
}

/// Accepts the held rounds of an apply. Their turn stays that of the request that set them going.
pub(super) async fn release(
    tx: &mut Transaction<'_, Postgres>,
    apply: ApplyId,
) -> Result<(), Error> {
    sqlx::query!(
        r#"UPDATE rounds
           SET accepted = true, due_at = now(), attempts = 0, setbacks = 0, failing_since = NULL,
               phase = CASE WHEN good THEN 'REGISTER' ELSE 'CHECK' END,
               upstream_apply_id = CASE WHEN good THEN upstream_apply_id END
           FROM (SELECT round_no AS number,
                        upstream_apply_id IS NOT NULL
                        AND checked_at > now() - make_interval(secs => $2) AS good
                 FROM rounds WHERE apply_id = $1 AND phase = 'HELD'
                 ORDER BY round_no FOR UPDATE) AS held
           WHERE apply_id = $1 AND round_no = number"#,
        apply.0,
        CHECK_GOOD_FOR_SECONDS,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn snapshot(tx: &mut Transaction<'_, Postgres>, id: ApplyId) -> Result<Snapshot, Error> {
    let (_, snapshot) = super::read::apply(&mut **tx, id)
        .await?
        .ok_or(Error::NoSuchApply(id))?;
    Ok(snapshot)
}
