//! Recording calls that no step made, in sets.

use tokio::time::Instant;

use super::{CallMade, Error, Store, seconds};
use crate::{
    breaking::{self, Point},
    domain::{ApplyId, waiting::FailureScope},
};

/// A call that was made beside the steps of a round.
#[derive(Clone, Debug)]
pub struct BesideCall {
    /// The round that it was about.
    pub round_no: i32,
    /// When it had ended.
    pub ended_at: Instant,
    /// The call.
    pub made: CallMade,
}

impl Store {
    /// Records calls of an apply, for its history and for the use of the quotas. Nothing of an apply
    /// that is not there any more.
    pub async fn record_calls(&self, id: ApplyId, calls: &[BesideCall]) -> Result<(), Error> {
        if calls.is_empty() {
            return Ok(());
        }
        fn column<'a, T>(calls: &'a [BesideCall], of: impl Fn(&'a BesideCall) -> T) -> Vec<T> {
            calls.iter().map(of).collect()
        }
        let ago = |call: &BesideCall| seconds(call.ended_at.elapsed() + call.made.took);
        sqlx::query!(
            r#"INSERT INTO calls (apply_id, round_no, action, upstream_apply_id, called_at, took_ms,
                                  result, message, request_id, scope, judged)
               SELECT a.apply_id, c.round_no, c.action, c.upstream_apply_id,
                      now() - make_interval(secs => c.ago), c.took_ms, c.result, c.message,
                      c.request_id, c.scope, c.judged
               FROM (SELECT apply_id FROM applies WHERE apply_id = $1 FOR KEY SHARE) AS a,
                    unnest($2::integer[], $3::text[], $4::bigint[], $5::float8[], $6::integer[],
                           $7::text[], $8::text[], $9::text[], $10::text[], $11::boolean[])
                        AS c (round_no, action, upstream_apply_id, ago, took_ms, result, message,
                              request_id, scope, judged)"#,
            id.0,
            &column(calls, |call| call.round_no),
            &column(calls, |call| call.made.lane.as_str()) as &[&str],
            &column(calls, |call| call.made.upstream_apply) as &[Option<i64>],
            &column(calls, ago),
            &column(calls, |call| call.made.took.as_millis() as i32),
            &column(calls, |call| call.made.result.as_str()) as &[&str],
            &column(calls, |call| call.made.message.as_deref()) as &[Option<&str>],
            &column(calls, |call| call.made.request_id.as_deref()) as &[Option<&str>],
            &column(calls, |call| call.made.scope.map(FailureScope::as_str)) as &[Option<&str>],
            &column(calls, |call| call.made.judged),
        )
        .execute(&self.pool)
        .await?;
        breaking::point_of(Point::BesideRecorded, calls[0].made.lane.as_str());
        Ok(())
    }
}
