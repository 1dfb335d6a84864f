//! Storing an upload chunk by chunk. Of its streams the latest may write; the number of that one is
//! in the apply's row, and every write checks it under the apply's lock.

use std::collections::{HashMap, HashSet};

use super::{AuditEntry, Error, Store, audit, follow::Locked, newcomers::Newcomer, pool::Tx, read};
use crate::{
    breaking::{self, Fault},
    domain::{
        Apply, ApplyId, ApplyStatus, Caller, Chunk, Counts, Heading, Ordinal, RequestKey, Snapshot,
        caller::Act,
    },
    telemetry::trace,
};

/// The right to go on with an upload, until a later stream has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The apply that is uploaded.
    pub apply: ApplyId,
    /// Which of its streams this is: a later one has a higher number.
    pub number: i32,
}

impl Store {
    /// Begins an upload: stores an apply without devices that is not sealed. One that was begun
    /// under the same key is resumed.
    pub async fn begin_upload(
        &self,
        caller: &Caller,
        heading: &Heading,
        key: Option<&RequestKey>,
    ) -> Result<(Upload, Apply, Snapshot), Error> {
        self.begin_upload_for(caller, heading, key, trace::traceparent())
            .await
    }

    #[tracing::instrument(name = "begin_upload", target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "begin_upload"))]
    async fn begin_upload_for(
        &self,
        caller: &Caller,
        heading: &Heading,
        key: Option<&RequestKey>,
        call: Option<String>,
    ) -> Result<(Upload, Apply, Snapshot), Error> {
        let newcomer = Newcomer {
            caller: caller.clone(),
            heading: heading.clone(),
            counts: Counts::default(),
            status: ApplyStatus::Check,
            sealed: false,
            key: key.cloned(),
            traceparent: call,
            detail: format!("an upload, after_check {}", heading.after_check),
            chunks: Vec::new(),
        };
        match (self.enter(newcomer).await?, key) {
            ((newcomer, Some(stored)), _) => {
                let (apply, now) = newcomer.answer(stored);
                let upload = Upload {
                    apply: apply.id,
                    number: 1,
                };
                Ok((upload, apply, now))
            }
            ((_, None), Some(key)) => {
                let (apply, _) = self.answer_of_the_first(caller, key).await?;
                self.resume_upload(caller, apply.id).await
            }
            ((_, None), None) => unreachable!("only a request can be known"),
        }
    }

    /// Takes an upload over from whichever stream had it. One that is sealed is left as it is.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "resume_upload"))]
    pub async fn resume_upload(
        &self,
        caller: &Caller,
        id: ApplyId,
    ) -> Result<(Upload, Apply, Snapshot), Error> {
        let mut connection = self.pool.connection().await?;
        let mut tx = connection.begin().await?;
        let locked = Locked::lock(&mut tx, Some(caller), id).await?;
        if locked.standing.cancelling {
            return Err(Error::UploadCancelled(id));
        }
        let mut number = locked.uploads;
        if !locked.standing.sealed {
            number = sqlx::query_scalar!(
                "UPDATE applies SET uploads = uploads + 1 WHERE apply_id = $1 RETURNING uploads",
                id.0,
            )
            .fetch_one(&mut tx)
            .await?;
            let stored = locked.standing.counts.total();
            let detail = format!("an upload, taken over from device {stored} on");
            audit::write(&mut tx, &entry(caller, id, &detail)).await?;
        }
        let (apply, now) = read::apply(&mut tx, caller, id)
            .await?
            .ok_or(Error::NoSuchApply(id))?;
        self.commit(tx, "resume-upload").await?;
        Ok((Upload { apply: id, number }, apply, now))
    }

    /// What the secrets of an import are sealed with, itself sealed; none once it is not needed.
    pub async fn data_key(&self, id: ApplyId) -> Result<Option<Vec<u8>>, Error> {
        let wrapped = sqlx::query_scalar!("SELECT data_key FROM applies WHERE apply_id = $1", id.0)
            .fetch_optional(&self.pool)
            .await?;
        Ok(wrapped.flatten())
    }

    /// Stores the next chunk of an upload, full, with its round, which may be checked from now on.
    /// Fails with [`Error::QueueFull`] if too many devices are on their way; the same may be stored
    /// later.
    pub async fn append(
        &self,
        caller: &Caller,
        upload: Upload,
        chunk: &Chunk,
    ) -> Result<Snapshot, Error> {
        self.store_chunk(caller, upload, Some(chunk), false).await
    }

    /// Stores the last chunk of an upload, if there is one, and seals it: what follows is decided as
    /// for any apply from then on.
    pub async fn seal(
        &self,
        caller: &Caller,
        upload: Upload,
        last: Option<&Chunk>,
    ) -> Result<Snapshot, Error> {
        self.store_chunk(caller, upload, last, true).await
    }

    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "store_chunk"))]
    async fn store_chunk(
        &self,
        caller: &Caller,
        upload: Upload,
        chunk: Option<&Chunk>,
        seal: bool,
    ) -> Result<Snapshot, Error> {
        self.admit(chunk.map_or(0, Chunk::passed)).await?;
        let mut connection = self.pool.connection().await?;
        let mut tx = connection.begin().await?;
        let mut locked = locked_for(&mut tx, caller, upload).await?;
        if let Some(chunk) = chunk {
            debug_assert_eq!(chunk.first(), locked.standing.counts.total());
            self.insert_chunks(&mut tx, &[(upload.apply, &chunk.into())])
                .await?;
            let invalid = chunk.refused.len() as i32;
            locked
                .standing
                .counts
                .add([chunk.passed() as i32, 0, invalid, 0, 0, 0, 0]);
        }
        locked.standing.sealed = seal;
        let snapshot = locked.follow(&mut tx, true).await?;
        if seal {
            let detail = format!("{} devices, sealed", snapshot.counts.total());
            audit::write(&mut tx, &entry(caller, upload.apply, &detail)).await?;
        }
        self.commit(tx, if seal { "seal" } else { "append" })
            .await?;
        Ok(snapshot)
    }

    /// Where the first valid device of each of these names is in an apply, if it has one. Looks through
    /// all of its names, 1,000,000 in some 0.15 s, however many are asked for.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "first_of"))]
    pub async fn first_of(
        &self,
        id: ApplyId,
        names: &HashSet<String>,
    ) -> Result<HashMap<String, Ordinal>, Error> {
        if names.is_empty() || breaking::on(Fault::DuplicatesKept) {
            return Ok(HashMap::new());
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        // IS TRUE keeps the planner from making a join of it, for which it may choose nested loops.
        // A device that a local rule refused counts for none; one that the upstream refused does.
        let rows = sqlx::query!(
            r#"SELECT d.name AS "name!", min(c.chunk_no * 10000 + d.place - 1)::integer AS "first!"
               FROM chunks AS c
               CROSS JOIN unnest(c.names) WITH ORDINALITY AS d (name, place)
               WHERE c.apply_id = $1
                 AND (d.name IN (SELECT wanted FROM unnest($2::text[]) AS wanted)) IS TRUE
                 AND (substr(c.outcomes, d.place::integer, 1) <> 'I' OR NOT EXISTS (
                          SELECT FROM unnest(c.reason_ordinals, c.reason_codes) AS r (ordinal, code)
                          WHERE r.ordinal = c.chunk_no * 10000 + d.place - 1
                            AND r.code IN ('NICKNAME_LENGTH', 'NICKNAME_CHARACTER', 'DUPLICATE',
                                          'SECRET_LENGTH', 'SECRET_CHARACTER', 'SN_LENGTH',
                                          'SN_CHARACTER')))
               GROUP BY d.name"#,
            id.0,
            &names as &[&str],
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.name, row.first)).collect())
    }

    /// The names of a chunk of an apply, in their order; none if there is no such chunk.
    pub async fn names(&self, id: ApplyId, chunk_no: i32) -> Result<Vec<String>, Error> {
        let names = sqlx::query_scalar!(
            "SELECT names FROM chunks WHERE apply_id = $1 AND chunk_no = $2",
            id.0,
            chunk_no,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(names.unwrap_or_default())
    }
}

/// The apply, locked, if it may be written by this stream.
async fn locked_for(tx: &mut Tx<'_>, caller: &Caller, upload: Upload) -> Result<Locked, Error> {
    let apply = upload.apply;
    let locked = Locked::lock(tx, Some(caller), apply).await?;
    if locked.uploads != upload.number {
        return Err(Error::UploadTakenOver(apply));
    }
    if locked.standing.cancelling {
        return Err(Error::UploadCancelled(apply));
    }
    if locked.standing.sealed {
        let total = locked.standing.counts.total();
        return Err(Error::UploadSealed { apply, total });
    }
    Ok(locked)
}

fn entry<'a>(caller: &'a Caller, apply: ApplyId, detail: &'a str) -> AuditEntry<'a> {
    AuditEntry {
        caller,
        what: Act::Submit,
        apply: Some(apply),
        detail,
    }
}
