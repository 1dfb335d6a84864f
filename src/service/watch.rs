//! WatchApply: the events of an apply, until it has settled.

mod route;

use std::{pin::Pin, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
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

pub(super) use self::route::{PATH, Told, serve};

impl Service {
    #[tracing::instrument(name = "rpc.watch_apply", skip_all, fields(apply.id = request.apply_id))]
    pub(super) async fn watch(
        &self,
        pass: Pass,
        request: pb::WatchApplyRequest,
    ) -> Result<Told, Status> {
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
            moves_on: Instant::now() + self.options.watch_age(),
            blocks: self.hub.blocks(&apply).changed().boxed(),
            alarm: Box::pin(sleep(self.options.heartbeat)),
            apply,
            cursor: Cursor {
                events: self.hub.watch(id, seen),
                seen,
                last: now,
                progress,
                until,
            },
            in_a_row: 0,
            service: self.clone(),
            watched: Watched::new(),
            call: Span::current(),
        });
        // One message is made at a time, when the transport has room for it.
        Ok(stream::try_unfold(watch, |mut watch| async move {
            let message = watch.next().await;
            match &message {
                Ok(message) => watch.watched.heed(message.as_ref()),
                Err(End { how, .. }) => watch.watched.ends(how),
            }
            let message = message.map_err(|end| end.told)?;
            Ok(message.map(|message| (message, watch)))
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
    moves_on: Instant,
    /// The next change of what stands in its apply's way.
    blocks: BoxFuture<'static, (hub::Blocks, Instant)>,
    /// Rings when it has been silent for as long as it may be, or earlier: it is not set anew for
    /// each message.
    alarm: Pin<Box<Sleep>>,
    apply: Apply,
    cursor: Cursor,
    /// Events passed on since it was looked, before there was none, whether it may go on.
    in_a_row: u32,
    service: Service,
    watched: Watched,
    /// Its trace ends when the watch begins. What is looked up and logged later names the call, but
    /// passing an event on does neither: entering a span is a fifth of its cost.
    call: Span,
}

/// Events that a watch passes on, as long as there are some, before it looks whether it may.
const IN_A_ROW: u32 = 32;

/// Why a watch may not go on.
enum Over {
    /// The server stops.
    Stopping,
    /// Its caller may not watch any more.
    Barred,
}

impl Over {
    fn end<T>(self, id: ApplyId, seen: i64) -> Result<T, End> {
        let (how, told) = match self {
            Self::Stopping => ("stopping", status::stopping(id, seen)),
            Self::Barred => ("barred", revoked(id, seen)),
        };
        Err(End { how, told })
    }
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
        if self.in_a_row == IN_A_ROW {
            self.in_a_row = 0;
            if let Some(over) = (&mut self.over).now_or_never() {
                return over.end(id, seen);
            }
        }
        // Before it moves on, the events that there are.
        let is_abreast = seen >= self.cursor.last.revision;
        let moves_on = is_abreast.then_some(self.moves_on);
        let now = Instant::now();
        if moves_on.is_some_and(|at| at <= now) {
            return end("moved", status::moving_on(id, seen));
        }
        let silent_until = now + self.service.options.heartbeat;
        let alarm = moves_on.map_or(silent_until, |at| at.min(silent_until));
        if self.alarm.is_elapsed() || self.alarm.deadline() > alarm {
            self.alarm.as_mut().reset(alarm);
        }
        loop {
            tokio::select! {
                biased;
                // An event that is there goes first: most often there is one when this is looked at.
                event = self.cursor.next() => {
                    self.in_a_row += 1;
                    return match event {
                        Ok(event) => Ok(event.map(|event| self.message(&event))),
                        Err(error) => end("failed", self.call.in_scope(|| status::of(error))),
                    };
                }
                over = &mut self.over => return over.end(id, seen),
                (told, since) = &mut self.blocks, if is_abreast => {
                    self.blocks = told.changed().boxed();
                    return Ok(Some(Box::pin(self.sign_of_life(Some(since))).await));
                }
                () = &mut self.alarm => match Instant::now() {
                    now if moves_on.is_some_and(|at| at <= now) => {
                        return end("moved", status::moving_on(id, seen));
                    }
                    now if silent_until <= now => {
                        return Ok(Some(Box::pin(self.sign_of_life(None)).await));
                    }
                    _ => self.alarm.as_mut().reset(alarm),
                },
            }
        }
    }

    /// The apply as last sent, and what it waits for, looked up no earlier than `since`. A database
    /// that is away is no reason for silence.
    async fn sign_of_life(&mut self, since: Option<Instant>) -> pb::WatchApplyResponse {
        let (store, waits) = (&self.service.store, &self.service.waits);
        let last = self.cursor.last;
        let asked = waits.of(store, &self.apply, &last, since);
        let asked = timeout(TOLD_WITHIN, asked).instrument(self.call.clone());
        let waiting = asked.await;
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
            Progress::Reached if Box::pin(self.events.is_at_end()).await? => {
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
