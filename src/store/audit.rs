//! The audit: who changed what and who saw whose secrets, for good.
//!
//! A change and its entry are one transaction. The table takes no update and no removal but that of
//! retention, and an entry outlives its apply.

use std::time::Duration;

use sqlx::PgExecutor;

use super::{Error, Store, seconds};
use crate::{
    breaking::{self, Point},
    domain::{ApplyId, Caller, caller::Act},
};

/// Entries that are removed in one statement.
const BATCH: i64 = 1_000;

/// One entry. Says neither a secret nor the name of a device.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// Did what.
    pub what: Act,
    /// To which apply.
    pub apply: Option<ApplyId>,
    /// With which wishes.
    pub detail: &'a str,
}

impl Store {
    /// Writes an entry about what changes nothing here: secrets that are about to be shown, a
    /// refusal.
    pub async fn audit(&self, entry: &Entry<'_>) -> Result<(), Error> {
        write(&self.pool, entry).await?;
        breaking::point(Point::Audited);
        Ok(())
    }

    /// Removes the entries that are older than this. Returns how many those were.
    pub(super) async fn forget_audit(&self, older_than: Duration) -> Result<u64, Error> {
        let mut removed = 0;
        loop {
            let mut connection = self.pool.connection().await?;
            let mut tx = connection.begin().await?;
            sqlx::query("SELECT set_config('registrar.audit_retention', 'on', true)")
                .execute(&mut tx)
                .await?;
            // Numbers rise with time, so the oldest are the first.
            let done = sqlx::query!(
                r#"DELETE FROM audit
                   WHERE at < now() - make_interval(secs => $1)
                     AND entry_no IN (SELECT entry_no FROM audit ORDER BY entry_no LIMIT $2)"#,
                seconds(older_than),
                BATCH,
            )
            .execute(&mut tx)
            .await?;
            breaking::point(Point::AuditForgetting);
            tx.commit().await?;
            breaking::point(Point::AuditForgotten);
            removed += done.rows_affected();
            if done.rows_affected() < BATCH as u64 {
                return Ok(removed);
            }
        }
    }
}

/// Writes an entry, in the transaction of the change that it is about.
pub(super) async fn write(database: impl PgExecutor<'_>, entry: &Entry<'_>) -> Result<(), Error> {
    let Entry {
        caller,
        what,
        apply,
        detail,
    } = entry;
    sqlx::query!(
        r#"INSERT INTO audit (tenant, caller, proof, peer, what, apply_id, detail)
           VALUES ($1, $2, $3, $4, $5, $6, $7)"#,
        caller.tenant.as_str(),
        &*caller.name,
        caller.proof.as_str(),
        caller.peer.map(|peer| peer.to_string()),
        what.as_str(),
        apply.map(|id| id.0),
        detail,
    )
    .execute(database)
    .await?;
    Ok(())
}
