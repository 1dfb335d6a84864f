//! Claiming the round whose turn it is.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Error, Store, seconds};
use crate::{
    breaking::{self, Fault, Point},
    domain::{ApplyId, Lane, Round},
};

/// A request to register or import that may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The date it is signed with, on the upstream's clock as far as this side knows it.
    pub signed_at: OffsetDateTime,
    /// What an import is signed with besides: the same nonce and date make the same request.
    pub nonce: Option<Uuid>,
    /// Whether this claim opened it, so that no request was sent under it yet.
    pub fresh: bool,
}

/// The right to one step of one round, until a time.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The apply.
    pub apply: ApplyId,
    /// Which of its rounds.
    pub round_no: i32,
    /// The lane that claimed it.
    pub(super) lane: Lane,
    /// The fencing token: what is recorded under another is refused.
    pub(super) token: Uuid,
    /// When the right ends, on the local clock.
    pub until: Instant,
    /// Product and instance, as blocks name them.
    pub(super) product: String,
    /// The product of the apply.
    pub product_key: String,
    /// Its instance; empty for none.
    pub iot_instance_id: String,
    /// The round as it was claimed.
    pub round: Round,
    /// How many devices it began with.
    pub devices: i32,
    /// Its devices: all of this chunk, or those listed.
    pub(super) chunk_no: Option<i32>,
    /// See `chunk_no`.
    pub(super) ordinals: Option<Vec<i32>>,
    /// Claims in a row that came to nothing, this one included.
    pub attempts: i32,
    /// Answers in a row that took the round no further.
    pub setbacks: i16,
    /// Result pages read so far.
    pub page: i32,
    /// How long the result is awaited, without the time for which it was blocked.
    pub asked_ago: Option<Duration>,
    /// How long ago the first of those claims was recorded, counted likewise.
    pub failing_for: Option<Duration>,
    /// Whether a block stands on it, which this claim probes.
    pub(super) blocked: bool,
    /// How long the upstream has refused its product or instance while it waited.
    pub refused_for: Option<Duration>,
    /// Whether the upstream apply passed its check long enough ago to be checked again.
    pub stale: bool,
    /// A request to register or import that is to be made, or may be under way.
    pub intent: Option<Intent>,
    /// Whether the apply is being cancelled: nothing is sent that might not have been.
    pub cancelling: bool,
    /// When its apply was stored.
    pub applied_at: OffsetDateTime,
    /// What the secrets of an import are sealed with, itself sealed.
    pub data_key: Option<Vec<u8>>,
    /// How long it had been due.
    pub late: Duration,
    /// The call that submitted its apply, for traces.
    pub traceparent: Option<String>,
}

/// What a lane has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Rounds that are due, up to 64.
    pub due: u32,
    /// How long until another one is due.
    pub next: Option<Duration>,
}

impl Store {
    /// What lanes have to do, in their order: how many rounds are due in each, up to 64. Those that
    /// are blocked are not due before the next probe.
    pub async fn looks(&self, lanes: &[Lane]) -> Result<Vec<Look>, Error> {
        const { assert!(Lane::ALL.len() <= 16, "the statement asks for 16") };
        let names: Vec<&str> = lanes.iter().map(|lane| lane.as_str()).collect();
        let rows = sqlx::query!(
            r#"WITH held AS (
                   SELECT scope, lane, product, since FROM holding WHERE account = $1
               )
               SELECT (SELECT count(*) FROM (
                           SELECT FROM rounds AS r
                           WHERE account = $1 AND lane = l.lane AND due_at <= now()
                             AND NOT EXISTS (
                                 SELECT FROM held AS h
                                 WHERE (h.lane IS NULL OR h.lane = l.lane)
                                   AND (h.scope <> 'PRODUCT'
                                        OR h.product = r.product
                                           AND greatest(h.since, r.turn_at)
                                               > now() - make_interval(secs => $3)))
                           LIMIT 64) AS due) AS "due!",
                      (SELECT extract(epoch FROM min(due_at) - now())::float8 FROM rounds
                       WHERE account = $1 AND lane = l.lane AND due_at > now()) AS next
               -- As many as ever, so that every plan expects the same and one is made once.
               FROM (SELECT n, ($2::text[])[n] AS lane FROM generate_series(1, 16) AS n) AS l
               WHERE n <= cardinality($2)
               ORDER BY n"#,
            self.account,
            &names as &[&str],
            seconds(self.blocking.block_for),
        )
        .fetch_all(&self.pool)
        .await?;
        let looks = rows.into_iter().map(|row| Look {
            due: row.due as u32,
            next: row.next.map(Duration::from_secs_f64),
        });
        Ok(looks.collect())
    }

    /// Claims the round of a lane whose turn it is, for `lease`. `signed_at` dates the request of
    /// one that is to be registered, unless an earlier request of its may still be under way.
    ///
    /// A lease that runs out makes its round due again, so a dead worker needs no undertaker. The
    /// attempt is counted here, before the upstream is asked, so one that kills its worker counts.
    pub async fn claim(
        &self,
        lane: Lane,
        lease: Duration,
        signed_at: OffsetDateTime,
    ) -> Result<Option<Claim>, Error> {
        let claimed_at = Instant::now();
        // Two statements, so that each has its order by an index and a plan that is made once.
        macro_rules! claim {
            ($turn:literal) => {
                sqlx::query_as!(
                    Row,
                    r#"
            WITH held AS (
                SELECT scope, product, since FROM holding
                WHERE account = $1 AND (lane IS NULL OR lane = $2)
            ), turn AS (
                SELECT apply_id, round_no, intent_at, product, turn_at, due_at
                FROM rounds AS r
                WHERE account = $1 AND lane = $2 AND due_at <= now()
                  AND NOT EXISTS (SELECT FROM held WHERE scope <> 'PRODUCT')
                  AND NOT EXISTS (
                      SELECT FROM held AS h
                      WHERE h.product = r.product
                        AND greatest(h.since, r.turn_at) > now() - make_interval(secs => $7))
                ORDER BY "# + $turn
                        + r#", apply_id, round_no
                LIMIT 1
                FOR NO KEY UPDATE SKIP LOCKED
            ), standing AS MATERIALIZED (
                -- A round waits for its product from its own turn on.
                SELECT b.block_no, b.scope = 'PRODUCT' AS own, greatest(b.since, turn.turn_at) AS since,
                       b.scope <> 'PRODUCT' OR greatest(b.since, turn.turn_at)
                                               > now() - make_interval(secs => $7) AS holds
                FROM blocks AS b, turn
                WHERE b.account = $1 AND b.lifted_at IS NULL
                  AND (b.scope = 'ACCOUNT' OR b.lane = $2 OR b.product = turn.product)
                ORDER BY b.block_no
                FOR NO KEY UPDATE OF b
            ), probed AS (
                -- Of two that see the same probe due, the second finds it taken.
                UPDATE blocks AS b SET probe_at = now() + make_interval(secs => $6)
                FROM standing
                WHERE b.block_no = standing.block_no AND standing.holds
                  AND b.lifted_at IS NULL AND b.probe_at <= now()
                RETURNING 1
            )
            UPDATE rounds AS r
            SET lease = gen_random_uuid(),
                due_at = now() + make_interval(secs => $3),
                attempts = r.attempts + 1,
                phase = CASE r.phase WHEN 'REGISTER' THEN 'REGISTERING'
                                     WHEN 'IMPORT' THEN 'IMPORTING' ELSE r.phase END,
                expected_at = CASE WHEN r.phase IN ('REGISTER', 'IMPORT') THEN now()
                                   ELSE r.expected_at END,
                intent_at = CASE WHEN r.phase IN ('REGISTER', 'IMPORT') THEN coalesce(r.intent_at, $4)
                                 ELSE r.intent_at END,
                intent_nonce = CASE r.phase WHEN 'IMPORT' THEN gen_random_uuid()
                                            ELSE r.intent_nonce END,
                -- A claim cannot know whether the one before it has sent anything.
                resent = CASE r.phase WHEN 'IMPORT' THEN false WHEN 'IMPORTING' THEN true
                                      ELSE r.resent END
            FROM turn, applies AS a,
                 -- As a rule there was none, and what it asks of them is not looked for.
                 (SELECT EXISTS (SELECT FROM blocks WHERE account = $1) AS was) AS any_block
            WHERE r.apply_id = turn.apply_id AND r.round_no = turn.round_no
              AND a.apply_id = turn.apply_id
              AND (SELECT count(*) FROM probed) = (SELECT count(*) FROM standing WHERE holds)
            RETURNING r.apply_id, r.round_no, r.lease AS "token!", r.phase, r.accepted,
                      r.upstream_apply_id, r.nameless, r.fruitless, r.devices, r.chunk_no, r.ordinals,
                      r.attempts, r.setbacks, r.page, r.intent_at, r.intent_nonce, r.resent,
                      turn.intent_at IS NULL AS "fresh!",
                      extract(epoch FROM now() - r.asked_at)::float8
                          - CASE WHEN any_block.was THEN blocked_for($1, $2, r.product, r.asked_at, $7)
                                 ELSE 0 END AS asked_ago,
                      extract(epoch FROM now() - r.failing_since)::float8
                          - CASE WHEN any_block.was THEN blocked_for($1, $2, r.product, r.failing_since, $7)
                                 ELSE 0 END AS failing_for,
                      EXISTS (SELECT FROM standing) AS "blocked!",
                      (SELECT extract(epoch FROM now() - min(since))::float8
                       FROM standing WHERE own) AS refused_for,
                      coalesce(r.checked_at < now() - make_interval(secs => $5), false) AS "stale!",
                      r.product, a.product_key, a.iot_instance_id, a.import, a.cancelling,
                      a.restored, a.created_at, a.data_key, a.traceparent,
                      extract(epoch FROM now() - turn.due_at)::float8 AS "late!"
            "#,
                    self.account,
                    lane.as_str(),
                    seconds(lease),
                    signed_at,
                    super::follow::CHECK_GOOD_FOR_SECONDS,
                    seconds(self.blocking.probe_every),
                    seconds(self.blocking.block_for),
                )
                .fetch_optional(&self.pool)
                .await?
            };
        }
        let row = match lane {
            // The earliest expected finish goes first, and before it what is overdue by 5 s.
            Lane::Status => claim!(
                "CASE WHEN due_at < now() - interval '5 s' THEN '-infinity' ELSE expected_at END, due_at"
            ),
            _ => claim!("turn_at"),
        };
        let Some(row) = row else { return Ok(None) };
        if breaking::on(Fault::IntentUnwritten) && matches!(lane, Lane::Register | Lane::Import) {
            sqlx::query(
                r#"UPDATE rounds
                   SET phase = CASE phase WHEN 'REGISTERING' THEN 'REGISTER' ELSE 'IMPORT' END,
                       intent_at = NULL, intent_nonce = NULL
                   WHERE apply_id = $1 AND round_no = $2
                     AND phase IN ('REGISTERING', 'IMPORTING')"#,
            )
            .bind(row.apply_id)
            .bind(row.round_no)
            .execute(&self.pool)
            .await?;
        }
        breaking::point_of(Point::Claimed, lane.as_str());
        Ok(Some(Claim {
            apply: ApplyId(row.apply_id),
            round_no: row.round_no,
            lane,
            token: row.token,
            until: claimed_at + lease,
            product: row.product,
            product_key: row.product_key,
            iot_instance_id: row.iot_instance_id,
            round: Round {
                phase: row.phase.parse()?,
                import: row.import,
                resent: row.resent,
                restored: row.restored,
                accepted: row.accepted,
                upstream_apply: row.upstream_apply_id,
                nameless: row.nameless,
                fruitless: row.fruitless,
            },
            devices: row.devices,
            chunk_no: row.chunk_no,
            ordinals: row.ordinals,
            attempts: row.attempts,
            setbacks: row.setbacks,
            page: row.page,
            asked_ago: row.asked_ago.map(past),
            failing_for: row.failing_for.map(past),
            blocked: row.blocked,
            refused_for: row.refused_for.map(past),
            stale: row.stale,
            intent: row.intent_at.map(|signed_at| Intent {
                signed_at,
                nonce: row.intent_nonce,
                fresh: row.fresh,
            }),
            cancelling: row.cancelling,
            applied_at: row.created_at,
            data_key: row.data_key,
            late: past(row.late),
            traceparent: row.traceparent,
        }))
    }
}

/// A claim as the database tells it.
struct Row {
    apply_id: i64,
    round_no: i32,
    token: Uuid,
    phase: String,
    accepted: bool,
    upstream_apply_id: Option<i64>,
    nameless: i16,
    fruitless: i16,
    devices: i32,
    chunk_no: Option<i32>,
    ordinals: Option<Vec<i32>>,
    attempts: i32,
    setbacks: i16,
    page: i32,
    intent_at: Option<OffsetDateTime>,
    intent_nonce: Option<Uuid>,
    resent: bool,
    fresh: bool,
    asked_ago: Option<f64>,
    failing_for: Option<f64>,
    blocked: bool,
    refused_for: Option<f64>,
    stale: bool,
    product: String,
    product_key: String,
    iot_instance_id: String,
    import: bool,
    cancelling: bool,
    restored: bool,
    created_at: OffsetDateTime,
    data_key: Option<Vec<u8>>,
    traceparent: Option<String>,
    late: f64,
}

#[cfg(test)]
impl Claim {
    /// A claim of a round that nothing is known of yet but how it stands.
    pub(crate) fn of(round: Round) -> Self {
        Self {
            apply: ApplyId(1),
            round_no: 1,
            token: Uuid::nil(),
            until: Instant::now(),
            product: "a1/".into(),
            product_key: "a1".into(),
            iot_instance_id: String::new(),
            lane: Lane::Check,
            applied_at: OffsetDateTime::UNIX_EPOCH,
            round,
            devices: 0,
            chunk_no: None,
            ordinals: None,
            attempts: 1,
            setbacks: 0,
            page: 0,
            asked_ago: None,
            failing_for: None,
            blocked: false,
            refused_for: None,
            stale: false,
            intent: None,
            cancelling: false,
            data_key: None,
            late: Duration::ZERO,
            traceparent: None,
        }
    }
}

fn past(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0))
}
