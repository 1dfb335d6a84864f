//! Which rounds created which devices, and under which of the upstream's own applies.

use super::{Error, Store};
use crate::domain::{ApplyId, Ordinal};

/// A round that created devices of an apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creation {
    /// Its number.
    pub round_no: i32,
    /// The upstream's ApplyId that it created them under. None of an import whose answer was lost.
    pub upstream_apply: Option<i64>,
    /// The place of the first device that it created, or an earlier one.
    pub first: Ordinal,
    /// The place of the last device that it created, or a later one.
    pub last: Ordinal,
}

impl Store {
    /// The rounds that may have created devices between two places, both included. What was CREATED
    /// when this is read was created by one of them.
    pub async fn creations(
        &self,
        id: ApplyId,
        first: Ordinal,
        last: Ordinal,
    ) -> Result<Vec<Creation>, Error> {
        let creations = sqlx::query_as!(
            Creation,
            r#"SELECT round_no, upstream_apply_id AS upstream_apply,
                      created_first AS "first!", created_last AS "last!"
               FROM rounds
               WHERE apply_id = $1 AND created_first <= $3 AND created_last >= $2
               ORDER BY created_first, round_no"#,
            id.0,
            first,
            last,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(creations)
    }
}
