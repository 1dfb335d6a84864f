//! Sending failed devices again.

use sqlx::{Postgres, Transaction};

use super::{Error, follow::Locked, seconds, submit::TURN};
use crate::domain::{CHUNK, Ordinal, Outcome};

/// Makes the failed devices of an apply pending again, without their reasons, in as few rounds as
/// fit. The rounds are accepted and begin with a check.
pub(super) async fn reopen_failed(
    tx: &mut Transaction<'_, Postgres>,
    locked: &mut Locked,
) -> Result<(), Error> {
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
    forget_reasons(tx, locked, &failed).await?;
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

/// A device has one reason, of its present outcome.
async fn forget_reasons(
    tx: &mut Transaction<'_, Postgres>,
    locked: &Locked,
    devices: &[Ordinal],
) -> Result<(), Error> {
    sqlx::query!(
        r#"UPDATE chunks AS c
           SET (reason_ordinals, reason_codes, reason_texts, reason_request_ids, reason_firsts) = (
               SELECT coalesce(array_agg(r.ordinal ORDER BY n), '{}'),
                      coalesce(array_agg(r.code ORDER BY n), '{}'),
                      coalesce(array_agg(r.text ORDER BY n), '{}'),
                      coalesce(array_agg(r.request_id ORDER BY n), '{}'),
                      coalesce(array_agg(r.first ORDER BY n), '{}')
               FROM unnest(c.reason_ordinals, c.reason_codes, c.reason_texts,
                           c.reason_request_ids, c.reason_firsts)
                    WITH ORDINALITY AS r (ordinal, code, text, request_id, first, n)
               WHERE NOT EXISTS (SELECT FROM unnest($2::integer[]) AS d (ordinal)
                                 WHERE d.ordinal = r.ordinal))
           WHERE apply_id = $1 AND outcomes && ARRAY['F']::"char"[]"#,
        locked.id.0,
        devices,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
