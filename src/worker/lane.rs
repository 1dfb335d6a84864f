//! One lane: takes permits when rounds are due, and starts a step with each.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use super::Worker;
use crate::{
    domain::Lane,
    lanes::Slot,
    store,
    telemetry::{metrics, trace},
};

/// How long a lane sleeps at most before it looks without being woken.
const LOOK_ANYWAY: Duration = Duration::from_secs(1);

/// How long a lane pauses after the database failed it.
const PAUSE: Duration = Duration::from_secs(1);

/// One lane of a process.
pub(super) struct LaneWorker {
    worker: Worker,
    lane: Lane,
    /// Room for steps in flight.
    room: Arc<Semaphore>,
    steps: TaskTracker,
}

/// What a look at the lane came to.
enum Look {
    Worked,
    Idle(Duration),
}

impl LaneWorker {
    pub(super) fn new(worker: Worker, lane: Lane, steps: TaskTracker) -> Self {
        let room = Arc::new(Semaphore::new(worker.options.steps as usize));
        Self {
            worker,
            lane,
            room,
            steps,
        }
    }

    /// Works the lane until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut wake = self.worker.wake.clone();
        let mut failing = false;
        while !stop.is_cancelled() {
            // Listen before looking, or work that arrives in between is missed.
            wake.mark_unchanged();
            let pause = match self.look(&stop).await {
                Ok(Look::Worked) => {
                    failing = false;
                    continue;
                }
                Ok(Look::Idle(pause)) => {
                    failing = false;
                    pause
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        self.tell(&error);
                    }
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
                Ok(()) = wake.changed(), if !failing => {}
            }
        }
    }

    fn tell(&self, error: &store::Error) {
        let (lane, cause) = (self.lane.as_str(), error as &dyn StdError);
        match error {
            // The hub says aloud that the database is away; four lanes need not.
            store::Error::Unreachable(_) => {
                tracing::debug!(error = cause, lane, "the lane waits for the database");
            }
            _ => tracing::error!(error = cause, lane, "the lane cannot work"),
        }
    }

    async fn look(&self, stop: &CancellationToken) -> Result<Look, store::Error> {
        let room = self.room.available_permits() as u32;
        if room == 0 {
            // The next step that ends makes room.
            tokio::select! {
                () = stop.cancelled() => {}
                _ = self.room.acquire() => {}
            }
            return Ok(Look::Worked);
        }
        let Some(look) = self.worker.looks.at(self.lane).await? else {
            return Ok(Look::Idle(PAUSE));
        };
        if look.due == 0 {
            return Ok(Look::Idle(
                look.next.unwrap_or(LOOK_ANYWAY).min(LOOK_ANYWAY),
            ));
        }
        if let Some(pause) = self.worker.lanes.clock().holds(Instant::now()) {
            return Ok(Look::Idle(pause.min(LOOK_ANYWAY)));
        }
        // A clock that was refused is measured by one call.
        let count = match self.worker.lanes.clock().is_accepted() {
            true => look.due.min(self.worker.lanes.block(self.lane)).min(room),
            false => 1,
        };
        let lanes = &self.worker.lanes;
        for slot in lanes.slots(self.lane, count, ahead(self.lane)).await? {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(slot.open - ahead(self.lane)) => {}
            }
            if !self.start(slot).await? {
                break;
            }
        }
        Ok(Look::Worked)
    }

    /// Starts a step of the round whose turn it is; false if none is due any more.
    async fn start(&self, slot: Slot) -> Result<bool, store::Error> {
        if slot.close <= Instant::now() {
            self.worker.lanes.missed(self.lane, slot);
            return Ok(true);
        }
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            return Ok(false);
        };
        let lease = self.worker.options.lease;
        let signed_at = self.worker.upstream.now();
        let Some(claim) = self.worker.store.claim(self.lane, lease, signed_at).await? else {
            return Ok(false);
        };
        let worker = self.worker.clone();
        let lane = self.lane;
        let [traced, logged] = trace::step(
            lane.as_str(),
            claim.apply.0,
            claim.round_no,
            claim.traceparent.as_deref(),
        );
        metrics().step_delay.record(claim.late, [lane.as_str()]);
        let step = async move {
            let _room = room;
            let _in_flight = metrics().steps.one([lane.as_str()]);
            let (apply, round_no) = (claim.apply, claim.round_no);
            let step = worker.step(lane, claim, slot);
            match metrics().step.time([lane.as_str()], step).await {
                Ok(()) => {}
                Err(error @ store::Error::LeaseLost { .. }) => {
                    metrics().lease_losses.add(1, [lane.as_str()]);
                    tracing::info!(apply.id = %apply, round.no = round_no, %error, "a step was overtaken");
                }
                Err(error) => {
                    let error = &error as &dyn StdError;
                    tracing::error!(
                        error,
                        apply.id = %apply,
                        round.no = round_no,
                        "a step failed; its round is due again when the lease ends"
                    );
                }
            }
        };
        self.steps.spawn(step.instrument(logged).instrument(traced));
        Ok(true)
    }
}

/// How long before its slot a round is claimed: time to read and hash the names of a check, and
/// little otherwise, since what is leased waits.
fn ahead(lane: Lane) -> Duration {
    match lane {
        Lane::Check | Lane::CheckImport | Lane::Import => Duration::from_millis(75),
        Lane::Status
        | Lane::Register
        | Lane::Page
        | Lane::Imported
        | Lane::Detail
        | Lane::Details
        | Lane::Product => Duration::from_millis(10),
    }
}
