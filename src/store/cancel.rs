//! Cancelling an apply.

use std::time::Duration;

use super::{AuditEntry, Error, Store, audit, blocks, follow, pool::Tx, read, seconds};
use crate::{
    breaking::{self, Fault, Point},
    domain::{
        Apply, ApplyId, ApplyStatus, Caller, RequestKey, Snapshot, apply::may_cancel, caller::Act,
    },
};

impl Store {
    /// Has nothing unsent of an apply sent any more, and ends at once every round that was not asked
    /// to register, fencing its lease. An apply that is past cancelling is returned unchanged.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "cancel"))]
    pub async fn cancel(
        &self,
        caller: &Caller,
        id: ApplyId,
        key: Option<&RequestKey>,
    ) -> Result<(Apply, Snapshot), Error> {
        if let Some(answer) = self.answered(caller, key).await? {
            return Ok(answer);
        }
        let mut connection = self.pool.connection().await?;
        let mut tx = connection.begin().await?;
        let mut locked = follow::Locked::lock(&mut tx, Some(caller), id).await?;
        if may_cancel(&locked.standing) {
            cancel(&mut tx, &mut locked).await?;
            let entry = AuditEntry {
                caller,
                what: Act::Cancel,
                apply: Some(id),
                detail: "",
            };
            audit::write(&mut tx, &entry).await?;
        }
        let answer = read::apply(&mut tx, caller, id)
            .await?
            .ok_or(Error::NoSuchApply(id))?;
        let committed = self
            .commit_answer(tx, "cancel", caller, key, answer)
            .await?;
        drop(connection);
        self.answer_or_first(caller, key, committed).await
    }

    /// Cancels applies that have waited for a caller for so long, up to `most` of them. Returns how
    /// many those were.
    pub async fn cancel_unregistered(&self, waited: Duration, most: i64) -> Result<u64, Error> {
        let ids = sqlx::query_scalar!(
            r#"SELECT apply_id FROM applies
               WHERE account = $1 AND status IN ('CHECK_SUCCESS', 'CHECK_FAILED')
                 AND updated_at < now() - make_interval(secs => $2)
               ORDER BY updated_at LIMIT $3"#,
            self.account,
            seconds(waited),
            most,
        )
        .fetch_all(&self.pool)
        .await?;
        // Somebody may have come for it meanwhile.
        self.cancel_those(&ids, |apply| {
            use ApplyStatus::{CheckFailed, CheckSuccess};
            matches!(apply.standing.status, CheckSuccess | CheckFailed)
        })
        .await
    }

    /// Cancels uploads that are not sealed and of which no device was stored for so long, up to
    /// `most` of them. Returns how many those were.
    pub async fn cancel_unsealed(&self, idle: Duration, most: i64) -> Result<u64, Error> {
        let ids = sqlx::query_scalar!(
            r#"SELECT apply_id FROM applies
               WHERE account = $1 AND NOT sealed AND status = 'CHECK'
                 AND stored_at < now() - make_interval(secs => $2)
               ORDER BY stored_at LIMIT $3"#,
            self.account,
            seconds(idle),
            most,
        )
        .fetch_all(&self.pool)
        .await?;
        self.cancel_those(&ids, |apply| {
            !apply.standing.sealed && apply.stored_ago > seconds(idle)
        })
        .await
    }

    /// Cancels those of these applies that are still to be, once they are locked. Returns how many.
    async fn cancel_those(
        &self,
        ids: &[i64],
        is_due: impl Fn(&follow::Locked) -> bool,
    ) -> Result<u64, Error> {
        let mut cancelled = 0;
        for id in ids.iter().copied().map(ApplyId) {
            let mut connection = self.pool.connection().await?;
            let mut tx = connection.begin().await?;
            let mut locked = match follow::Locked::lock(&mut tx, None, id).await {
                Err(Error::NoSuchApply(_)) => continue,
                locked => locked?,
            };
            if may_cancel(&locked.standing) && is_due(&locked) {
                cancel(&mut tx, &mut locked).await?;
                breaking::point(Point::ExpiryWritten);
                tx.commit().await?;
                breaking::point(Point::ExpiryCommitted);
                self.bell.ring();
                cancelled += 1;
            }
        }
        Ok(cancelled)
    }
}

async fn cancel(tx: &mut Tx<'_>, locked: &mut follow::Locked) -> Result<(), Error> {
    if !breaking::on(Fault::CancelUnfenced) {
        end_unsent(tx, locked.id).await?;
    }
    locked.standing.cancelling = true;
    locked.follow(tx, true).await?;
    match locked.standing.status.is_settled() {
        true => blocks::lift_unwaited(tx, locked.id).await,
        false => Ok(()),
    }
}

/// A round without an open intent ends; one whose request may be under way is asked after and not
/// sent again.
async fn end_unsent(tx: &mut Tx<'_>, apply: ApplyId) -> Result<(), Error> {
    sqlx::query!(
        r#"UPDATE rounds
           SET phase = CASE WHEN intent_at IS NULL THEN 'ENDED' ELSE 'REGISTERING' END,
               lease = CASE WHEN intent_at IS NULL THEN NULL ELSE lease END,
               due_at = CASE WHEN intent_at IS NULL THEN NULL ELSE due_at END
           FROM (SELECT round_no AS number FROM rounds
                 WHERE apply_id = $1
                   AND (phase IN ('CHECK', 'CHECKING', 'HELD', 'REGISTER', 'CHECK_IMPORT', 'IMPORT')
                        OR phase = 'LOOKUP' AND NOT accepted)
                 ORDER BY round_no FOR UPDATE) AS unsent
           WHERE apply_id = $1 AND round_no = number"#,
        apply.0,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}
