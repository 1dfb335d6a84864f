//! Applies as they are stored first: as many as came together, in statements whose number does not
//! depend on theirs.

use time::OffsetDateTime;

use super::{
    Error, Store,
    chunk::{Reasons, letters, place},
    counted, labels, literal,
    pool::Tx,
    seconds,
};
use crate::domain::{
    Apply, ApplyId, ApplyStatus, Caller, Chunk, Counts, Heading, Outcome, RequestKey, Snapshot,
    caller::Act, device::SEPARATOR,
};

/// How far apart the turns of one request's rounds are. It lets a small apply pass a large one.
pub(super) const TURN: std::time::Duration = std::time::Duration::from_millis(200);

/// An apply that is about to be stored, with its first event and its entry in the audit.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) caller: Caller,
    pub(super) heading: Heading,
    pub(super) counts: Counts,
    pub(super) status: ApplyStatus,
    pub(super) sealed: bool,
    pub(super) key: Option<RequestKey>,
    /// The call that its steps are to link to.
    pub(super) traceparent: Option<String>,
    /// What the audit says of it.
    pub(super) detail: String,
    pub(super) chunks: Vec<NewChunk>,
}

/// A chunk as the columns of its row. Names, nicknames and serial numbers are joined: parting them
/// costs PostgreSQL a third of what reading an array's text does.
#[derive(Debug)]
pub(super) struct NewChunk {
    chunk_no: i32,
    /// How many devices can be sent.
    passed: i32,
    names: String,
    nicknames: Option<String>,
    sns: Option<String>,
    outcomes: String,
    reason_ordinals: String,
    reason_codes: String,
    reason_texts: String,
    reason_request_ids: String,
    reason_firsts: String,
    sealed: Option<Vec<u8>>,
}

/// An apply that was stored first by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    id: ApplyId,
    at: OffsetDateTime,
}

impl Newcomer {
    /// How many devices it brings.
    pub(super) fn devices(&self) -> usize {
        self.counts.total() as usize
    }

    /// What a caller is told of it.
    pub(super) fn answer(&self, stored: Stored) -> (Apply, Snapshot) {
        let Heading {
            product_key,
            iot_instance_id,
            after_check,
            import,
            labels,
            data_key: _,
        } = self.heading.clone();
        let apply = Apply {
            id: stored.id,
            product_key,
            iot_instance_id,
            after_check,
            import,
            labels,
            created_at: stored.at,
        };
        let now = Snapshot {
            revision: 1,
            status: self.status,
            counts: self.counts,
            cancelling: false,
            sealed: self.sealed,
            at: stored.at,
        };
        (apply, now)
    }
}

impl From<&Chunk> for NewChunk {
    fn from(chunk: &Chunk) -> Self {
        let mut outcomes = vec![Outcome::Pending.letter(); chunk.names.len()];
        for (at, _) in &chunk.refused {
            outcomes[place(*at).1] = Outcome::Invalid.letter();
        }
        let refused = chunk.refused.iter();
        let reasons: Reasons = refused.map(|(at, reason)| (*at, reason)).collect();
        let joined = |all: &Vec<String>| all.join(SEPARATOR.encode_utf8(&mut [0; 4]));
        Self {
            chunk_no: chunk.chunk_no,
            passed: chunk.passed() as i32,
            names: joined(&chunk.names),
            nicknames: chunk.nicknames.as_ref().map(joined),
            sns: chunk.sns.as_ref().map(joined),
            outcomes: letters(outcomes).expect("made of letters"),
            reason_ordinals: literal::numbers(reasons.ordinals),
            reason_codes: literal::texts(reasons.codes),
            reason_texts: literal::texts(reasons.texts),
            reason_request_ids: literal::texts_or_nulls(reasons.request_ids),
            reason_firsts: literal::numbers_or_nulls(reasons.firsts),
            sealed: chunk.sealed.clone(),
        }
    }
}

impl Store {
    /// Stores applies with their chunks, rounds and first events. In their order, each as it was
    /// stored, or none if another call was first with its request, which has committed by then.
    pub(super) async fn store_newcomers(
        &self,
        tx: &mut Tx<'_>,
        newcomers: &[Newcomer],
    ) -> Result<Vec<Option<Stored>>, Error> {
        let stored = self.insert_applies(tx, newcomers).await?;
        let chunks: Vec<(ApplyId, &NewChunk)> = newcomers
            .iter()
            .zip(&stored)
            .filter_map(|(newcomer, stored)| Some((newcomer, stored.as_ref()?.id)))
            .flat_map(|(newcomer, id)| newcomer.chunks.iter().map(move |chunk| (id, chunk)))
            .collect();
        if !chunks.is_empty() {
            self.insert_chunks(tx, &chunks).await?;
        }
        for newcomer in stored
            .iter()
            .zip(newcomers)
            .filter(|(stored, _)| stored.is_some())
        {
            counted::count(None, newcomer.1.status, &newcomer.1.counts);
        }
        Ok(stored)
    }

    async fn insert_applies(
        &self,
        tx: &mut Tx<'_>,
        newcomers: &[Newcomer],
    ) -> Result<Vec<Option<Stored>>, Error> {
        fn column<'a, T>(all: &'a [Newcomer], of: impl Fn(&'a Newcomer) -> T) -> Vec<T> {
            all.iter().map(of).collect()
        }
        // Request ids are taken in one order by everybody, so that no two wait for each other.
        let rows = sqlx::query!(
            r#"
            WITH input AS MATERIALIZED (
                SELECT nextval(pg_get_serial_sequence('applies', 'apply_id')) AS apply_id, i.*
                FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[],
                            $8::integer[], $9::integer[], $10::text[], $11::boolean[], $12::bytea[],
                            $13::text[], $14::text[], $15::bytea[], $16::text[], $17::text[],
                            $18::text[], $19::text[])
                     WITH ORDINALITY AS i (tenant, product_key, iot_instance_id, after_check, status,
                                           sealed, total, invalid, labels, import, data_key,
                                           traceparent, request_id, fingerprint, caller, proof, peer,
                                           detail, place)
            ), remembered AS (
                INSERT INTO requests (tenant, request_id, fingerprint, apply_id, revision)
                SELECT tenant, request_id, fingerprint, apply_id, 1 FROM input
                WHERE request_id IS NOT NULL
                ORDER BY tenant, request_id, place
                ON CONFLICT DO NOTHING
                RETURNING apply_id
            ), first AS (
                SELECT * FROM input
                WHERE request_id IS NULL OR apply_id IN (SELECT apply_id FROM remembered)
            ), apply AS (
                INSERT INTO applies (apply_id, account, product_key, iot_instance_id, after_check,
                                     status, sealed, uploads, revision, total, invalid, labels,
                                     import, data_key, tenant, traceparent)
                OVERRIDING SYSTEM VALUE
                SELECT apply_id, $1, product_key, iot_instance_id, after_check, status, sealed,
                       CASE WHEN sealed THEN 0 ELSE 1 END, 1, total, invalid, labels::jsonb, import,
                       data_key, tenant, traceparent
                FROM first
                RETURNING apply_id, created_at
            ), event AS (
                INSERT INTO events (apply_id, revision, status, total, valid, invalid, created,
                                    failed, unknown, cancelled, cancelling, sealed, at)
                SELECT apply_id, 1, status, total, 0, invalid, 0, 0, 0, 0, false, sealed, now()
                FROM first
            ), entry AS (
                INSERT INTO audit (tenant, caller, proof, peer, what, apply_id, detail)
                SELECT tenant, caller, proof, peer, $20, apply_id, detail FROM first
            )
            SELECT first.place AS "place!", apply.apply_id, apply.created_at
            FROM apply JOIN first USING (apply_id)
            "#,
            self.account,
            &column(newcomers, |one| one.caller.tenant.as_str()) as &[&str],
            &column(newcomers, |one| one.heading.product_key.as_str()) as &[&str],
            &column(newcomers, |one| one.heading.iot_instance_id.as_str()) as &[&str],
            &column(newcomers, |one| one.heading.after_check.as_str()) as &[&str],
            &column(newcomers, |one| one.status.as_str()) as &[&str],
            &column(newcomers, |one| one.sealed),
            &column(newcomers, |one| one.counts.total()),
            &column(newcomers, |one| one.counts.of(Outcome::Invalid)),
            &column(newcomers, |one| labels::json(&one.heading.labels)),
            &column(newcomers, |one| one.heading.import),
            &column(newcomers, |one| one.heading.data_key.as_deref()) as &[Option<&[u8]>],
            &column(newcomers, |one| one.traceparent.as_deref()) as &[Option<&str>],
            &column(newcomers, |one| one.key.as_ref().map(|key| key.id.as_str())) as &[Option<&str>],
            &column(newcomers, |one| one.key.as_ref().map(|key| &key.fingerprint.0[..]))
                as &[Option<&[u8]>],
            &column(newcomers, |one| &*one.caller.name) as &[&str],
            &column(newcomers, |one| one.caller.proof.as_str()) as &[&str],
            &column(newcomers, |one| one.caller.peer.map(|peer| peer.to_string()))
                as &[Option<String>],
            &column(newcomers, |one| one.detail.as_str()) as &[&str],
            Act::Submit.as_str(),
        )
        .fetch_all(&mut *tx)
        .await?;
        let mut stored = vec![None; newcomers.len()];
        for row in rows {
            stored[row.place as usize - 1] = Some(Stored {
                id: ApplyId(row.apply_id),
                at: row.created_at,
            });
        }
        Ok(stored)
    }

    /// Stores chunks, and a round for each that has a device to send. Their turns are those of the
    /// request that began the apply, or of now for what comes later than that.
    pub(super) async fn insert_chunks(
        &self,
        tx: &mut Tx<'_>,
        chunks: &[(ApplyId, &NewChunk)],
    ) -> Result<(), Error> {
        fn column<'a, T>(
            all: &[(ApplyId, &'a NewChunk)],
            of: impl Fn(&'a NewChunk) -> T,
        ) -> Vec<T> {
            all.iter().map(|(_, chunk)| of(chunk)).collect()
        }
        sqlx::query!(
            r#"
            WITH input AS MATERIALIZED (
                SELECT *
                FROM unnest($2::bigint[], $3::integer[], $4::integer[], $5::text[], $6::text[],
                            $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                            $13::text[], $14::bytea[])
                     AS i (apply_id, chunk_no, devices, names, nicknames, sns, outcomes,
                           reason_ordinals, reason_codes, reason_texts, reason_request_ids,
                           reason_firsts, secrets)
            ), chunk AS (
                INSERT INTO chunks (apply_id, chunk_no, names, nicknames, sns, outcomes,
                                    reason_ordinals, reason_codes, reason_texts, reason_request_ids,
                                    reason_firsts, secrets)
                SELECT apply_id, chunk_no,
                       -- Of one empty text it would make an empty array.
                       CASE names WHEN '' THEN ARRAY[''] ELSE string_to_array(names, $16) END,
                       CASE nicknames WHEN '' THEN ARRAY[''] ELSE string_to_array(nicknames, $16) END,
                       CASE sns WHEN '' THEN ARRAY[''] ELSE string_to_array(sns, $16) END,
                       outcomes, reason_ordinals::integer[], reason_codes::text[],
                       reason_texts::text[], reason_request_ids::text[], reason_firsts::integer[],
                       secrets
                FROM input
            )
            INSERT INTO rounds (apply_id, round_no, account, product, phase, accepted, chunk_no,
                                devices, turn_at, due_at)
            SELECT i.apply_id,
                   row_number() OVER (PARTITION BY i.apply_id ORDER BY i.chunk_no)::integer
                       + (SELECT coalesce(max(round_no), 0) FROM rounds AS r
                          WHERE r.apply_id = i.apply_id)::integer,
                   $1, a.product_key || '/' || a.iot_instance_id,
                   CASE WHEN a.import THEN 'CHECK_IMPORT' ELSE 'CHECK' END, false, i.chunk_no,
                   i.devices, greatest(now(), a.created_at + i.chunk_no * make_interval(secs => $15)),
                   now()
            FROM input AS i JOIN applies AS a USING (apply_id)
            WHERE i.devices > 0
            "#,
            self.account,
            &chunks.iter().map(|(id, _)| id.0).collect::<Vec<_>>(),
            &column(chunks, |chunk| chunk.chunk_no),
            &column(chunks, |chunk| chunk.passed),
            &column(chunks, |chunk| chunk.names.as_str()) as &[&str],
            &column(chunks, |chunk| chunk.nicknames.as_deref()) as &[Option<&str>],
            &column(chunks, |chunk| chunk.sns.as_deref()) as &[Option<&str>],
            &column(chunks, |chunk| chunk.outcomes.as_str()) as &[&str],
            &column(chunks, |chunk| chunk.reason_ordinals.as_str()) as &[&str],
            &column(chunks, |chunk| chunk.reason_codes.as_str()) as &[&str],
            &column(chunks, |chunk| chunk.reason_texts.as_str()) as &[&str],
            &column(chunks, |chunk| chunk.reason_request_ids.as_str()) as &[&str],
            &column(chunks, |chunk| chunk.reason_firsts.as_str()) as &[&str],
            &column(chunks, |chunk| chunk.sealed.as_deref()) as &[Option<&[u8]>],
            seconds(TURN),
            SEPARATOR.to_string(),
        )
        .execute(&mut *tx)
        .await?;
        Ok(())
    }
}
