//! Storing a submission.

use std::time::Duration;

use sqlx::{Postgres, Transaction};

use super::{Error, Store, chunk, follow, labels, requests, seconds};
use crate::{
    domain::{
        Apply, ApplyId, ApplyStatus, Outcome, RequestKey, Snapshot, Submission, apply::Standing,
        submission::ChunkOf,
    },
    telemetry::trace,
};

/// How far apart the turns of one request's rounds are. It lets a small apply pass a large one.
pub(super) const TURN: Duration = Duration::from_millis(200);

impl Store {
    /// Stores a submission with its chunks, rounds and first event, in one transaction. One that was
    /// stored before under the same key is not stored again. Fails with [`Error::QueueFull`] if too
    /// many devices are on their way.
    pub async fn submit(
        &self,
        submission: &Submission,
        key: Option<&RequestKey>,
    ) -> Result<(Apply, Snapshot), Error> {
        self.submit_for(submission, key, trace::traceparent()).await
    }

    #[tracing::instrument(name = "submit", target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "submit"))]
    async fn submit_for(
        &self,
        submission: &Submission,
        key: Option<&RequestKey>,
        traceparent: Option<String>,
    ) -> Result<(Apply, Snapshot), Error> {
        if let Some(answer) = self.answered(key).await? {
            return Ok(answer);
        }
        self.admit(submission.len() - submission.refused()).await?;
        let mut tx = self.pool.begin().await?;
        let total = submission.len() as i32;
        let invalid = submission.refused() as i32;
        let row = sqlx::query!(
            r#"INSERT INTO applies (account, product_key, iot_instance_id, after_check, status,
                                    sealed, revision, total, invalid, labels, traceparent)
               VALUES ($1, $2, $3, $4, 'CHECK', true, 0, $5, $6, $7::text::jsonb, $8)
               RETURNING apply_id, created_at"#,
            self.account,
            submission.product_key,
            submission.iot_instance_id,
            submission.after_check.as_str(),
            total,
            invalid,
            labels::json(&submission.labels),
            traceparent,
        )
        .fetch_one(&mut *tx)
        .await?;
        let apply = Apply {
            id: ApplyId(row.apply_id),
            product_key: submission.product_key.clone(),
            iot_instance_id: submission.iot_instance_id.clone(),
            after_check: submission.after_check,
            labels: submission.labels.clone(),
            created_at: row.created_at,
        };
        // Before the bulk of the work, and waiting for whoever is at it with the same key.
        if let Some(key) = key
            && !requests::remember(&mut tx, key, apply.id, 1).await?
        {
            tx.rollback().await?;
            return self.answer_of_the_first(key).await;
        }
        for part in submission.chunks() {
            insert_chunk(&mut tx, apply.id, &part).await?;
        }
        self.insert_rounds(&mut tx, apply.id, submission).await?;
        let mut locked = follow::Locked {
            id: apply.id,
            standing: Standing {
                status: ApplyStatus::Check,
                after_check: apply.after_check,
                sealed: true,
                cancelling: false,
                counts: submission.counts(),
            },
        };
        let snapshot = locked.follow(&mut tx, true).await?;
        tx.commit().await?;
        self.bell.ring();
        Ok((apply, snapshot))
    }

    /// One round for each chunk that has a device to send.
    async fn insert_rounds(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        apply: ApplyId,
        submission: &Submission,
    ) -> Result<(), Error> {
        let (chunks, devices): (Vec<i32>, Vec<i32>) = submission
            .chunks()
            .map(|part| {
                (
                    part.chunk_no,
                    (part.names.len() - part.refused.len()) as i32,
                )
            })
            .filter(|(_, devices)| *devices > 0)
            .unzip();
        sqlx::query!(
            r#"INSERT INTO rounds (apply_id, round_no, account, product, phase, accepted, chunk_no,
                                   devices, turn_at, due_at)
               SELECT $1, n, $2, a.product_key || '/' || a.iot_instance_id, 'CHECK', false,
                      r.chunk_no, r.devices, now() + (n - 1) * make_interval(secs => $5), now()
               FROM applies AS a,
                    unnest($3::integer[], $4::integer[]) WITH ORDINALITY AS r (chunk_no, devices, n)
               WHERE a.apply_id = $1"#,
            apply.0,
            self.account,
            &chunks,
            &devices,
            seconds(TURN),
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

async fn insert_chunk(
    tx: &mut Transaction<'_, Postgres>,
    apply: ApplyId,
    part: &ChunkOf<'_>,
) -> Result<(), Error> {
    let mut outcomes = vec![Outcome::Pending.letter(); part.names.len()];
    for (at, _) in part.refused {
        outcomes[chunk::place(*at).1] = Outcome::Invalid.letter();
    }
    let reasons: chunk::Reasons = part
        .refused
        .iter()
        .map(|(at, reason)| (*at, reason))
        .collect();
    sqlx::query!(
        r#"INSERT INTO chunks (apply_id, chunk_no, names, nicknames, outcomes, reason_ordinals,
                               reason_codes, reason_texts, reason_request_ids, reason_firsts)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"#,
        apply.0,
        part.chunk_no,
        part.names,
        part.nicknames,
        &outcomes,
        &reasons.ordinals,
        &reasons.codes as &[&str],
        &reasons.texts as &[&str],
        &reasons.request_ids as &[Option<&str>],
        &reasons.firsts as &[Option<i32>],
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
