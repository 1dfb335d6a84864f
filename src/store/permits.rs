//! Permits: the right to one upstream call of a lane, as time slots shared by all replicas.

use std::time::Duration;

use super::{Error, Store, seconds};
use crate::{
    breaking::{self, Fault, Point},
    domain::Lane,
};

/// How much a lane slows down at most.
const SLOWEST: f64 = 16.0;

/// A block of consecutive slots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Permits {
    /// How long after the database answered the first slot begins; may be past.
    pub first_in: Duration,
    /// From one slot to the next.
    pub spacing: Duration,
    /// How many there are.
    pub count: u32,
}

impl Store {
    /// Takes the next `count` slots of a lane. The first begins no sooner than `lead` from now.
    ///
    /// One atomic statement for all replicas. `spacing` is that of the published rate; a lane that
    /// was throttled lately spaces its slots wider. `slack` is left free after the last of them.
    pub async fn permits(
        &self,
        lane: Lane,
        count: u32,
        spacing: Duration,
        lead: Duration,
        slack: Duration,
    ) -> Result<Permits, Error> {
        if breaking::on(Fault::PermitUncounted) {
            return Ok(Permits {
                first_in: lead,
                spacing,
                count,
            });
        }
        let row = sqlx::query!(
            r#"
            INSERT INTO lanes AS l (account, action, next_slot)
            VALUES ($1, $2,
                    clock_timestamp()
                        + make_interval(secs => $4::float8 + $3::float8 * $5::float8 + $6::float8))
            ON CONFLICT (account, action) DO UPDATE
            SET next_slot = greatest(l.next_slot, clock_timestamp() + make_interval(secs => $4))
                + make_interval(secs => $6::float8
                      + $3::float8 * $5::float8 * slowdown(l.slowed, l.throttled_at))
            RETURNING extract(epoch FROM next_slot - clock_timestamp())::float8 AS "end_in!",
                      slowdown(slowed, throttled_at) AS "slowed!"
            "#,
            self.account,
            lane.as_str(),
            f64::from(count),
            seconds(lead),
            seconds(spacing),
            seconds(slack),
        )
        .fetch_one(&self.pool)
        .await?;
        breaking::point_of(Point::PermitsTaken, lane.as_str());
        let spacing = spacing.mul_f64(row.slowed);
        let first_in = row.end_in - seconds(slack) - seconds(spacing) * f64::from(count);
        Ok(Permits {
            first_in: Duration::from_secs_f64(first_in.max(0.0)),
            spacing,
            count,
        })
    }

    /// Slows a lane down after the upstream throttled it: its spacing by a tenth, which one call that
    /// came late is good for, and twice as much each time that it happens again within 10 s, since
    /// then others use the quota as well. What is slowed is so by half after every 30 s. Nothing is
    /// sent before `pause` has passed; where the upstream names none, 1 s when it happens again.
    pub async fn slow_down(&self, lane: Lane, pause: Option<Duration>) -> Result<(), Error> {
        sqlx::query!(
            r#"UPDATE lanes
               -- Calls in flight together are throttled together, and count once.
               SET slowed = CASE WHEN throttled_at > clock_timestamp() - interval '1 s' THEN slowed
                                 ELSE least($4::float8, slowdown(slowed, throttled_at)
                                      * CASE WHEN throttled_at > clock_timestamp() - interval '10 s'
                                             THEN 2 ELSE 1.1 END) END,
                   throttled_at = clock_timestamp(),
                   next_slot = greatest(next_slot, clock_timestamp() + make_interval(secs =>
                       coalesce($3::float8,
                                CASE WHEN throttled_at > clock_timestamp() - interval '10 s'
                                     THEN 1 ELSE 0 END)))
               WHERE account = $1 AND action = $2"#,
            self.account,
            lane.as_str(),
            pause.map(seconds),
            SLOWEST,
        )
        .execute(&self.pool)
        .await?;
        breaking::point_of(Point::SlowedDown, lane.as_str());
        Ok(())
    }
}
