//! Storing a submission.

use std::time::Duration;

use super::{
    AuditEntry, Error, Store, audit,
    chunk::{Reasons, place},
    follow, labels,
    pool::Tx,
    requests, seconds,
};
use crate::{
    domain::{
        Apply, ApplyId, ApplyStatus, Caller, Chunk, Counts, Heading, Outcome, RequestKey, Snapshot,
        Submission, apply::Standing, caller::Act,
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
        caller: &Caller,
        submission: &Submission,
        key: Option<&RequestKey>,
    ) -> Result<(Apply, Snapshot), Error> {
        self.submit_for(caller, submission, key, trace::traceparent())
            .await
    }

    #[tracing::instrument(name = "submit", target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "submit"))]
    async fn submit_for(
        &self,
        caller: &Caller,
        submission: &Submission,
        key: Option<&RequestKey>,
        call: Option<String>,
    ) -> Result<(Apply, Snapshot), Error> {
        if let Some(answer) = self.answered(caller, key).await? {
            return Ok(answer);
        }
        self.admit(submission.len() - submission.refused()).await?;
        let mut connection = self.pool.connection().await?;
        let mut tx = connection.begin().await?;
        let counts = submission.counts();
        let apply = self
            .insert_apply(&mut tx, caller, &submission.heading, &counts, true, call)
            .await?;
        // Before the bulk of the work, and waiting for whoever is at it with the same key.
        if let Some(key) = key
            && !requests::remember(&mut tx, caller, key, apply.id, 1).await?
        {
            tx.rollback().await?;
            drop(connection);
            return self.answer_of_the_first(caller, key).await;
        }
        self.insert_chunks(&mut tx, apply.id, submission.chunks())
            .await?;
        let snapshot = first_event(&mut tx, &apply, counts, true).await?;
        let detail = format!(
            "{} devices, after_check {}",
            counts.total(),
            apply.after_check
        );
        let entry = AuditEntry {
            caller,
            what: Act::Submit,
            apply: Some(apply.id),
            detail: &detail,
        };
        audit::write(&mut tx, &entry).await?;
        tx.commit().await?;
        self.bell.ring();
        Ok((apply, snapshot))
    }

    /// An apply in CHECK, of devices that are about to be stored, or of a first upload, for a call
    /// that its steps are to link to.
    pub(super) async fn insert_apply(
        &self,
        tx: &mut Tx<'_>,
        caller: &Caller,
        heading: &Heading,
        counts: &Counts,
        sealed: bool,
        traceparent: Option<String>,
    ) -> Result<Apply, Error> {
        let row = sqlx::query!(
            r#"INSERT INTO applies (account, product_key, iot_instance_id, after_check, status,
                                    sealed, uploads, revision, total, invalid, labels, import,
                                    data_key, tenant, traceparent)
               VALUES ($1, $2, $3, $4, 'CHECK', $5, CASE WHEN $5 THEN 0 ELSE 1 END, 0, $6, $7,
                       $8::text::jsonb, $9, $10, $11, $12)
               RETURNING apply_id, created_at"#,
            self.account,
            heading.product_key,
            heading.iot_instance_id,
            heading.after_check.as_str(),
            sealed,
            counts.total(),
            counts.of(Outcome::Invalid),
            labels::json(&heading.labels),
            heading.import,
            heading.data_key,
            caller.tenant.as_str(),
            traceparent,
        )
        .fetch_one(&mut *tx)
        .await?;
        Ok(Apply {
            id: ApplyId(row.apply_id),
            product_key: heading.product_key.clone(),
            iot_instance_id: heading.iot_instance_id.clone(),
            after_check: heading.after_check,
            import: heading.import,
            labels: heading.labels.clone(),
            created_at: row.created_at,
        })
    }

    /// Stores chunks, and a round for each that has a device to send. Their turns are those of the
    /// request that began the apply, or of now for what comes later than that.
    pub(super) async fn insert_chunks(
        &self,
        tx: &mut Tx<'_>,
        apply: ApplyId,
        chunks: &[Chunk],
    ) -> Result<(), Error> {
        for chunk in chunks {
            insert_chunk(tx, apply, chunk).await?;
        }
        let rounds = chunks.iter().filter(|chunk| chunk.passed() > 0);
        let (numbers, devices): (Vec<i32>, Vec<i32>) = rounds
            .map(|chunk| (chunk.chunk_no, chunk.passed() as i32))
            .unzip();
        sqlx::query!(
            r#"INSERT INTO rounds (apply_id, round_no, account, product, phase, accepted, chunk_no,
                                   devices, turn_at, due_at)
               SELECT $1, n + (SELECT coalesce(max(round_no), 0) FROM rounds WHERE apply_id = $1),
                      $2, a.product_key || '/' || a.iot_instance_id,
                      CASE WHEN a.import THEN 'CHECK_IMPORT' ELSE 'CHECK' END, false, r.chunk_no,
                      r.devices, greatest(now(), a.created_at + r.chunk_no * make_interval(secs => $5)),
                      now()
               FROM applies AS a,
                    unnest($3::integer[], $4::integer[]) WITH ORDINALITY AS r (chunk_no, devices, n)
               WHERE a.apply_id = $1"#,
            apply.0,
            self.account,
            &numbers,
            &devices,
            seconds(TURN),
        )
        .execute(&mut *tx)
        .await?;
        Ok(())
    }
}

/// Decides where an apply stands that was just stored, and writes its first event.
pub(super) async fn first_event(
    tx: &mut Tx<'_>,
    apply: &Apply,
    counts: Counts,
    sealed: bool,
) -> Result<Snapshot, Error> {
    let mut locked = follow::Locked {
        id: apply.id,
        standing: Standing {
            status: ApplyStatus::Check,
            after_check: apply.after_check,
            sealed,
            cancelling: false,
            counts,
        },
        uploads: 0,
        stored_ago: 0.0,
    };
    locked.follow(tx, true).await
}

async fn insert_chunk(tx: &mut Tx<'_>, apply: ApplyId, chunk: &Chunk) -> Result<(), Error> {
    let mut outcomes = vec![Outcome::Pending.letter(); chunk.names.len()];
    for (at, _) in &chunk.refused {
        outcomes[place(*at).1] = Outcome::Invalid.letter();
    }
    let reasons: Reasons = chunk
        .refused
        .iter()
        .map(|(at, reason)| (*at, reason))
        .collect();
    sqlx::query!(
        r#"INSERT INTO chunks (apply_id, chunk_no, names, nicknames, outcomes, reason_ordinals,
                               reason_codes, reason_texts, reason_request_ids, reason_firsts, sns,
                               secrets)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"#,
        apply.0,
        chunk.chunk_no,
        &chunk.names,
        chunk.nicknames.as_deref(),
        &outcomes,
        &reasons.ordinals,
        &reasons.codes as &[&str],
        &reasons.texts as &[&str],
        &reasons.request_ids as &[Option<&str>],
        &reasons.firsts as &[Option<i32>],
        chunk.sns.as_deref(),
        chunk.sealed.as_deref(),
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}
