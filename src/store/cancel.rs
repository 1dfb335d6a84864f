//! Cancelling an apply.

use sqlx::{Postgres, Transaction};

use super::{Error, Store, follow, read};
use crate::domain::{Apply, ApplyId, RequestKey, Snapshot, apply::may_cancel};

impl Store {
    /// Has nothing unsent of an apply sent any more, and ends at once every round that was not asked
    /// to register, fencing its lease. An apply that is past cancelling is returned unchanged.
    pub async fn cancel(
        &self,
        id: ApplyId,
        key: Option<&RequestKey>,
    ) -> Result<(Apply, Snapshot), Error> {
        if let Some(answer) = self.answered(key).await? {
            return Ok(answer);
        }
        let mut tx = self.pool.begin().await?;
        let mut locked = follow::Locked::lock(&mut tx, id).await?;
        if may_cancel(&locked.standing) {
            end_unsent(&mut tx, id).await?;
            locked.standing.cancelling = true;
            locked.follow(&mut tx, true).await?;
        }
        let answer = read::apply(&mut *tx, id)
            .await?
            .ok_or(Error::NoSuchApply(id))?;
        self.commit_answer(tx, key, answer).await
    }
}

/// A round without an open intent ends; one whose request may be under way is asked after and not
/// sent again.
async fn end_unsent(tx: &mut Transaction<'_, Postgres>, apply: ApplyId) -> Result<(), Error> {
    sqlx::query!(
        r#"UPDATE rounds
           SET phase = CASE WHEN intent_at IS NULL THEN 'ENDED' ELSE 'REGISTERING' END,
               lease = CASE WHEN intent_at IS NULL THEN NULL ELSE lease END,
               due_at = CASE WHEN intent_at IS NULL THEN NULL ELSE due_at END
           FROM (SELECT round_no AS number FROM rounds
                 WHERE apply_id = $1 AND phase IN ('CHECK', 'CHECKING', 'HELD', 'REGISTER')
                 ORDER BY round_no FOR UPDATE) AS unsent
           WHERE apply_id = $1 AND round_no = number"#,
        apply.0,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
