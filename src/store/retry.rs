//! Sending failed devices again.

use std::collections::HashSet;

use super::{Error, chunk, follow::Locked, newcomers::TURN, pool::Tx, seconds};
use crate::domain::{ApplyId, CHUNK, Ordinal, Outcome};

/// Makes the failed devices of an apply pending again, without their reasons, in as few rounds as
/// fit. The rounds are accepted and begin with a check. The unknown ones are asked after first.
pub(super) async fn reopen_failed(tx: &mut Tx<'_>, locked: &mut Locked) -> Result<(), Error> {
    ask_again(tx, locked.id).await?;
    let failed = devices_with(tx, locked.id, Outcome::Failed).await?;
    chunk::forget_reasons(tx, locked.id, &failed).await?;
    sqlx::query!(
        r#"UPDATE chunks SET outcomes = replace(outcomes, 'F', 'P')
           WHERE apply_id = $1 AND strpos(outcomes, 'F') > 0"#,
        locked.id.0,
    )
    .execute(&mut *tx)
    .await?;
    locked
        .standing
        .counts
        .shift_all(Outcome::Failed, Outcome::Pending);
    for (n, ordinals) in failed.chunks(CHUNK).enumerate() {
        sqlx::query!(
            r#"INSERT INTO rounds (apply_id, round_no, account, product, phase, accepted, ordinals,
                                   devices, turn_at, due_at)
               SELECT $1, max(round_no) + 1, min(account), min(product),
                      CASE WHEN (SELECT import FROM applies WHERE apply_id = $1)
                           THEN 'CHECK_IMPORT' ELSE 'CHECK' END,
                      true, $2, $3, now() + make_interval(secs => $4), now()
               FROM rounds WHERE apply_id = $1"#,
            locked.id.0,
            ordinals,
            ordinals.len() as i32,
            seconds(TURN * n as u32),
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Has the rounds whose devices nobody could tell of asked after once more, from the start of the
/// time that they have for it. They are about those devices alone: others of their first sets may
/// have failed, and are for rounds of their own. Returns how many rounds are asked after.
pub(super) async fn ask_again(tx: &mut Tx<'_>, apply: ApplyId) -> Result<u64, Error> {
    let rounds = sqlx::query!(
        r#"SELECT round_no, chunk_no, ordinals FROM rounds
           WHERE apply_id = $1 AND phase = 'UNRESOLVED' ORDER BY round_no FOR UPDATE"#,
        apply.0,
    )
    .fetch_all(&mut *tx)
    .await?;
    if rounds.is_empty() {
        return Ok(0);
    }
    let unknown = devices_with(tx, apply, Outcome::Unknown).await?;
    let asked = rounds.len() as u64;
    for round in rounds {
        let listed: HashSet<Ordinal> = round.ordinals.into_iter().flatten().collect();
        let theirs: Vec<Ordinal> = unknown
            .iter()
            .copied()
            .filter(|at| Some(chunk::place(*at).0) == round.chunk_no || listed.contains(at))
            .collect();
        sqlx::query!(
            r#"UPDATE rounds
               -- Without a number there is no status to ask for.
               SET phase = CASE WHEN upstream_apply_id IS NULL THEN 'LOOKUP' ELSE 'UNKNOWN' END,
                   page = 0, chunk_no = NULL, ordinals = $3, due_at = now(),
                   asked_at = now(), expected_at = now(), turn_at = now(), attempts = 0,
                   failing_since = NULL, setbacks = 0, fruitless = 0
               WHERE apply_id = $1 AND round_no = $2"#,
            apply.0,
            round.round_no,
            &theirs,
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(asked)
}

/// The devices of an apply that have an outcome, rising.
async fn devices_with(
    tx: &mut Tx<'_>,
    apply: ApplyId,
    outcome: Outcome,
) -> Result<Vec<Ordinal>, Error> {
    let rows = sqlx::query!(
        r#"SELECT chunk_no, outcomes FROM chunks
           WHERE apply_id = $1 AND strpos(outcomes, $2) > 0 ORDER BY chunk_no"#,
        apply.0,
        char::from(outcome.letter()).to_string(),
    )
    .fetch_all(&mut *tx)
    .await?;
    let devices = rows
        .into_iter()
        .flat_map(|row| (row.chunk_no * CHUNK as Ordinal..).zip(row.outcomes.into_bytes()))
        .filter(|(_, letter)| *letter == outcome.letter())
        .map(|(at, _)| at);
    Ok(devices.collect())
}
