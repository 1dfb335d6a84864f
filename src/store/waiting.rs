//! What an apply waits for, read from its rounds, the blocks on them and its latest call.

use super::{Error, Store};
use crate::domain::{
    Apply, ApplyId, Lane, Snapshot,
    waiting::{FailureScope, InPhase, LastFailure, Waiting, waiting},
};

/// Said instead of what only another tenant is told.
const OF_OTHERS: &str = "it has met other applies of the account";

impl Store {
    /// What an apply that stands so waits for now. Whoever has the apply was shown it.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "waiting"))]
    pub async fn waiting(&self, apply: &Apply, now: &Snapshot) -> Result<Option<Waiting>, Error> {
        let id = apply.id;
        let Snapshot { status, counts, .. } = *now;
        if status.is_settled() {
            return Ok(waiting(status, &counts, &[], None, None));
        }
        if !now.sealed {
            return Ok(Some(Waiting::for_upload(counts.total())));
        }
        let rows = sqlx::query!(
            r#"SELECT phase, count(*) AS "rounds!",
                      count(*) FILTER (WHERE attempts + setbacks > 0 AND lease IS NULL) AS "failing!",
                      -- One that is overdue has no time that anybody knows.
                      CASE WHEN min(due_at) > now() THEN min(due_at) END AS due_at,
                      min(asked_at) AS since
               FROM rounds WHERE apply_id = $1 AND phase <> 'ENDED' GROUP BY phase"#,
            id.0,
        )
        .fetch_all(&self.pool)
        .await?;
        let phases: Vec<InPhase> = rows
            .into_iter()
            .map(|row| {
                let phase = row.phase.parse()?;
                Ok(InPhase {
                    phase,
                    rounds: row.rounds,
                    failing: row.failing,
                    due_at: row.due_at,
                    since: row.since,
                })
            })
            .collect::<Result<_, Error>>()?;
        let lanes: Vec<_> = phases.iter().filter_map(|one| one.phase.lane()).collect();
        let block = self.block_on(id, &lanes).await?;
        let mut failure = self.last_failure(id).await?;
        let overdue = phases
            .iter()
            .filter(|one| one.due_at.is_none())
            .filter_map(|one| one.phase.lane());
        let overdue: Vec<_> = overdue.map(Lane::as_str).collect();
        if failure.is_none() && !overdue.is_empty() {
            failure = self.failure_of_others(id, &overdue).await?;
        }
        Ok(waiting(
            status,
            &counts,
            &phases,
            block.as_ref(),
            failure.as_ref(),
        ))
    }

    /// The latest call of these lanes by any apply, if it failed lately and for no reason of that
    /// apply: what an apply has met that was never called itself. What the upstream said then of
    /// another tenant's apply is for that tenant alone.
    async fn failure_of_others(
        &self,
        id: ApplyId,
        lanes: &[&str],
    ) -> Result<Option<LastFailure>, Error> {
        let row = sqlx::query!(
            r#"SELECT c.action, c.result, c.scope, c.judged,
                      CASE WHEN a.tenant = own.tenant THEN c.message END AS message
               FROM calls AS c JOIN applies AS a USING (apply_id)
               JOIN applies AS own ON own.apply_id = $3
               -- A refused clock is measured once a minute.
               WHERE c.called_at > now() - interval '2 minutes' AND c.action = ANY ($2)
                 AND a.account = $1
               ORDER BY c.called_at DESC LIMIT 1"#,
            self.account,
            lanes as &[&str],
            id.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some((row, scope)) = row.and_then(|mut row| row.scope.take().map(|scope| (row, scope)))
        else {
            return Ok(None);
        };
        let failure = LastFailure {
            action: row.action,
            code: row.result,
            message: row.message.unwrap_or_else(|| OF_OTHERS.to_owned()),
            scope: scope.parse()?,
        };
        let is_everyones = failure.scope == FailureScope::Clock || !row.judged;
        Ok(Some(failure).filter(|_| is_everyones))
    }

    /// The latest call of an apply, if it failed.
    async fn last_failure(&self, id: ApplyId) -> Result<Option<LastFailure>, Error> {
        let row = sqlx::query!(
            r#"SELECT action, result, message, scope FROM calls
               WHERE apply_id = $1 ORDER BY call_no DESC LIMIT 1"#,
            id.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some((row, scope)) = row.and_then(|mut row| row.scope.take().map(|scope| (row, scope)))
        else {
            return Ok(None);
        };
        Ok(Some(LastFailure {
            action: row.action,
            code: row.result,
            message: row.message.unwrap_or_default(),
            scope: scope.parse()?,
        }))
    }
}
