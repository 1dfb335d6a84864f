//! Having UNKNOWN devices asked after at once.

use super::{AuditEntry, Error, Store, audit, follow::Locked, retry, visible};
use crate::domain::{ApplyId, ApplyStatus, Caller, caller::Act};

/// Applies that are set going in one call.
const APPLIES: usize = 100;

/// What was set going.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// Rounds that are due now and were not before.
    pub rounds: u64,
    /// Their applies, rising.
    pub applies: Vec<ApplyId>,
    /// The last apply that was looked at, if there may be others after it.
    pub next: Option<ApplyId>,
}

impl Store {
    /// Has the UNKNOWN devices of one apply, or of those that a caller sees with greater numbers than
    /// `after`, asked after at once. What is being asked after already is left alone.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "reconcile"))]
    pub async fn reconcile(
        &self,
        caller: &Caller,
        only: Option<ApplyId>,
        after: ApplyId,
    ) -> Result<Woken, Error> {
        let ids = match only {
            Some(id) => vec![id],
            None => self.unknown_of(caller, after).await?,
        };
        let mut woken = Woken {
            next: ids.get(APPLIES - 1).copied(),
            ..Woken::default()
        };
        for id in ids {
            let rounds = match self.wake(caller, id).await {
                // It was removed meanwhile.
                Err(Error::NoSuchApply(_)) if only.is_none() => 0,
                rounds => rounds?,
            };
            if rounds > 0 {
                woken.rounds += rounds;
                woken.applies.push(id);
            }
        }
        Ok(woken)
    }

    /// The next applies of a caller with rounds that could be asked after sooner.
    async fn unknown_of(&self, caller: &Caller, after: ApplyId) -> Result<Vec<ApplyId>, Error> {
        let ids = sqlx::query_scalar!(
            r#"SELECT DISTINCT apply_id AS "id!"
               FROM (SELECT apply_id FROM rounds
                     WHERE account = $1 AND due_at > now() AND lease IS NULL
                       AND phase IN ('UNKNOWN', 'LOOKUP')
                     UNION ALL
                     SELECT apply_id FROM rounds WHERE account = $1 AND phase = 'UNRESOLVED') AS r
               JOIN applies AS a USING (apply_id)
               WHERE apply_id > $2 AND a.tenant = $3 AND a.product_key LIKE ANY ($4)
                 AND a.status <> 'CANCELLED'
               ORDER BY 1 LIMIT $5"#,
            self.account,
            after.0,
            caller.tenant.as_str(),
            &visible::products(caller),
            APPLIES as i64,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().map(ApplyId).collect())
    }

    /// Has the rounds of one apply asked after. Returns how many were not to be by now.
    async fn wake(&self, caller: &Caller, id: ApplyId) -> Result<u64, Error> {
        let mut connection = self.pool.connection().await?;
        let mut tx = connection.begin().await?;
        let mut locked = Locked::lock(&mut tx, Some(caller), id).await?;
        if locked.standing.status == ApplyStatus::Cancelled {
            return Ok(0);
        }
        let sooner = sqlx::query!(
            r#"UPDATE rounds SET due_at = now()
               FROM (SELECT round_no AS number FROM rounds
                     WHERE apply_id = $1 AND phase IN ('UNKNOWN', 'LOOKUP')
                       AND due_at > now() AND lease IS NULL
                     ORDER BY round_no FOR UPDATE) AS later
               WHERE apply_id = $1 AND round_no = number"#,
            id.0,
        )
        .execute(&mut tx)
        .await?
        .rows_affected();
        let again = retry::ask_again(&mut tx, id).await?;
        if again > 0 && locked.standing.status == ApplyStatus::CreateFailed {
            locked.standing.status = ApplyStatus::Create;
            locked.follow(&mut tx, true).await?;
        }
        let rounds = sooner + again;
        if rounds == 0 {
            return Ok(0);
        }
        let entry = AuditEntry {
            caller,
            what: Act::Reconcile,
            apply: Some(id),
            detail: &format!("{rounds} rounds"),
        };
        audit::write(&mut tx, &entry).await?;
        self.commit(tx, "reconcile").await?;
        Ok(rounds)
    }
}
