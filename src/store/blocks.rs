//! Blocks: what the upstream refuses for a reason that reaches further than one call.
//!
//! Written last in a transaction, after apply and rounds.

use std::time::Duration;

use super::{CallMade, Claim, Error, Store, pool::Tx, seconds};
use crate::domain::{
    ApplyId, Lane,
    waiting::{Block, FailureScope},
};

/// How blocks are probed, and when they are not waited for any longer.
#[derive(Clone, Copy, Debug)]
pub struct Blocking {
    /// How often one round is let through while a block stands.
    pub probe_every: Duration,
    /// How long a round is held back whose product or instance is refused.
    pub block_for: Duration,
}

impl Default for Blocking {
    fn default() -> Self {
        Self {
            probe_every: Duration::from_secs(30),
            block_for: Duration::from_secs(3600),
        }
    }
}

/// A block that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its number; one that is put up again has another.
    pub block_no: i64,
    /// The product that it is on, as PRODUCT_KEY/INSTANCE; none for one of the account or an action.
    pub product: Option<String>,
}

/// What a call proves of blocks.
struct Proof {
    /// The block that stands from now on.
    stands: Option<FailureScope>,
    /// Whether each of these is passed: account, lane, product.
    passed: [bool; 3],
}

impl Proof {
    /// A call that is refused for a narrower reason has passed the wider ones.
    fn of(call: &CallMade) -> Self {
        let (stands, passed) = match call.scope {
            Some(FailureScope::Account) => (call.scope, [false; 3]),
            Some(FailureScope::Lane) => (call.scope, [true, false, false]),
            Some(FailureScope::Product) => (call.scope, [true, true, false]),
            Some(FailureScope::Call | FailureScope::Clock) if !call.judged => (None, [false; 3]),
            Some(FailureScope::Clock) => (None, [false; 3]),
            Some(FailureScope::Call) | None => (None, [true; 3]),
        };
        Self { stands, passed }
    }
}

/// Writes what a call says of blocks. Returns whether one was put up or lifted.
pub(super) async fn heed(
    tx: &mut Tx<'_>,
    account: &str,
    claim: &Claim,
    call: &CallMade,
    blocking: Blocking,
) -> Result<bool, Error> {
    let proof = Proof::of(call);
    let lifted = claim.blocked && proof.passed != [false; 3] && {
        let [passed_account, passed_lane, passed_product] = proof.passed;
        let done = sqlx::query!(
            r#"UPDATE blocks SET lifted_at = now()
               WHERE block_no IN (
                   SELECT block_no FROM blocks
                   WHERE account = $1 AND lifted_at IS NULL
                     AND (scope = 'ACCOUNT' AND $4 OR lane = $2 AND $5
                          -- The upstream need not look at the product to tell a status.
                          OR product = $3 AND $6
                             AND (action = $2 OR $2 <> 'QueryBatchRegisterDeviceStatus'))
                   ORDER BY block_no FOR NO KEY UPDATE)"#,
            account,
            call.lane.as_str(),
            claim.product,
            passed_account,
            passed_lane,
            passed_product,
        )
        .execute(&mut *tx)
        .await?;
        done.rows_affected() > 0
    };
    let Some(scope) = proof.stands else {
        return Ok(lifted);
    };
    let is_new = sqlx::query_scalar!(
        r#"INSERT INTO blocks (account, scope, lane, product, probe_at, action, code, message)
           VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5), $6, $7, $8)
           ON CONFLICT (account, coalesce(lane, ''), coalesce(product, ''))
               WHERE lifted_at IS NULL
           DO UPDATE SET action = excluded.action, code = excluded.code,
                         message = excluded.message
           RETURNING xmax = 0 AS "is_new!""#,
        account,
        scope.as_str(),
        (scope == FailureScope::Lane).then_some(call.lane.as_str()),
        (scope == FailureScope::Product).then_some(claim.product.as_str()),
        seconds(blocking.probe_every),
        call.lane.as_str(),
        call.result,
        call.message.as_deref().unwrap_or_default(),
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(lifted || is_new)
}

/// Lifts the block on the product of an apply that has settled, if nobody else waits for it: no call
/// would find out that it is over.
pub(super) async fn lift_unwaited(tx: &mut Tx<'_>, apply: ApplyId) -> Result<(), Error> {
    sqlx::query!(
        r#"UPDATE blocks AS b SET lifted_at = now()
           FROM applies AS a
           WHERE a.apply_id = $1 AND b.lifted_at IS NULL AND b.account = a.account
             AND b.product = a.product_key || '/' || a.iot_instance_id
             AND NOT EXISTS (
                 SELECT FROM applies AS other
                 WHERE other.account = a.account AND other.status IN ('CHECK', 'CREATE')
                   AND other.apply_id <> a.apply_id AND other.product_key = a.product_key
                   AND other.iot_instance_id = a.iot_instance_id)"#,
        apply.0,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

impl Store {
    /// The widest block that stands on an apply which needs these lanes next.
    pub(super) async fn block_on(
        &self,
        apply: ApplyId,
        lanes: &[Lane],
    ) -> Result<Option<Block>, Error> {
        let lanes: Vec<&str> = lanes.iter().map(|lane| lane.as_str()).collect();
        let row = sqlx::query!(
            r#"SELECT scope, action, code, message, since, probe_at
               FROM blocks JOIN applies AS a USING (account)
               WHERE a.apply_id = $2 AND lifted_at IS NULL
                 AND (scope = 'ACCOUNT' OR lane = ANY ($1)
                      OR product = a.product_key || '/' || a.iot_instance_id)
               ORDER BY scope = 'ACCOUNT' DESC, scope = 'LANE' DESC
               LIMIT 1"#,
            &lanes as &[&str],
            apply.0,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            Ok(Block {
                scope: row.scope.parse()?,
                action: row.action,
                code: row.code,
                message: row.message,
                since: row.since,
                probe_at: row.probe_at,
            })
        })
        .transpose()
    }

    /// All blocks that stand, whatever the account.
    pub async fn standing_blocks(&self) -> Result<Vec<Standing>, Error> {
        let rows = sqlx::query!(
            "SELECT block_no, product FROM blocks WHERE lifted_at IS NULL ORDER BY block_no",
        )
        .fetch_all(&self.pool)
        .await?;
        let blocks = rows.into_iter().map(|row| Standing {
            block_no: row.block_no,
            product: row.product,
        });
        Ok(blocks.collect())
    }

    /// Forgets blocks that were lifted longer ago than any wait lasts.
    pub(super) async fn forget_lifted_blocks(&self, age: Duration) -> Result<(), Error> {
        sqlx::query!(
            "DELETE FROM blocks WHERE lifted_at < now() - make_interval(secs => $1)",
            seconds(age),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Whether a call of a lane was answered for anyone on the account within the last `age`.
    pub async fn lane_answered_within(&self, lane: Lane, age: Duration) -> Result<bool, Error> {
        let answered = sqlx::query_scalar!(
            r#"SELECT EXISTS (
                   SELECT FROM calls AS c JOIN applies AS a USING (apply_id)
                   WHERE c.called_at > now() - make_interval(secs => $3) AND c.action = $2
                     AND a.account = $1 AND c.judged) AS "answered!""#,
            self.account,
            lane.as_str(),
            seconds(age),
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(answered)
    }
}
