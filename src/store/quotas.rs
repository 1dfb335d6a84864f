//! How much of each quota is used.

use super::{Error, Store};
use crate::domain::Lane;

/// Rounds that are counted as due in each lane; a longer queue is told as this long.
const COUNTED: i64 = 100_000;

/// The use of one lane, by all replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    /// Calls made within the last minute.
    pub calls_last_minute: i64,
    /// Rounds that are due, up to 100,000.
    pub rounds_due: i64,
    /// How many times the usual time is kept between two calls.
    pub slowed: f64,
    /// What the upstream says to the action as a whole, while it refuses it.
    pub blocked: Option<String>,
}

impl Store {
    /// The use of each lane, in the order of [`Lane::ALL`].
    pub async fn uses(&self) -> Result<Vec<(Lane, Use)>, Error> {
        let actions: Vec<&str> = Lane::ALL.iter().map(|lane| lane.as_str()).collect();
        let rows = sqlx::query!(
            r#"WITH made AS (
                   SELECT c.action, count(*) AS calls
                   FROM calls AS c JOIN applies AS a USING (apply_id)
                   WHERE c.called_at > now() - interval '1 minute' AND a.account = $1
                   GROUP BY c.action
               )
               SELECT coalesce(made.calls, 0) AS "calls!",
                      (SELECT count(*) FROM (
                           SELECT FROM rounds AS r
                           WHERE r.account = $1 AND r.lane = action AND r.due_at <= now()
                           LIMIT $3) AS due) AS "due!",
                      coalesce(slowdown(l.slowed, l.throttled_at), 1) AS "slowed!",
                      (SELECT b.code || ': ' || b.message FROM blocks AS b
                       WHERE b.account = $1 AND b.lifted_at IS NULL
                         AND (b.scope = 'ACCOUNT' OR b.lane = asked.action)
                       ORDER BY b.scope = 'ACCOUNT' DESC LIMIT 1) AS blocked
               FROM unnest($2::text[]) WITH ORDINALITY AS asked (action, place)
               LEFT JOIN made USING (action)
               LEFT JOIN (SELECT * FROM lanes WHERE account = $1) AS l USING (action)
               ORDER BY place"#,
            self.account,
            &actions as &[&str],
            COUNTED,
        )
        .fetch_all(&self.pool)
        .await?;
        let uses = rows.into_iter().map(|row| Use {
            calls_last_minute: row.calls,
            rounds_due: row.due,
            slowed: row.slowed,
            blocked: row.blocked,
        });
        Ok(Lane::ALL.iter().copied().zip(uses).collect())
    }
}
