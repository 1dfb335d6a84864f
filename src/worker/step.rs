//! One step: a claimed round taken one upstream call further.

use std::{error::Error as StdError, time::Duration};

use time::OffsetDateTime;
use tokio::time::Instant;

use super::{
    Worker,
    ends::Came,
    follows,
    judge::{self, Judged, Next},
    pace::Pace,
    result,
};
use crate::{
    breaking::{self, Fault},
    domain::{
        Lane, Ordinal, Phase, SMALL_ROUND,
        retry::pause_after,
        round::{Event, IllegalTransition},
    },
    lanes::{self, Shown, Slot, TooLate},
    store::{self, CallMade, Claim, Pages, Record},
    upstream::{Answer, Call, Error, Product, Scope, Verdict},
};

/// The pause before a record is stored again.
const AGAIN: Duration = Duration::from_millis(200);

/// What is left of a lease when a call must have ended, so that its result can be recorded.
const TO_RECORD: Duration = Duration::from_millis(500);

impl Worker {
    /// Takes a claimed round one call further and records what it learnt.
    pub(super) async fn step(
        &self,
        lane: Lane,
        claim: Claim,
        slot: Slot,
    ) -> Result<(), store::Error> {
        let product = Product {
            product_key: &claim.product_key,
            iot_instance_id: Some(claim.iot_instance_id.as_str()).filter(|id| !id.is_empty()),
        };
        let id = claim.round.upstream_apply.unwrap_or_default();
        match claim.round.phase {
            Phase::CheckImport | Phase::Importing | Phase::Imported | Phase::ListImported => {
                self.step_of_import(lane, &claim, slot, product).await
            }
            Phase::Lookup => self.look_up(&claim, slot, product).await,
            Phase::Check => {
                let members = self.store.members(&claim).await?;
                if members.names.is_empty() {
                    let open = Some(members.ordinals);
                    return self.record(&claim, open, nothing_left(), None).await;
                }
                let mut slot = slot;
                if members.names.len() > SMALL_ROUND {
                    if self.is_x509(&claim, product).await? {
                        let parts = Judged::now(Event::TooLarge);
                        let open = Some(members.ordinals);
                        return self.record(&claim, open, parts, None).await;
                    }
                    // Whether it is may have taken its time to find out.
                    slot = self.lanes.still_open(lane, slot).await?;
                }
                let call = self.upstream.check_names(product, members.devices());
                let Ok(answer) = self.send(lane, &claim, slot, &call, None).await? else {
                    return self.give_back(&claim).await;
                };
                let judged = judge::check(&answer, &members, claim.attempts);
                let open = Some(members.ordinals);
                self.finish(lane, &claim, open, judged, answer, |ok| Some(ok.apply_id))
                    .await
            }
            Phase::Registering if lane == Lane::Register => {
                self.register(&claim, slot, product, id).await
            }
            Phase::Checking | Phase::Registering | Phase::Creating | Phase::Unknown => {
                let call = self.upstream.status(product, id);
                let Ok(mut answer) = self.send(lane, &claim, slot, &call, None).await? else {
                    return self.give_back(&claim).await;
                };
                if claim.round.import {
                    self.scrub_status(&claim, &mut answer).await?;
                }
                let members = match judge::names_devices(&answer) {
                    true => Some(self.store.members(&claim).await?),
                    false => None,
                };
                let window = self.options.upstream_time_window;
                let judged = judge::status(&answer, &claim, members.as_ref(), window);
                let open = members.map(|members| members.ordinals);
                self.finish(lane, &claim, open, judged, answer, |_| Some(id))
                    .await
            }
            Phase::Counting => {
                let call = self.upstream.page(product, id, 1);
                let Ok(answer) = self.send(lane, &claim, slot, &call, None).await? else {
                    return self.give_back(&claim).await;
                };
                let open = self.store.open(&claim).await?;
                let judged = result::count(&answer, &claim, open.len());
                self.finish(lane, &claim, Some(open), judged, answer, |_| Some(id))
                    .await
            }
            Phase::Listing => {
                let call = self.upstream.page(product, id, claim.page as u32 + 1);
                let Ok(answer) = self.send(lane, &claim, slot, &call, None).await? else {
                    return self.give_back(&claim).await;
                };
                let (members, before) = match result::is_last(&answer, &claim) {
                    true => {
                        let before = self.store.listed(&claim).await?;
                        (Some(self.store.members(&claim).await?), before)
                    }
                    false => (None, Vec::new()),
                };
                let last = members.as_ref().map(|members| (members, before.as_slice()));
                let judged = result::list(&answer, &claim, last);
                let open = members.map(|members| members.ordinals);
                self.finish(lane, &claim, open, judged, answer, |_| Some(id))
                    .await
            }
            Phase::Held | Phase::Register | Phase::Import | Phase::Unresolved | Phase::Ended => {
                self.give_back(&claim).await
            }
        }
    }

    /// Asks the upstream to register, under the intent that the claim has written.
    async fn register(
        &self,
        claim: &Claim,
        slot: Slot,
        product: Product<'_>,
        id: i64,
    ) -> Result<(), store::Error> {
        let Some(intent) = claim.intent else {
            return self.give_back(claim).await;
        };
        if intent.fresh && claim.stale {
            return self
                .record(claim, None, Judged::now(Event::Stale), None)
                .await;
        }
        let window = self.options.upstream_time_window;
        if !intent.fresh && !judge::may_be_sent_again(self.upstream.now(), &intent, window) {
            // Too late for its date; the status tells what became of the request.
            return self.give_back(claim).await;
        }
        let call = self.upstream.register(product, id);
        let date = Some(intent.signed_at);
        let Ok(answer) = self.send(Lane::Register, claim, slot, &call, date).await? else {
            let unsent = if intent.fresh {
                Event::NotRegistered
            } else {
                Event::RegisterUnheard
            };
            return self.record(claim, None, Judged::now(unsent), None).await;
        };
        let judged = match lost_is_refused(&answer) {
            true => Judged::now(Event::Stale),
            false => judge::register(&answer, claim, intent.fresh),
        };
        self.finish(Lane::Register, claim, None, judged, answer, |_| Some(id))
            .await
    }

    /// Sends a call within its slot and the claim's lease.
    pub(super) async fn send<T>(
        &self,
        lane: Lane,
        claim: &Claim,
        slot: Slot,
        call: &Call<T>,
        date: Option<OffsetDateTime>,
    ) -> Result<Result<Answer<T>, TooLate>, store::Error> {
        let deadline = claim.until - TO_RECORD.min(self.options.lease / 4);
        self.lanes.send(lane, slot, deadline, call, date).await
    }

    /// The round as it was before the claim, due at once: nothing was sent.
    pub(super) async fn give_back(&self, claim: &Claim) -> Result<(), store::Error> {
        let unchanged = Judged {
            next: Next::Wait,
            pause: Duration::ZERO,
            counts: false,
            is_setback: false,
            pages: Pages::Kept,
        };
        self.record(claim, None, unchanged, None).await
    }

    pub(super) async fn finish<T>(
        &self,
        lane: Lane,
        claim: &Claim,
        open: Option<Vec<Ordinal>>,
        mut judged: Judged,
        answer: Answer<T>,
        upstream_apply: impl FnOnce(&T) -> Option<i64>,
    ) -> Result<(), store::Error>
    where
        T: Shown,
    {
        if let Err(error) = &answer.outcome {
            // Nobody promises a status to an import.
            if !matches!(judged.next, Next::Event(Event::NoStatus)) {
                log(claim, lane, error);
            }
            if error.scope == Scope::Apply {
                // Its block is probed as often.
                judged.pause = judged.pause.max(self.options.probe_every);
            }
        }
        let came = Came {
            lane,
            claim,
            error: answer.outcome.as_ref().err(),
            now: answer.at,
        };
        let judged = self.options.waits.end(&self.store, came, judged).await?;
        let about = answer.outcome.as_ref().ok().and_then(upstream_apply);
        let made = lanes::made(lane, about.or(claim.round.upstream_apply), &answer);
        self.record(claim, open, judged, Some(made)).await
    }

    /// Records what follows from a step's answer. `open`: the open devices of the round, where they
    /// are known already.
    pub(super) async fn record(
        &self,
        claim: &Claim,
        open: Option<Vec<Ordinal>>,
        judged: Judged,
        call: Option<CallMade>,
    ) -> Result<(), store::Error> {
        let open = match (&judged.next, open) {
            (_, Some(open)) => open,
            (Next::Event(event), None) if follows::settles(claim.round.phase, event) => {
                self.store.open(claim).await?
            }
            _ => Vec::new(),
        };
        let record = learnt(claim, judged, &open, &self.pace, call)?;
        self.keep(claim, &open, &record).await
    }

    /// Stores a record, again and again while the database is away and the lease lasts. One that was
    /// stored and whose answer got lost is not stored twice: the lease is gone with it.
    async fn keep(
        &self,
        claim: &Claim,
        open: &[Ordinal],
        record: &Record,
    ) -> Result<(), store::Error> {
        loop {
            match self.store.record(claim, open, record).await {
                Err(store::Error::Unreachable(error)) if Instant::now() + AGAIN < claim.until => {
                    tracing::debug!(
                        error = &error as &dyn StdError,
                        apply.id = %claim.apply,
                        round.no = claim.round_no,
                        "what a step learnt is not stored yet"
                    );
                    tokio::time::sleep(AGAIN).await;
                }
                done => return done,
            }
        }
    }
}

/// What a step records: the round's next state, and its next time. `open`: its open devices, where
/// its event settles them.
pub(super) fn learnt(
    claim: &Claim,
    judged: Judged,
    open: &[Ordinal],
    pace: &Pace,
    call: Option<CallMade>,
) -> Result<Record, IllegalTransition> {
    let before = claim.round.phase;
    let mut setbacks = claim.setbacks + i16::from(judged.is_setback);
    let (change, asked, open_intent) = match judged.next {
        Next::Wait => {
            let was_told = |call: &CallMade| call.judged && call.scope.is_none();
            if call.as_ref().is_some_and(was_told)
                && matches!(before, Phase::Checking | Phase::Creating)
                && let Some(elapsed) = claim.asked_ago
            {
                pace.still_running(before, claim.devices as usize, elapsed);
            }
            (follows::unchanged(&claim.round), false, true)
        }
        Next::Event(event) => {
            let elapsed = claim.asked_ago.unwrap_or_default();
            if follows::ends_a_wait(&event) && matches!(before, Phase::Checking | Phase::Creating) {
                pace.finished(before, claim.devices as usize, elapsed);
            }
            if follows::takes_further(&event) {
                setbacks = 0;
            }
            let asked = follows::begins_a_wait(&event);
            let open_intent = follows::leaves_the_intent(&claim.round, &event);
            let change = claim.round.clone().on(event, open)?;
            // Devices are asked after for a time that begins when they become unknown. Those
            // that were created and cannot be counted may have been so before.
            let becomes_unknown = match change.round.phase {
                Phase::Unknown => matches!(before, Phase::Registering | Phase::Creating),
                // Who was asked after by its status has had a part of that time.
                Phase::Lookup => !matches!(before, Phase::Lookup | Phase::Unknown),
                _ => false,
            };
            let asked = asked || becomes_unknown;
            (change, asked, open_intent)
        }
    };
    let phase = change.round.phase;
    // What is looked up need not be waited for.
    let awaited =
        (asked && phase != Phase::Lookup).then(|| pace.usual(phase, claim.devices as usize));
    Ok(Record {
        change,
        due_in: awaited.unwrap_or_default().max(judged.pause),
        expected_in: awaited,
        attempts: match (judged.counts, call.is_some()) {
            (true, _) => claim.attempts,
            (false, true) => 0,
            (false, false) => claim.attempts - 1,
        },
        asked,
        intent_open: open_intent,
        pages: judged.pages,
        setbacks,
        call,
    })
}

/// A round none of whose devices is open any more.
pub(super) fn nothing_left() -> Judged {
    Judged::now(Event::NothingLeft)
}

/// Whether no answer is to be taken for a refusal.
pub(super) fn lost_is_refused<T>(answer: &Answer<T>) -> bool {
    breaking::on(Fault::LostIsRefused)
        && answer
            .outcome
            .as_ref()
            .is_err_and(|error| error.verdict == Verdict::Unclear)
}

fn log(claim: &Claim, lane: Lane, error: &Error) {
    if error.scope == Scope::Clock && !error.clock_corrected {
        // Told when it begins and when it ends.
        return;
    }
    tracing::warn!(
        apply.id = %claim.apply,
        round.no = claim.round_no,
        lane = lane.as_str(),
        verdict = ?error.verdict,
        scope = ?error.scope,
        throttled = error.throttled(),
        error = error as &dyn StdError,
        "the upstream did not do as asked"
    );
}

/// The pause after attempts that came to nothing.
pub(super) fn backoff(attempts: i32) -> Duration {
    pause_after(attempts.max(1) as u32, rand::random())
}
