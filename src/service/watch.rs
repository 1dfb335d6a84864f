//! WatchApply: the events of an apply, until it has settled.

use std::time::Duration;

use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, Shared},
    stream,
    stream::BoxStream,
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tracing::{Instrument as _, Span};

use super::{
    Service,
    access::{Pass, revoked},
    answer, convert, status,
    watched::Watched,
};
use crate::{
    domain::{Apply, ApplyId, Caller, Right, Snapshot, apply::Until},
    hub, proto as pb,
    store::Error,
};

impl Service {
    #[tracing::instrument(name = "rpc.watch_apply", skip_all, fields(apply.id = request.apply_id))]
    pub(super) async fn watch(
        &self,
        pass: Pass,
        request: pb::WatchApplyRequest,
    ) -> Result<BoxStream<'static, Result<pb::WatchApplyResponse, Status>>, Status> {
        let (id, seen, until) = convert::watch(&request)?;
        let (apply, now) = self.opened(&pass.caller, id).await.map_err(status::of)?;
        if seen > now.revision {
            return Err(status::from_the_future(id, seen, now.revision));
        }
        let progress = match (seen == now.revision, until.ends_at(now.status)) {
            (true, true) => Progress::Ended,
            (true, false) | (false, _) => Progress::Moving,
        };
        let (events, stop) = (self.hub.watch(id, seen), self.stop.clone());
        let product_key = apply.product_key.clone();
        let watch = Watch {
            ended: pass.ended([Right::Read], product_key).boxed().shared(),
            blocks: self.hub.blocks(&apply),
            apply,
            events,
            seen,
            until,
            last: now,
            progress,
            heartbeat: self.options.heartbeat,
            service: self.clone(),
            stop,
            moves_on: Instant::now() + self.options.watch_age(),
            watched: Watched::new(),
        };
        // What is logged while it lasts names the call; its trace ends here.
        let call = Span::current();
        // One message is made at a time, when the transport has room for it.
        Ok(stream::try_unfold(watch, move |mut watch| {
            let next = async move {
                let message = watch.next().await;
                match &message {
                    Ok(message) => watch.watched.heed(message.as_ref()),
                    Err(error) if error.code() == Code::Unauthenticated => {
                        watch.watched.ends("barred");
                    }
                    Err(_) if watch.stop.is_cancelled() => watch.watched.ends("stopping"),
                    Err(_) if watch.moves_on <= Instant::now() => watch.watched.ends("moved"),
                    Err(_) => watch.watched.ends("failed"),
                }
                Ok(message?.map(|message| (message, watch)))
            };
            next.instrument(call.clone())
        })
        .boxed())
    }

    async fn opened(&self, caller: &Caller, id: ApplyId) -> Result<(Apply, Snapshot), Error> {
        let _permit = self
            .openings
            .acquire()
            .await
            .expect("openings are never closed");
        self.store.apply(caller, id).await
    }
}

/// What one caller watches.
struct Watch {
    /// Over once the caller may not watch any more.
    ended: Shared<BoxFuture<'static, ()>>,
    apply: Apply,
    events: hub::Watch,
    blocks: hub::Blocks,
    /// The revision of the last event sent.
    seen: i64,
    /// When it ends.
    until: Until,
    /// The last event sent, or the apply as it was at first.
    last: Snapshot,
    progress: Progress,
    /// How long it is silent at most.
    heartbeat: Duration,
    service: Service,
    stop: CancellationToken,
    /// When it is taken up again elsewhere.
    moves_on: Instant,
    watched: Watched,
}

/// Where a watch stands after the last event sent.
#[derive(Clone, Copy, Debug)]
enum Progress {
    /// More will follow.
    Moving,
    /// The watch ends at the event; whether the apply has stayed there is not known yet.
    Reached,
    /// The apply is still at the event that ends the watch.
    Ended,
}

impl Watch {
    /// The next change or sign of life; none once the watch has reached its end.
    async fn next(&mut self) -> Result<Option<pb::WatchApplyResponse>, Status> {
        let (stop, blocks) = (self.stop.clone(), self.blocks.clone());
        let ended = self.ended.clone();
        let heartbeat = self.heartbeat;
        // Before that, the events that there are.
        let is_abreast = self.seen >= self.last.revision;
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(status::stopping(self.apply.id, self.seen)),
            () = ended => Err(revoked(self.apply.id, self.seen)),
            () = sleep_until(self.moves_on), if is_abreast => {
                Err(status::moving_on(self.apply.id, self.seen))
            }
            event = self.next_event() => {
                Ok(event.map_err(status::of)?.map(|event| self.message(&event)))
            }
            (told, since) = blocks.changed(), if is_abreast => {
                self.blocks = told;
                Ok(Some(self.sign_of_life(Some(since)).await))
            }
            () = tokio::time::sleep(heartbeat) => Ok(Some(self.sign_of_life(None).await)),
        }
    }

    /// The apply as last sent, and what it waits for, looked up no earlier than `since`. A database
    /// that is away is no reason for silence.
    async fn sign_of_life(&self, since: Option<Instant>) -> pb::WatchApplyResponse {
        let Service { store, waits, .. } = &self.service;
        let waiting = waits
            .of(store, &self.apply, &self.last, since)
            .await
            .unwrap_or_default();
        pb::WatchApplyResponse {
            heartbeat: true,
            waiting_for: waiting.map(answer::waiting_for),
            ..self.message(&self.last)
        }
    }

    fn message(&self, at: &Snapshot) -> pb::WatchApplyResponse {
        pb::WatchApplyResponse {
            // A heartbeat before the first event has no revision to repeat.
            apply: (at.revision == self.seen).then(|| answer::apply(&self.apply, at)),
            ..Default::default()
        }
    }

    /// The next event. Someone may have asked for more since the last one, so the end is where the
    /// apply is now, not where it once was.
    async fn next_event(&mut self) -> Result<Option<Snapshot>, Error> {
        match self.progress {
            Progress::Ended => return Ok(None),
            Progress::Reached if self.events.is_at_end().await? => {
                self.progress = Progress::Ended;
                return Ok(None);
            }
            Progress::Reached | Progress::Moving => {}
        }
        let event = self.events.next().await?;
        self.seen = event.revision;
        self.last = event;
        self.progress = match self.until.ends_at(event.status) {
            true => Progress::Reached,
            false => Progress::Moving,
        };
        Ok(Some(event))
    }
}
