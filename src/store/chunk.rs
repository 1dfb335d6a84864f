//! Writing what became of devices into their chunks, in sets.

use std::collections::BTreeMap;

use super::{Error, pool::Tx};
use crate::domain::{ApplyId, CHUNK, Corrupt, Counts, Ordinal, Outcome, Reason};

/// The chunk that holds a device, and its place in there.
pub(super) fn place(ordinal: Ordinal) -> (i32, usize) {
    (ordinal / CHUNK as i32, ordinal as usize % CHUNK)
}

/// Outcomes, a letter a device, as they are stored.
pub(super) fn letters(outcomes: Vec<u8>) -> Result<String, Corrupt> {
    String::from_utf8(outcomes).map_err(|error| Corrupt {
        what: "outcomes",
        value: String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Reasons as columns.
#[derive(Debug, Default)]
pub(super) struct Reasons<'a> {
    pub(super) ordinals: Vec<Ordinal>,
    pub(super) codes: Vec<&'a str>,
    pub(super) texts: Vec<&'a str>,
    pub(super) request_ids: Vec<Option<&'a str>>,
    pub(super) firsts: Vec<Option<Ordinal>>,
}

impl<'a> FromIterator<(Ordinal, &'a Reason)> for Reasons<'a> {
    fn from_iter<I: IntoIterator<Item = (Ordinal, &'a Reason)>>(reasons: I) -> Self {
        let mut columns = Self::default();
        for (ordinal, reason) in reasons {
            columns.ordinals.push(ordinal);
            columns.codes.push(reason.code.as_str());
            columns.texts.push(&reason.text);
            columns.request_ids.push(reason.request_id.as_deref());
            columns.firsts.push(reason.first);
        }
        columns
    }
}

/// What becomes of devices, by chunk.
#[derive(Debug, Default)]
pub(super) struct Fold<'a> {
    chunks: BTreeMap<i32, Vec<Settled<'a>>>,
}

/// A device's place in its chunk, its outcome, and why.
type Settled<'a> = (usize, Outcome, Option<(Ordinal, &'a Reason)>);

impl<'a> Fold<'a> {
    /// This device has this outcome now.
    pub(super) fn settle(&mut self, at: Ordinal, outcome: Outcome, reason: Option<&'a Reason>) {
        let (chunk_no, place) = place(at);
        self.chunks.entry(chunk_no).or_default().push((
            place,
            outcome,
            reason.map(|reason| (at, reason)),
        ));
    }

    /// Writes it all, one statement a chunk, and keeps `counts` in step. A device that is not open
    /// any more stays as it is. Returns whether anything changed.
    ///
    /// The caller holds the apply's lock, so what is read here does not change before it is written.
    pub(super) async fn write(
        self,
        tx: &mut Tx<'_>,
        apply: ApplyId,
        counts: &mut Counts,
    ) -> Result<bool, Error> {
        let mut changed = false;
        for (chunk_no, devices) in self.chunks {
            let mut outcomes = sqlx::query_scalar!(
                r#"SELECT outcomes FROM chunks
                   WHERE apply_id = $1 AND chunk_no = $2"#,
                apply.0,
                chunk_no,
            )
            .fetch_one(&mut *tx)
            .await?
            .into_bytes();
            let mut reasons = Vec::new();
            let mut explained = Vec::new();
            let mut moved = false;
            for (place, outcome, reason) in devices {
                let before = Outcome::from_letter(outcomes[place])?;
                if before.is_open() && before != outcome {
                    if before == Outcome::Unknown {
                        explained.push(chunk_no * CHUNK as Ordinal + place as Ordinal);
                    }
                    outcomes[place] = outcome.letter();
                    counts.shift(before, outcome);
                    reasons.extend(reason);
                    moved = true;
                }
            }
            if !explained.is_empty() {
                forget_reasons(tx, apply, &explained).await?;
            }
            if moved {
                update(
                    tx,
                    apply,
                    chunk_no,
                    &letters(outcomes)?,
                    &reasons.into_iter().collect(),
                )
                .await?;
            }
            changed |= moved;
        }
        Ok(changed)
    }
}

async fn update(
    tx: &mut Tx<'_>,
    apply: ApplyId,
    chunk_no: i32,
    outcomes: &str,
    reasons: &Reasons<'_>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"UPDATE chunks
           SET outcomes = $3,
               secrets = CASE WHEN secrets IS NOT NULL AND $3 ~ '[PVFU]' THEN secrets END,
               reason_ordinals = reason_ordinals || $4,
               reason_codes = reason_codes || $5,
               reason_texts = reason_texts || $6,
               reason_request_ids = reason_request_ids || $7,
               reason_firsts = reason_firsts || $8
           WHERE apply_id = $1 AND chunk_no = $2"#,
        apply.0,
        chunk_no,
        outcomes,
        &reasons.ordinals,
        &reasons.codes as &[&str],
        &reasons.texts as &[&str],
        &reasons.request_ids as &[Option<&str>],
        &reasons.firsts as &[Option<Ordinal>],
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Forgets why devices had the outcome that they have no longer: a device has one reason.
pub(super) async fn forget_reasons(
    tx: &mut Tx<'_>,
    apply: ApplyId,
    devices: &[Ordinal],
) -> Result<(), Error> {
    let mut chunk_nos: Vec<i32> = devices.iter().map(|at| place(*at).0).collect();
    chunk_nos.dedup();
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
           WHERE apply_id = $1 AND chunk_no = ANY ($3)"#,
        apply.0,
        devices,
        &chunk_nos,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}
