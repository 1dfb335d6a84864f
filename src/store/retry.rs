//! Sending failed devices again.

use sqlx::{Postgres, Transaction};

use super::{Error, chunk, follow::Locked, seconds, submit::TURN};
use crate::domain::{ApplyId, CHUNK, Ordinal, Outcome};

/// Makes the failed devices of an apply pending again, without their reasons, in as few rounds as
/// fit. The rounds are accepted and begin with a check. The unknown ones are asked after first.
pub(super) async fn reopen_failed(
    tx: &mut Transaction<'_, Postgres>,
    locked: &mut Locked,
) -> Result<(), Error> {
    ask_again(tx, locked.id).await?;
    let rows = sqlx::query!(
        r#"SELECT chunk_no, outcomes AS "outcomes: Vec<i8>" FROM chunks
           WHERE apply_id = $1 AND outcomes && ARRAY['F']::"char"[] ORDER BY chunk_no"#,
        locked.id.0,
    )
    .fetch_all(&mut **tx)
    .await?;
    let failed: Vec<Ordinal> = rows
        .into_iter()
        .flat_map(|row| (row.chunk_no * CHUNK as Ordinal..).zip(row.outcomes))
        .filter(|(_, letter)| *letter == Outcome::Failed.letter())
        .map(|(at, _)| at)
        .collect();
    chunk::forget_reasons(tx, locked.id, &failed).await?;
    sqlx::query!(
        r#"UPDATE chunks SET outcomes = array_replace(outcomes, 'F', 'P')
           WHERE apply_id = $1 AND outcomes && ARRAY['F']::"char"[]"#,
        locked.id.0,
    )
    .execute(&mut **tx)
    .await?;
    locked
        .standing
        .counts
        .shift_all(Outcome::Failed, Outcome::Pending);
    for (n, ordinals) in failed.chunks(CHUNK).enumerate() {
        sqlx::query!(
            r#"INSERT INTO rounds (apply_id, round_no, account, phase, accepted, ordinals, devices,
                                   turn_at, due_at)
               SELECT $1, max(round_no) + 1, min(account), 'CHECK', true, $2, $3,
                      now() + make_interval(secs => $4), now()
               FROM rounds WHERE apply_id = $1"#,
            locked.id.0,
            ordinals,
            ordinals.len() as i32,
            seconds(TURN * n as u32),
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Has the rounds whose devices nobody could tell of asked after once more, from the start of the
/// time that they have for it.
async fn ask_again(tx: &mut Transaction<'_, Postgres>, apply: ApplyId) -> Result<(), Error> {
    sqlx::query!(
        r#"UPDATE rounds
           SET phase = 'UNKNOWN', due_at = now(), asked_at = now(), expected_at = now(),
               turn_at = now(), attempts = 0, failing_since = NULL, setbacks = 0
           FROM (SELECT round_no AS number FROM rounds
                 WHERE apply_id = $1 AND phase = 'UNRESOLVED'
                 ORDER BY round_no FOR UPDATE) AS unresolved
           WHERE apply_id = $1 AND round_no = number"#,
        apply.0,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
