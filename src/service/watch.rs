//! WatchApply: the events of an apply, until it has settled.

use futures_util::{StreamExt as _, stream, stream::BoxStream};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{Service, answer, convert, status};
use crate::{
    domain::{Apply, ApplyId, Snapshot},
    hub, proto as pb,
    store::Error,
};

impl Service {
    #[tracing::instrument(name = "rpc.watch_apply", skip_all, fields(apply.id = request.apply_id))]
    pub(super) async fn watch(
        &self,
        request: pb::WatchApplyRequest,
    ) -> Result<BoxStream<'static, Result<pb::WatchApplyResponse, Status>>, Status> {
        let (id, seen) = convert::watch(&request)?;
        let (apply, now) = self.opened(id).await.map_err(status::of)?;
        if seen > now.revision {
            return Err(status::from_the_future(id, seen, now.revision));
        }
        let progress = match (seen == now.revision, now.status.is_settled()) {
            (true, true) => Progress::Ended,
            (true, false) | (false, _) => Progress::Moving,
        };
        let (events, stop) = (self.hub.watch(id, seen), self.stop.clone());
        let watch = Watch {
            apply,
            events,
            seen,
            progress,
            stop,
        };
        // One message is made at a time, when the transport has room for it.
        Ok(stream::try_unfold(watch, |mut watch| async move {
            Ok(watch.next().await?.map(|message| (message, watch)))
        })
        .boxed())
    }

    async fn opened(&self, id: ApplyId) -> Result<(Apply, Snapshot), Error> {
        let _permit = self
            .openings
            .acquire()
            .await
            .expect("openings are never closed");
        self.store.apply(id).await
    }
}

/// What one caller watches.
#[derive(Debug)]
struct Watch {
    apply: Apply,
    events: hub::Watch,
    /// The revision of the last event sent.
    seen: i64,
    progress: Progress,
    stop: CancellationToken,
}

/// Where a watch stands after the last event sent.
#[derive(Clone, Copy, Debug)]
enum Progress {
    /// More will follow.
    Moving,
    /// The event settled the apply; whether it has stayed so is not known yet.
    Settled,
    /// The apply is settled at the last event.
    Ended,
}

impl Watch {
    /// The next change; none once the apply has settled.
    async fn next(&mut self) -> Result<Option<pb::WatchApplyResponse>, Status> {
        let stop = self.stop.clone();
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(status::stopping(self.apply.id, self.seen)),
            event = self.next_event() => event.map_err(status::of)?,
        };
        Ok(event.map(|event| pb::WatchApplyResponse {
            apply: Some(answer::apply(&self.apply, &event)),
            ..Default::default()
        }))
    }

    /// The next event. Someone may have asked for registration since the last one, so the end is
    /// where the apply is settled now, not where it once was.
    async fn next_event(&mut self) -> Result<Option<Snapshot>, Error> {
        match self.progress {
            Progress::Ended => return Ok(None),
            Progress::Settled if self.events.is_at_end().await? => {
                self.progress = Progress::Ended;
                return Ok(None);
            }
            Progress::Settled | Progress::Moving => {}
        }
        let event = self.events.next().await?;
        self.seen = event.revision;
        self.progress = if event.status.is_settled() {
            Progress::Settled
        } else {
            Progress::Moving
        };
        Ok(Some(event))
    }
}
