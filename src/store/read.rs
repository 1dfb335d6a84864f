//! Reading applies and devices.

use sqlx::PgExecutor;
use time::OffsetDateTime;

use super::{Error, Store, chunk, labels, visible};
use crate::domain::{
    Apply, ApplyId, CHUNK, Caller, Corrupt, Counts, Ordinal, Outcome, Reason, Snapshot,
};

/// One device with its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// Its place in the apply.
    pub ordinal: Ordinal,
    /// Its name as kept.
    pub name: String,
    /// Its nickname; empty for none.
    pub nickname: String,
    /// Its serial number; empty for none.
    pub sn: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, where there is a reason.
    pub reason: Option<Reason>,
}

/// Some devices of an apply, in their order.
#[derive(Clone, Debug, Default)]
pub struct DevicesPage {
    /// The devices.
    pub devices: Vec<DeviceRow>,
    /// Where the next page begins, if there may be one.
    pub next: Option<Ordinal>,
}

/// Some devices of one chunk, in their order.
#[derive(Clone, Debug)]
pub struct DevicesOfChunk {
    /// The devices.
    pub devices: Vec<DeviceRow>,
    /// Where to go on.
    pub next: Ordinal,
    /// The place after the last device of the chunk.
    pub end: Ordinal,
    /// Whether the chunk has more of them.
    pub is_cut: bool,
}

/// An apply as it is selected.
pub(super) struct ApplyRow {
    pub(super) apply_id: i64,
    pub(super) product_key: String,
    pub(super) iot_instance_id: String,
    pub(super) after_check: String,
    pub(super) import: bool,
    pub(super) labels: String,
    pub(super) status: String,
    pub(super) revision: i64,
    pub(super) total: i32,
    pub(super) valid: i32,
    pub(super) invalid: i32,
    pub(super) created: i32,
    pub(super) failed: i32,
    pub(super) unknown: i32,
    pub(super) cancelled: i32,
    pub(super) cancelling: bool,
    pub(super) sealed: bool,
    pub(super) created_at: OffsetDateTime,
    pub(super) updated_at: OffsetDateTime,
}

impl TryFrom<ApplyRow> for (Apply, Snapshot) {
    type Error = Corrupt;

    fn try_from(row: ApplyRow) -> Result<Self, Corrupt> {
        let settled =
            row.valid + row.invalid + row.created + row.failed + row.unknown + row.cancelled;
        let counts = Counts::from_array([
            row.total - settled,
            row.valid,
            row.invalid,
            row.created,
            row.failed,
            row.unknown,
            row.cancelled,
        ]);
        let apply = Apply {
            id: ApplyId(row.apply_id),
            product_key: row.product_key,
            iot_instance_id: row.iot_instance_id,
            after_check: row.after_check.parse()?,
            import: row.import,
            labels: labels::parse(&row.labels)?,
            created_at: row.created_at,
        };
        let status = row.status.parse()?;
        Ok((
            apply,
            Snapshot {
                revision: row.revision,
                status,
                counts,
                cancelling: row.cancelling,
                sealed: row.sealed,
                at: row.updated_at,
            },
        ))
    }
}

/// An apply as it stands, if the caller sees it.
pub(super) async fn apply(
    database: impl PgExecutor<'_>,
    caller: &Caller,
    id: ApplyId,
) -> Result<Option<(Apply, Snapshot)>, Error> {
    let row = sqlx::query_as!(
        ApplyRow,
        r#"SELECT apply_id, product_key, iot_instance_id, after_check, status, revision, total,
                  valid, invalid, created, failed, unknown, cancelled, cancelling, sealed, created_at,
                  updated_at, import, labels::text AS "labels!"
           FROM applies
           WHERE apply_id = $1 AND tenant = $2 AND product_key LIKE ANY ($3)"#,
        id.0,
        caller.tenant.as_str(),
        &visible::products(caller),
    )
    .fetch_optional(database)
    .await?;
    Ok(row.map(TryInto::try_into).transpose()?)
}

impl Store {
    /// An apply as it stands.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "apply"))]
    pub async fn apply(&self, caller: &Caller, id: ApplyId) -> Result<(Apply, Snapshot), Error> {
        let found = apply(&self.pool, caller, id).await?;
        found.ok_or(Error::NoSuchApply(id))
    }

    /// Devices of an apply from an ordinal on, only those with one of `outcomes` unless it is
    /// empty. An unknown apply has none.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "devices"))]
    pub async fn devices(
        &self,
        caller: &Caller,
        id: ApplyId,
        from: Ordinal,
        outcomes: &[Outcome],
        limit: usize,
    ) -> Result<DevicesPage, Error> {
        let mut page = DevicesPage {
            devices: Vec::new(),
            next: Some(from),
        };
        while let Some(from) = page.next {
            let left = limit - page.devices.len();
            let chunk = self
                .devices_of_chunk(caller, id, from, outcomes, left)
                .await?;
            page.next = chunk.as_ref().map(|chunk| chunk.next);
            let is_full = chunk.as_ref().is_some_and(|chunk| chunk.is_cut);
            page.devices
                .extend(chunk.into_iter().flat_map(|chunk| chunk.devices));
            if is_full {
                break;
            }
        }
        Ok(page)
    }

    /// Devices of one chunk from an ordinal on, up to `limit`, only those with one of `outcomes`
    /// unless it is empty: of the chunk that holds the ordinal, or of the first after it that has
    /// such devices. None if there is none. All of it is as of one time.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "devices_of_chunk"))]
    pub async fn devices_of_chunk(
        &self,
        caller: &Caller,
        id: ApplyId,
        from: Ordinal,
        outcomes: &[Outcome],
        limit: usize,
    ) -> Result<Option<DevicesOfChunk>, Error> {
        let letters = outcomes.iter().map(|outcome| char::from(outcome.letter()));
        let letters: String = letters.collect();
        let wanted = |outcome: Outcome| outcomes.is_empty() || outcomes.contains(&outcome);
        let chunk_no = chunk::place(from).0;
        let Some(row) = self.chunk_with(caller, id, chunk_no, &letters).await? else {
            return Ok(None);
        };
        let first = row.chunk_no * CHUNK as Ordinal;
        let mut chunk = DevicesOfChunk {
            devices: Vec::new(),
            next: first + CHUNK as Ordinal,
            end: first + row.names.len() as Ordinal,
            is_cut: false,
        };
        let mut reasons = row.reasons()?;
        let mut nicknames = row.nicknames.map(Vec::into_iter);
        let mut sns = row.sns.map(Vec::into_iter);
        let columns = row.names.into_iter().zip(row.outcomes.into_bytes());
        for (ordinal, (name, letter)) in (first..).zip(columns) {
            let nickname = nicknames
                .as_mut()
                .and_then(Iterator::next)
                .unwrap_or_default();
            let sn = sns.as_mut().and_then(Iterator::next).unwrap_or_default();
            let outcome = Outcome::from_letter(letter)?;
            if ordinal < from || !wanted(outcome) {
                continue;
            }
            if chunk.devices.len() == limit {
                (chunk.next, chunk.is_cut) = (ordinal, true);
                break;
            }
            let reason = reasons.remove(&ordinal);
            chunk.devices.push(DeviceRow {
                ordinal,
                name,
                nickname,
                sn,
                outcome,
                reason,
            });
        }
        Ok(Some(chunk))
    }

    /// The first chunk from `chunk_no` on that has a device with one of these outcomes.
    async fn chunk_with(
        &self,
        caller: &Caller,
        id: ApplyId,
        chunk_no: i32,
        letters: &str,
    ) -> Result<Option<ChunkRow>, Error> {
        let row = sqlx::query_as!(
            ChunkRow,
            r#"SELECT chunk_no, names, nicknames, sns, outcomes, reason_ordinals,
                      reason_codes, reason_texts,
                      reason_request_ids AS "reason_request_ids: Vec<Option<String>>",
                      reason_firsts AS "reason_firsts: Vec<Option<i32>>"
               FROM chunks
               WHERE apply_id = $1 AND chunk_no >= $2
                 AND ($3 = '' OR outcomes ~ ('[' || $3 || ']'))
                 AND EXISTS (SELECT FROM applies
                             WHERE apply_id = $1 AND tenant = $4 AND product_key LIKE ANY ($5))
               ORDER BY chunk_no LIMIT 1"#,
            id.0,
            chunk_no,
            letters,
            caller.tenant.as_str(),
            &visible::products(caller),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row)
    }
}

struct ChunkRow {
    chunk_no: i32,
    names: Vec<String>,
    nicknames: Option<Vec<String>>,
    sns: Option<Vec<String>>,
    outcomes: String,
    reason_ordinals: Vec<i32>,
    reason_codes: Vec<String>,
    reason_texts: Vec<String>,
    reason_request_ids: Vec<Option<String>>,
    reason_firsts: Vec<Option<i32>>,
}

impl ChunkRow {
    fn reasons(&self) -> Result<std::collections::HashMap<Ordinal, Reason>, Corrupt> {
        let columns = self
            .reason_ordinals
            .iter()
            .zip(&self.reason_codes)
            .zip(&self.reason_texts)
            .zip(&self.reason_request_ids)
            .zip(&self.reason_firsts);
        columns
            .map(|((((at, code), text), request_id), first)| {
                let reason = Reason {
                    code: code.parse()?,
                    text: text.clone(),
                    request_id: request_id.clone(),
                    first: *first,
                };
                Ok((*at, reason))
            })
            .collect()
    }
}
