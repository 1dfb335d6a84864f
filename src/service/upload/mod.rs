//! UploadDevices: an apply of any size, stored chunk by chunk as its devices come.
//!
//! A stream holds the devices of one chunk, hashes of the names before it, and one message, whatever
//! the size of the apply. What is acknowledged is stored; the rest is the client's to send again. A
//! stream that does not go on is ended, and so is one that a newer stream of its apply takes over:
//! at once where both are in this process, otherwise at its next write.
//!
//! The whole of a stream is in [`stream`]; what a message must be is in [`route`] and [`asked`].

mod asked;
mod latest;
mod refusal;
mod route;
mod stream;

use std::sync::Arc;

use futures_util::{StreamExt as _, stream::BoxStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};
use tracing::{Instrument as _, field::Empty, info_span};

use super::{Options, Service, access::Pass, watched::Streamed};
use crate::{proto as pb, telemetry::trace};

pub(super) use self::{
    refusal::with_next_ordinal,
    route::{MAX_MESSAGE, PATH, serve},
};

/// Answers that wait for a client to take them. One that takes none keeps its stream from going on.
const ANSWERS: usize = 2;

/// What uploads share.
#[derive(Clone, Debug)]
pub(super) struct Uploads {
    /// Streams that may upload at a time.
    places: Arc<Semaphore>,
    latest: latest::Latest,
    tasks: TaskTracker,
}

/// What a client is answered.
pub(super) type Answers = BoxStream<'static, Result<pb::UploadDevicesResponse, Status>>;

impl Uploads {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            places: Arc::new(Semaphore::new(options.uploads_at_once as usize)),
            latest: latest::Latest::default(),
            tasks: TaskTracker::new(),
        }
    }
}

impl Service {
    /// Takes an upload, if there is a place for it. It goes on in a task of its own, so that it ends
    /// in time although nobody takes its answers.
    pub(super) fn upload(
        &self,
        pass: Pass,
        parts: Streaming<pb::UploadDevicesRequest>,
    ) -> Result<Answers, Status> {
        // Before anything is read: until then a stream holds no more than a window.
        let place = self.uploads.places.clone().try_acquire_owned();
        let place = place.map_err(|_| refusal::no_place(self.options.uploads_at_once))?;
        let (answer, answers) = mpsc::channel(ANSWERS);
        let service = self.clone();
        let span = info_span!(
            "rpc.upload_devices",
            apply.id = Empty,
            upload.stream = Empty
        );
        let mut streamed = Streamed::new("UploadDevices");
        let upload = async move {
            let _place = place;
            if let Some(code) = stream::run(service, pass, parts, answer).await {
                streamed.ends(code);
            }
        };
        let upload = trace::carried(upload).instrument(span);
        self.uploads.tasks.spawn(upload);
        Ok(ReceiverStream::new(answers).boxed())
    }
}
