//! Data keys, whose seal changes with the master keys.

use super::{Error, Store};
use crate::{
    breaking::{self, Point},
    domain::ApplyId,
};

/// The data key of an apply, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// The apply.
    pub apply: ApplyId,
    /// Its data key.
    pub wrapped: Vec<u8>,
}

impl Store {
    /// The data keys that are kept, of the applies after a number (none: from the oldest), up to
    /// `most`.
    pub async fn data_keys(
        &self,
        after: Option<ApplyId>,
        most: i64,
    ) -> Result<Vec<WrappedKey>, Error> {
        let rows = sqlx::query!(
            r#"SELECT apply_id, data_key AS "data_key!" FROM applies
               WHERE data_key IS NOT NULL AND apply_id > $2 AND account = $1
               ORDER BY apply_id LIMIT $3"#,
            self.account,
            after.map_or(0, |id| id.0),
            most,
        )
        .fetch_all(&self.pool)
        .await?;
        let keys = rows.into_iter().map(|row| WrappedKey {
            apply: ApplyId(row.apply_id),
            wrapped: row.data_key,
        });
        Ok(keys.collect())
    }

    /// Stores data keys under another seal, each with the one that it had. One that has gone or
    /// changed meanwhile stays as it is, and so does one whose apply somebody holds: the next pass
    /// finds it. Returns how many were stored.
    pub async fn rewrap(&self, keys: &[(WrappedKey, Vec<u8>)]) -> Result<u64, Error> {
        let ids: Vec<i64> = keys.iter().map(|(old, _)| old.apply.0).collect();
        let old: Vec<&[u8]> = keys.iter().map(|(old, _)| old.wrapped.as_slice()).collect();
        let new: Vec<&[u8]> = keys.iter().map(|(_, new)| new.as_slice()).collect();
        breaking::point(Point::Rewrapping);
        let done = sqlx::query!(
            r#"UPDATE applies AS a SET data_key = k.new
               FROM (SELECT apply_id, k.old, k.new
                     FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS k (id, old, new)
                     JOIN applies ON apply_id = k.id AND data_key = k.old
                     ORDER BY apply_id
                     FOR NO KEY UPDATE OF applies SKIP LOCKED) AS k
               WHERE a.apply_id = k.apply_id"#,
            &ids,
            &old as &[&[u8]],
            &new as &[&[u8]],
        )
        .execute(&self.pool)
        .await?;
        breaking::point(Point::Rewrapped);
        Ok(done.rows_affected())
    }
}
