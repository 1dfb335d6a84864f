//! WatchApply: the events of an apply, until it has settled.

use std::{pin::Pin, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tonic::Status;
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
        let stop = self.stop.clone();
        let ended = pass.ended([Right::Read], apply.product_key.clone());
        let over = async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => Over::Stopping,
                () = ended => Over::Barred,
            }
        };
        let watch = Box::new(Watch {
            over: over.boxed(),
            moves_on: Box::pin(sleep(self.options.watch_age())),
            blocks: self.hub.blocks(&apply).changed().boxed(),
            silence: Box::pin(sleep(self.options.heartbeat)),
            apply,
            cursor: Cursor {
                events: self.hub.watch(id, seen),
                seen,
                last: now,
                progress,
                until,
            },
            service: self.clone(),
            watched: Watched::new(),
        });
        // What is logged while it lasts names the call; its trace ends here.
        let call = Span::current();
        // One message is made at a time, when the transport has room for it.
        Ok(stream::try_unfold(watch, move |mut watch| {
            let next = async move {
                let message = watch.next().await;
                match &message {
                    Ok(message) => watch.watched.heed(message.as_ref()),
                    Err(End { how, .. }) => watch.watched.ends(how),
                }
                let message = message.map_err(|end| end.told)?;
                Ok(message.map(|message| (message, watch)))
            };
            next.instrument(call.clone())
        })
        .boxed())
    }

    async fn opened(&self, caller: &Caller, id: ApplyId) -> Result<(Apply, Snapshot), Error> {
        // While the database is away each that opens takes its time to find that out.
        let permit = timeout(OPENED_WITHIN, self.openings.acquire()).await;
        let _permit = permit
            .map_err(|_| Error::away())?
            .expect("openings are never closed");
        self.store.apply(caller, id).await
    }
}

/// How long a sign of life waits for what it tells besides.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// How long a watch waits to be opened by the few that may be at a time.
const OPENED_WITHIN: Duration = Duration::from_secs(20);

/// What one caller watches. What ends or interrupts its silence lasts as long as it does and is not
/// made anew for each message: most of the cost of a message would be that.
struct Watch {
    /// Ready when the watch may not go on, whatever the apply does.
    over: BoxFuture<'static, Over>,
    /// When it is taken up again elsewhere.
    moves_on: Pin<Box<Sleep>>,
    /// The next change of what stands in its apply's way.
    blocks: BoxFuture<'static, (hub::Blocks, Instant)>,
    /// Ends when it has been silent for as long as it may be.
    silence: Pin<Box<Sleep>>,
    apply: Apply,
    cursor: Cursor,
    service: Service,
    watched: Watched,
}

/// Why a watch may not go on.
enum Over {
    /// The server stops.
    Stopping,
    /// Its caller may not watch any more.
    Barred,
}

/// How a watch ends before its time.
struct End {
    /// As it is counted.
    how: &'static str,
    /// As the caller is told.
    told: Status,
}

/// Where a watch is in the events of its apply.
struct Cursor {
    events: hub::Watch,
    /// The revision of the last event sent.
    seen: i64,
    /// The last event sent, or the apply as it was at first.
    last: Snapshot,
    progress: Progress,
    /// When it ends.
    until: Until,
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
    async fn next(&mut self) -> Result<Option<pb::WatchApplyResponse>, End> {
        let (id, seen) = (self.apply.id, self.cursor.seen);
        let end = |how, told| Err(End { how, told });
        // Before that, the events that there are.
        let is_abreast = seen >= self.cursor.last.revision;
        let heartbeat = self.service.options.heartbeat;
        self.silence.as_mut().reset(Instant::now() + heartbeat);
        tokio::select! {
            biased;
            over = &mut self.over => match over {
                Over::Stopping => end("stopping", status::stopping(id, seen)),
                Over::Barred => end("barred", revoked(id, seen)),
            },
            () = &mut self.moves_on, if is_abreast => end("moved", status::moving_on(id, seen)),
            event = self.cursor.next() => match event {
                Ok(event) => Ok(event.map(|event| self.message(&event))),
                Err(error) => end("failed", status::of(error)),
            },
            (told, since) = &mut self.blocks, if is_abreast => {
                self.blocks = told.changed().boxed();
                Ok(Some(self.sign_of_life(Some(since)).await))
            }
            () = &mut self.silence => Ok(Some(self.sign_of_life(None).await)),
        }
    }

    /// The apply as last sent, and what it waits for, looked up no earlier than `since`. A database
    /// that is away is no reason for silence.
    async fn sign_of_life(&mut self, since: Option<Instant>) -> pb::WatchApplyResponse {
        let (store, waits) = (&self.service.store, &self.service.waits);
        let last = self.cursor.last;
        let waiting = timeout(TOLD_WITHIN, waits.of(store, &self.apply, &last, since)).await;
        let waiting = waiting.ok().and_then(Result::ok).flatten();
        pb::WatchApplyResponse {
            heartbeat: true,
            waiting_for: waiting.map(answer::waiting_for),
            ..self.message(&last)
        }
    }

    fn message(&self, at: &Snapshot) -> pb::WatchApplyResponse {
        pb::WatchApplyResponse {
            // A heartbeat before the first event has no revision to repeat.
            apply: (at.revision == self.cursor.seen).then(|| answer::apply(&self.apply, at)),
            ..Default::default()
        }
    }
}

impl Cursor {
    /// The next event. Someone may have asked for more since the last one, so the end is where the
    /// apply is now, not where it once was.
    async fn next(&mut self) -> Result<Option<Snapshot>, Error> {
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
