//! Request ids: the same request gets the same answer, however often it is sent.
//!
//! An answer is one event of one apply. It is written in the transaction that does what was asked,
//! so that either both are there after a crash or neither is.

use super::{Error, Store, pool::Tx, read};
use crate::{
    breaking::{self, Fault, Point},
    domain::{Apply, ApplyId, Caller, RequestKey, Snapshot},
};

impl Store {
    /// What the content of a request was remembered by, if it was.
    pub async fn fingerprint_of(
        &self,
        caller: &Caller,
        key: &RequestKey,
    ) -> Result<Option<Vec<u8>>, Error> {
        let fingerprint = sqlx::query_scalar!(
            "SELECT fingerprint FROM requests WHERE tenant = $1 AND request_id = $2",
            caller.tenant.as_str(),
            key.id,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(fingerprint)
    }

    /// The answer that a request was given before, if it was.
    pub(super) async fn answered(
        &self,
        caller: &Caller,
        key: Option<&RequestKey>,
    ) -> Result<Option<(Apply, Snapshot)>, Error> {
        let Some(key) = key else { return Ok(None) };
        if breaking::on(Fault::RequestForgotten) {
            return Ok(None);
        }
        let row = sqlx::query!(
            r#"SELECT fingerprint, apply_id, revision FROM requests
               WHERE tenant = $1 AND request_id = $2"#,
            caller.tenant.as_str(),
            key.id,
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        if row.fingerprint != key.fingerprint.0 {
            return Err(Error::RequestReused {
                request_id: key.id.clone(),
            });
        }
        let id = ApplyId(row.apply_id);
        let (apply, now) = read::apply(&self.pool, caller, id)
            .await?
            .ok_or(Error::NoSuchApply(id))?;
        let then = self.events_after(&[(id, row.revision - 1)]).await?;
        let answer = then
            .into_iter()
            .map(|(_, event)| event)
            .next()
            .unwrap_or(now);
        Ok(Some((apply, answer)))
    }

    /// Commits what was done for a request, and its answer with it. If the same request was
    /// answered meanwhile, nothing is committed and none is returned.
    pub(super) async fn commit_answer(
        &self,
        mut tx: Tx<'_>,
        what: &str,
        caller: &Caller,
        key: Option<&RequestKey>,
        answer: (Apply, Snapshot),
    ) -> Result<Option<(Apply, Snapshot)>, Error> {
        if let Some(key) = key
            && !remember(&mut tx, caller, key, answer.0.id, answer.1.revision).await?
        {
            tx.rollback().await?;
            return Ok(None);
        }
        self.commit(tx, what).await?;
        Ok(Some(answer))
    }

    /// The answer that was committed, or that of whoever was first. The caller holds no connection:
    /// this takes one.
    pub(super) async fn answer_or_first(
        &self,
        caller: &Caller,
        key: Option<&RequestKey>,
        committed: Option<(Apply, Snapshot)>,
    ) -> Result<(Apply, Snapshot), Error> {
        match (committed, key) {
            (None, Some(key)) => self.answer_of_the_first(caller, key).await,
            (committed, _) => committed.ok_or(Error::RequestLost),
        }
    }

    /// Commits what a caller asked for, and rings.
    pub(super) async fn commit(&self, tx: Tx<'_>, what: &str) -> Result<(), Error> {
        breaking::point_of(Point::RequestWritten, what);
        tx.commit().await?;
        breaking::point_of(Point::RequestCommitted, what);
        self.bell.ring();
        breaking::point_of(Point::RequestAnswering, what);
        Ok(())
    }

    /// The answer of whoever was first with a request.
    pub(super) async fn answer_of_the_first(
        &self,
        caller: &Caller,
        key: &RequestKey,
    ) -> Result<(Apply, Snapshot), Error> {
        // It was committed, or the insert would not have met it; it can only have been removed.
        self.answered(caller, Some(key))
            .await?
            .ok_or(Error::RequestLost)
    }
}

/// Remembers a request with its answer. False if another transaction was first; it has committed
/// by then.
pub(super) async fn remember(
    tx: &mut Tx<'_>,
    caller: &Caller,
    key: &RequestKey,
    apply: ApplyId,
    revision: i64,
) -> Result<bool, Error> {
    if breaking::on(Fault::RequestForgotten) {
        return Ok(true);
    }
    let done = sqlx::query!(
        r#"INSERT INTO requests (tenant, request_id, fingerprint, apply_id, revision)
           VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT DO NOTHING"#,
        caller.tenant.as_str(),
        key.id,
        &key.fingerprint.0[..],
        apply.0,
        revision,
    )
    .execute(&mut *tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
