//! The state as a whole, for whoever operates the service.
//!
//! Read now and then and never per request. Each statement keeps to an index of what is on the way:
//! what has settled costs nothing, and neither do devices.

use std::time::Duration;

use super::{Connection, Error, Store, seconds};
use crate::domain::{ApplyStatus, Lane, Phase, waiting::FailureScope};

/// From when on a due round is overdue. A full lane has rounds that wait for some seconds.
const OVERDUE: Duration = Duration::from_secs(60);

/// The state of an account.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Applies under way or waiting for a caller, by status; the others are none.
    pub applies: Vec<(ApplyStatus, i64)>,
    /// Devices of the applies under way, in the order of [`crate::domain::Outcome::ALL`].
    pub devices: [i64; 7],
    /// For how many seconds the oldest apply under way has existed.
    pub oldest_unsettled: f64,
    /// For how many seconds the one that is still the longest has not changed.
    pub quiet: f64,
    /// Rounds on their way, by phase; the others are none.
    pub rounds: Vec<(Phase, i64)>,
    /// Lanes that were ever used.
    pub lanes: Vec<LaneState>,
    /// Blocks that stand, by scope; the others are none.
    pub blocks: Vec<(FailureScope, i64)>,
}

/// What is up in one lane.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneState {
    /// The lane.
    pub lane: Lane,
    /// Rounds that are due.
    pub due: i64,
    /// Those that have been so for more than a minute.
    pub overdue: i64,
    /// For how many seconds the first of them has been due.
    pub oldest_due: f64,
    /// Times the usual time between two calls.
    pub slowed: f64,
}

/// The connections of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// At work.
    pub used: u32,
    /// Open, and not at work.
    pub idle: u32,
    /// As many as there may be.
    pub most: u32,
}

impl Store {
    /// A connection out of the pool, as every query takes one.
    pub async fn connection(&self) -> Result<Connection, Error> {
        Ok(self.pool.connection().await?)
    }

    /// How many connections there are.
    pub fn connections(&self) -> Connections {
        let (size, idle) = self.pool.size();
        Connections {
            used: size.saturating_sub(idle),
            idle,
            most: self.pool.raw().options().get_max_connections(),
        }
    }

    /// The state as of now.
    pub async fn state(&self, mut on: Connection) -> Result<State, Error> {
        let mut tx = on.begin().await?;
        // Whoever asks does not wait for longer, and a plan gone wrong is not left to run.
        sqlx::query("SET LOCAL statement_timeout = '2s'")
            .execute(&mut tx)
            .await?;
        let under_way = sqlx::query!(
            r#"SELECT status, count(*) AS "applies!",
                      extract(epoch FROM now() - min(created_at))::float8 AS "oldest!",
                      extract(epoch FROM now() - min(updated_at))::float8 AS "quiet!",
                      ARRAY[sum(total - valid - invalid - created - failed - unknown - cancelled),
                            sum(valid), sum(invalid), sum(created), sum(failed), sum(unknown),
                            sum(cancelled)]::bigint[] AS "devices!"
               FROM applies WHERE account = $1 AND status IN ('CHECK', 'CREATE')
               GROUP BY status"#,
            self.account,
        )
        .fetch_all(&mut tx)
        .await?;
        let waiting = sqlx::query!(
            r#"SELECT status, count(*) AS "applies!" FROM applies
               WHERE account = $1 AND status IN ('CHECK_SUCCESS', 'CHECK_FAILED')
               GROUP BY status"#,
            self.account,
        )
        .fetch_all(&mut tx)
        .await?;
        let rounds = sqlx::query!(
            r#"SELECT phase, count(*) AS "rounds!" FROM rounds
               WHERE account = $1 AND due_at IS NOT NULL GROUP BY phase
               UNION ALL
               SELECT 'UNRESOLVED', count(*) FROM rounds
               WHERE account = $1 AND phase = 'UNRESOLVED'"#,
            self.account,
        )
        .fetch_all(&mut tx)
        .await?;
        let lanes = sqlx::query!(
            r#"SELECT l.action, slowdown(l.slowed, l.throttled_at) AS "slowed!",
                      (SELECT count(*) FROM rounds AS r
                       WHERE r.account = $1 AND r.lane = l.action AND r.due_at <= now()) AS "due!",
                      (SELECT count(*) FROM rounds AS r
                       WHERE r.account = $1 AND r.lane = l.action
                         AND r.due_at < now() - make_interval(secs => $2)) AS "overdue!",
                      coalesce((SELECT greatest(0, extract(epoch FROM now() - min(r.due_at)))
                                FROM rounds AS r
                                WHERE r.account = $1 AND r.lane = l.action
                                  AND r.due_at IS NOT NULL), 0)::float8 AS "oldest!"
               FROM lanes AS l WHERE l.account = $1"#,
            self.account,
            seconds(OVERDUE),
        )
        .fetch_all(&mut tx)
        .await?;
        let blocks = sqlx::query!(
            r#"SELECT scope, count(*) AS "blocks!" FROM blocks
               WHERE account = $1 AND lifted_at IS NULL GROUP BY scope"#,
            self.account,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.rollback().await?;

        let mut state = State {
            applies: Vec::new(),
            devices: [0; 7],
            oldest_unsettled: 0.0,
            quiet: 0.0,
            rounds: Vec::new(),
            lanes: Vec::new(),
            blocks: Vec::new(),
        };
        for row in under_way {
            state.applies.push((row.status.parse()?, row.applies));
            for (sum, devices) in state.devices.iter_mut().zip(row.devices) {
                *sum += devices;
            }
            state.oldest_unsettled = state.oldest_unsettled.max(row.oldest);
            state.quiet = state.quiet.max(row.quiet);
        }
        for row in waiting {
            state.applies.push((row.status.parse()?, row.applies));
        }
        for row in rounds {
            let phase = row.phase.unwrap_or_default().parse()?;
            state.rounds.push((phase, row.rounds));
        }
        for row in lanes {
            // A lane of another version is none of ours.
            if let Ok(lane) = row.action.parse() {
                state.lanes.push(LaneState {
                    lane,
                    due: row.due,
                    overdue: row.overdue,
                    oldest_due: row.oldest,
                    slowed: row.slowed,
                });
            }
        }
        for row in blocks {
            state.blocks.push((row.scope.parse()?, row.blocks));
        }
        Ok(state)
    }
}
