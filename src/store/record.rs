//! Recording what a step learnt, unless its lease has passed on.

use std::time::Duration;

use sqlx::PgExecutor;

use super::{Claim, Error, Pages, Store, blocks, chunk::Fold, follow::Locked, pool::Tx, seconds};
use crate::{
    breaking::{self, Fault, Point},
    domain::{
        Lane, Ordinal, Outcome,
        round::{Change, Part, Phase, Settle},
        waiting::FailureScope,
    },
};

/// An upstream call that a step made.
#[derive(Clone, Debug)]
pub struct CallMade {
    /// The action.
    pub lane: Lane,
    /// The upstream apply it was about or made.
    pub upstream_apply: Option<i64>,
    /// How long it took.
    pub took: Duration,
    /// A status, OK, or the code or kind of the failure.
    pub result: String,
    /// What the failure said, scrubbed.
    pub message: Option<String>,
    /// The upstream's RequestId.
    pub request_id: Option<String>,
    /// How far the cause of a failure reaches.
    pub scope: Option<FailureScope>,
    /// Whether the upstream looked into the call and answered it: it was neither throttled nor
    /// lost.
    pub judged: bool,
}

impl CallMade {
    /// Whether it was refused for a reason that others of the account share.
    fn is_blocked(&self) -> bool {
        matches!(self.scope, Some(FailureScope::Account | FailureScope::Lane))
    }
}

/// What a step has to record.
#[derive(Clone, Debug)]
pub struct Record {
    /// The round from now on, and what became of its devices.
    pub change: Change,
    /// How long until it is due again; meaningless for a round that rests.
    pub due_in: Duration,
    /// When its result was first expected, counted from now; none keeps what was said before.
    pub expected_in: Option<Duration>,
    /// Claims in a row that came to nothing.
    pub attempts: i32,
    /// Answers in a row that took the round no further.
    pub setbacks: i16,
    /// Whether a result is awaited from now on.
    pub asked: bool,
    /// Whether a request to register may still be under way. A round that leaves the registering
    /// phases has none.
    pub intent_open: bool,
    /// What was read of the result.
    pub pages: Pages,
    /// The call.
    pub call: Option<CallMade>,
}

impl Record {
    /// How long a request to register that may be under way is left before it is asked after again.
    const ASK_AGAIN: Duration = Duration::from_secs(5);

    /// The same for an apply that is being cancelled.
    pub(crate) fn when_cancelling(self) -> Self {
        let waits = self.change.round.phase == Phase::Register && self.intent_open;
        Self {
            due_in: if waits {
                self.due_in.max(Self::ASK_AGAIN)
            } else {
                self.due_in
            },
            change: self.change.when_cancelling(self.intent_open),
            ..self
        }
    }

    /// Whether the apply may look different, or go on, because of this.
    pub(crate) fn moves_the_apply(&self) -> bool {
        self.change.settle != Settle::Nothing
            || !self.change.parts.is_empty()
            || matches!(
                self.change.round.phase,
                // Where it would go on, unless it is being cancelled.
                Phase::Check
                    | Phase::Register
                    | Phase::CheckImport
                    | Phase::Import
                    | Phase::Held
                    | Phase::Unresolved
                    | Phase::Ended
            )
    }

    /// Whether the round keeps the intent of a request that may be under way.
    pub(crate) fn keeps_the_intent(&self) -> bool {
        let round = &self.change.round;
        let registering = matches!(
            round.phase,
            Phase::Register | Phase::Registering | Phase::Unknown | Phase::Unresolved
        );
        let importing = matches!(
            round.phase,
            Phase::Importing
                | Phase::Creating
                | Phase::Imported
                | Phase::ListImported
                | Phase::Lookup
        );
        self.intent_open && (registering || importing && round.import)
    }

    /// Whether the round has passed its check with this.
    pub(crate) fn passes_the_check(&self, before: Phase) -> bool {
        matches!(before, Phase::Checking | Phase::CheckImport)
            && matches!(
                self.change.round.phase,
                Phase::Held | Phase::Register | Phase::Import
            )
    }
}

impl Store {
    /// Records a step. Fails with [`Error::LeaseLost`], having written nothing, if another step has
    /// the round now.
    #[tracing::instrument(target = "otel", skip_all, fields(otel.kind = "client",
        db.system.name = "postgresql", db.operation.name = "record"))]
    pub async fn record(
        &self,
        claim: &Claim,
        open: &[Ordinal],
        record: &Record,
    ) -> Result<(), Error> {
        let mut connection = self.pool.connection().await?;
        let mut tx = connection.begin().await?;
        if breaking::on(Fault::FenceIgnored) {
            take_back(&mut tx, claim).await?;
        }
        let mut settled = false;
        // A poll that came too early is nobody's news.
        let mut is_news = record.change.round != claim.round;
        if record.moves_the_apply() {
            let mut apply = Locked::lock(&mut tx, None, claim.apply).await?;
            let record = &match apply.standing.cancelling {
                true => record.clone().when_cancelling(),
                false => record.clone(),
            };
            update_round(&mut tx, claim, record, created(open, record)).await?;
            let changed = fold(open, &record.change.settle)
                .write(&mut tx, apply.id, &mut apply.standing.counts)
                .await?;
            insert_parts(&mut tx, claim, &record.change.parts).await?;
            // A round may stay where it is when some of its devices do not.
            is_news |= changed;
            apply.follow(&mut tx, changed).await?;
            settled = apply.standing.status.is_settled();
        } else {
            update_round(&mut tx, claim, record, None).await?;
        }
        record.pages.write(&mut tx, claim).await?;
        let mut blocks_changed = false;
        if let Some(call) = &record.call {
            blocks_changed =
                blocks::heed(&mut tx, &self.account, claim, call, self.blocking).await?;
        }
        if settled {
            blocks::lift_unwaited(&mut tx, claim.apply).await?;
        }
        breaking::point_of(Point::StepWritten, claim.lane.as_str());
        tx.commit().await?;
        breaking::point_of(Point::StepCommitted, claim.lane.as_str());
        if is_news || blocks_changed {
            self.bell.ring();
        }
        Ok(())
    }
}

/// Takes the lease of a round from whoever has it.
async fn take_back(tx: &mut Tx<'_>, claim: &Claim) -> Result<(), Error> {
    sqlx::query(
        r#"UPDATE rounds SET lease = $3, due_at = coalesce(due_at, now()),
                             phase = CASE WHEN due_at IS NULL THEN $4 ELSE phase END
           WHERE apply_id = $1 AND round_no = $2"#,
    )
    .bind(claim.apply.0)
    .bind(claim.round_no)
    .bind(claim.token)
    .bind(claim.round.phase.as_str())
    .execute(&mut *tx)
    .await?;
    Ok(())
}

fn fold<'a>(open: &[Ordinal], settle: &'a Settle) -> Fold<'a> {
    let mut fold = Fold::default();
    match settle {
        Settle::Nothing => {}
        Settle::Open(outcome) => {
            for &at in open {
                fold.settle(at, *outcome, None);
            }
        }
        Settle::Each(each) => {
            for (at, outcome, reason) in each {
                fold.settle(*at, *outcome, reason.as_ref());
            }
        }
    }
    fold
}

/// Between which places the devices lie that the round created, as far as this step has learnt. Names
/// are created under an upstream apply, which a round that has created some keeps.
fn created(open: &[Ordinal], record: &Record) -> Option<(Ordinal, Ordinal)> {
    let created: Vec<Ordinal> = match &record.change.settle {
        Settle::Open(Outcome::Created) => open.to_vec(),
        Settle::Each(each) => {
            let created = each.iter().filter(|(_, to, _)| *to == Outcome::Created);
            created.map(|(at, ..)| *at).collect()
        }
        Settle::Nothing | Settle::Open(_) => Vec::new(),
    };
    Some((*created.iter().min()?, *created.iter().max()?))
}

/// Writes how the round stands now, and the call that has told.
async fn update_round(
    database: impl PgExecutor<'_>,
    claim: &Claim,
    record: &Record,
    created: Option<(Ordinal, Ordinal)>,
) -> Result<(), Error> {
    let round = &record.change.round;
    let rests = round.phase.lane().is_none();
    let call = record.call.as_ref();
    // Together, since others wait for the apply meanwhile.
    let done = sqlx::query_scalar!(
        r#"WITH done AS (
               UPDATE rounds
               SET phase = $4, upstream_apply_id = $5, nameless = $6, attempts = $7, lease = NULL,
                   due_at = CASE WHEN NOT $8 THEN now() + make_interval(secs => $9) END,
                   expected_at = coalesce(now() + make_interval(secs => $10), expected_at),
                   asked_at = CASE WHEN $11 THEN now() ELSE asked_at END,
                   checked_at = CASE WHEN $12 THEN now() ELSE checked_at END,
                   intent_at = CASE WHEN $13 THEN intent_at END,
                   intent_nonce = CASE WHEN $13 THEN intent_nonce END,
                   resent = $19, fruitless = $20,
                   page = $14, setbacks = $15,
                   failing_since = CASE WHEN $7 > 0 OR $15::smallint > 0 THEN coalesce(failing_since, now()) END,
                   turn_at = CASE WHEN $16 THEN greatest(turn_at, now()) ELSE turn_at END,
                   created_first = least(created_first, $17), created_last = greatest(created_last, $18)
               WHERE apply_id = $1 AND round_no = $2 AND lease = $3
               RETURNING apply_id, round_no
           ), made AS (
               INSERT INTO calls (apply_id, round_no, action, upstream_apply_id, called_at, took_ms,
                                  result, message, request_id, scope, judged)
               SELECT apply_id, round_no, $21::text, $22, now() - make_interval(secs => $23), $24, $25,
                      $26, $27, $28, $29
               FROM done WHERE $21 IS NOT NULL
           )
           SELECT count(*) AS "count!" FROM done"#,
        claim.apply.0,
        claim.round_no,
        claim.token,
        round.phase.as_str(),
        round.upstream_apply,
        round.nameless,
        record.attempts,
        rests,
        seconds(record.due_in),
        record.expected_in.map(seconds),
        record.asked,
        record.passes_the_check(claim.round.phase),
        record.keeps_the_intent(),
        record.pages.after(claim.page),
        record.setbacks,
        // What is refused goes behind the others, so that the next probe is another's.
        record.call.as_ref().is_some_and(CallMade::is_blocked),
        created.map(|(first, _)| first),
        created.map(|(_, last)| last),
        round.resent,
        round.fruitless,
        call.map(|call| call.lane.as_str()),
        call.and_then(|call| call.upstream_apply),
        call.map_or(0.0, |call| seconds(call.took)),
        call.map(|call| call.took.as_millis() as i32),
        call.map(|call| call.result.as_str()),
        call.and_then(|call| call.message.as_deref()),
        call.and_then(|call| call.request_id.as_deref()),
        call.and_then(|call| call.scope).map(FailureScope::as_str),
        call.map(|call| call.judged),
    )
    .fetch_one(database)
    .await?;
    match done {
        1 => Ok(()),
        _ => Err(Error::LeaseLost {
            apply: claim.apply,
            round_no: claim.round_no,
        }),
    }
}

/// Rounds that take over some of a round's devices. The first has its turn, and the others theirs
/// after it, so that many of them do not hold up everyone.
async fn insert_parts(tx: &mut Tx<'_>, claim: &Claim, parts: &[Part]) -> Result<(), Error> {
    for (n, part) in parts.iter().enumerate() {
        sqlx::query!(
            r#"INSERT INTO rounds (apply_id, round_no, account, product, phase, accepted, ordinals,
                                   devices, nameless, fruitless, turn_at, due_at)
               SELECT $1, (SELECT max(round_no) + 1 FROM rounds WHERE apply_id = $1), account,
                      product, $8, accepted, $3, $4, $5, $9,
                      CASE WHEN $6 THEN greatest(turn_at, now()) ELSE turn_at END
                          + make_interval(secs => $7), now()
               FROM rounds WHERE apply_id = $1 AND round_no = $2"#,
            claim.apply.0,
            claim.round_no,
            &part.ordinals,
            part.ordinals.len() as i32,
            part.nameless,
            // Halving makes rounds for as long as it takes; they queue behind what came since.
            part.nameless > 0,
            seconds(super::newcomers::TURN * n as u32),
            Phase::first(claim.round.import).as_str(),
            part.fruitless,
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}
