//! Accepting a checked apply for registration.

use std::collections::BTreeSet;

use super::{
    AuditEntry, Error, Store, audit, chunk, follow, newcomers::TURN, pool::Tx, read, retry, seconds,
};
use crate::domain::{
    Apply, ApplyId, ApplyStatus, CHUNK, Caller, Ordinal, Outcome, RequestKey, Snapshot,
    apply::{Acceptance, Wish, accept},
    caller::Act,
};

impl Store {
    /// Has the valid devices of a checked apply registered, or the failed ones of a registered one
    /// again. An apply that is being registered, or was, is returned unchanged otherwise.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "accept"))]
    pub async fn accept(
        &self,
        caller: &Caller,
        id: ApplyId,
        wish: Wish,
        key: Option<&RequestKey>,
    ) -> Result<(Apply, Snapshot), Error> {
        if let Some(answer) = self.answered(caller, key).await? {
            return Ok(answer);
        }
        let mut connection = self.pool.connection().await?;
        let mut tx = connection.begin().await?;
        let mut locked = follow::Locked::lock(&mut tx, Some(caller), id).await?;
        match accept(&locked.standing, wish) {
            Acceptance::Accept => {
                pack(&mut tx, id).await?;
                set_turns(&mut tx, id).await?;
                follow::release(&mut tx, id).await?;
                locked.standing.status = ApplyStatus::Create;
                locked.follow(&mut tx, true).await?;
                audit::write(&mut tx, &entry(caller, id, "the valid devices")).await?;
            }
            Acceptance::Retry => {
                retry::reopen_failed(&mut tx, &mut locked).await?;
                locked.standing.status = ApplyStatus::Create;
                locked.follow(&mut tx, true).await?;
                audit::write(&mut tx, &entry(caller, id, "the failed devices again")).await?;
            }
            Acceptance::Unchanged => {}
            Acceptance::Refuse(refusal) => {
                let status = locked.standing.status;
                return Err(Error::NotAcceptable {
                    apply: id,
                    status,
                    refusal,
                });
            }
        }
        let answer = read::apply(&mut tx, caller, id)
            .await?
            .ok_or(Error::NoSuchApply(id))?;
        let what = if wish.retry_failed {
            "retry"
        } else {
            "register"
        };
        let committed = self.commit_answer(tx, what, caller, key, answer).await?;
        drop(connection);
        self.answer_or_first(caller, key, committed).await
    }
}

fn entry<'a>(caller: &'a Caller, id: ApplyId, detail: &'a str) -> AuditEntry<'a> {
    AuditEntry {
        caller,
        what: Act::Register,
        apply: Some(id),
        detail,
    }
}

/// The held rounds go in their order, counted from this request.
async fn set_turns(tx: &mut Tx<'_>, apply: ApplyId) -> Result<(), Error> {
    sqlx::query!(
        r#"UPDATE rounds
           SET turn_at = now() + (n - 1) * make_interval(secs => $2)
           FROM (SELECT round_no AS number, row_number() OVER (ORDER BY round_no) AS n
                 FROM rounds WHERE apply_id = $1 AND phase = 'HELD') AS held
           WHERE apply_id = $1 AND round_no = number"#,
        apply.0,
        seconds(TURN),
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Packs what is left of rounds whose check failed into as few rounds as fit, if that saves any.
/// They have no upstream apply any more and begin with a check. Rounds of an import never do, and
/// those of theirs that are held have passed their check.
async fn pack(tx: &mut Tx<'_>, apply: ApplyId) -> Result<(), Error> {
    let held = sqlx::query!(
        r#"SELECT round_no, chunk_no, ordinals FROM rounds
           WHERE apply_id = $1 AND phase = 'HELD' AND upstream_apply_id IS NULL
             AND NOT (SELECT import FROM applies WHERE apply_id = $1)
           ORDER BY round_no FOR NO KEY UPDATE"#,
        apply.0,
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut left = BTreeSet::new();
    for row in &held {
        match (row.chunk_no, &row.ordinals) {
            (Some(chunk_no), _) => {
                let first = chunk_no * CHUNK as Ordinal;
                left.extend(first..first + CHUNK as Ordinal);
            }
            (None, ordinals) => left.extend(ordinals.iter().flatten().copied()),
        }
    }
    let open = valid_of(tx, apply, &left).await?;
    if open.len().div_ceil(CHUNK) >= held.len() {
        return Ok(());
    }
    let old: Vec<i32> = held.iter().map(|row| row.round_no).collect();
    for ordinals in open.chunks(CHUNK) {
        sqlx::query!(
            r#"INSERT INTO rounds (apply_id, round_no, account, product, phase, accepted, ordinals,
                                   devices, turn_at)
               SELECT $1, max(round_no) + 1, min(account), min(product), 'HELD', false, $2, $3, now()
               FROM rounds WHERE apply_id = $1"#,
            apply.0,
            ordinals,
            ordinals.len() as i32,
        )
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query!(
        "UPDATE rounds SET phase = 'ENDED' WHERE apply_id = $1 AND round_no = ANY ($2)",
        apply.0,
        &old,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Those of the devices that are valid.
async fn valid_of(
    tx: &mut Tx<'_>,
    apply: ApplyId,
    devices: &BTreeSet<Ordinal>,
) -> Result<Vec<Ordinal>, Error> {
    let mut chunk_nos: Vec<i32> = devices.iter().map(|at| chunk::place(*at).0).collect();
    chunk_nos.dedup();
    let rows = sqlx::query!(
        r#"SELECT chunk_no, outcomes FROM chunks
           WHERE apply_id = $1 AND chunk_no = ANY ($2) ORDER BY chunk_no"#,
        apply.0,
        &chunk_nos,
    )
    .fetch_all(&mut *tx)
    .await?;
    let valid = Outcome::Valid.letter();
    Ok(rows
        .into_iter()
        .flat_map(|row| (row.chunk_no * CHUNK as Ordinal..).zip(row.outcomes.into_bytes()))
        .filter(|(at, letter)| *letter == valid && devices.contains(at))
        .map(|(at, _)| at)
        .collect())
}
