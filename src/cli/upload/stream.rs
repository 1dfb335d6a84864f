//! The streams that an upload takes: one, unless it is cut off.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::{
    send::{Sent, send},
    survey::Survey,
};
use crate::{
    cli::{
        client::{self, Client},
        patience::{Heard, Patience},
        table::Problem,
    },
    proto::{
        Apply, UploadDevicesRequest, UploadDevicesResponse, UploadStart,
        upload_devices_request::Part,
    },
};

/// Parts that are read ahead of the transport.
const AHEAD: usize = 4;

/// How long nothing may be answered while nothing is taken either.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a server without room is asked again, in which a full queue is worked off.
const ROOM: Duration = Duration::from_secs(3_600);

/// What an upload has to tell.
#[derive(Debug)]
pub(super) enum News<'a> {
    /// A stream goes on with so many devices stored.
    Begun { apply: &'a Apply, stored: u64 },
    /// So many devices are stored now.
    Stored { apply: &'a Apply, stored: u64 },
    /// The stream was cut off; another one is tried soon.
    Cut { why: &'a Status, up_to: Duration },
}

impl News<'_> {
    /// The apply, and how many of its devices are stored.
    pub(super) fn stored(&self) -> Option<(&Apply, u64)> {
        match self {
            Self::Begun { apply, stored } | Self::Stored { apply, stored } => {
                Some((apply, *stored))
            }
            Self::Cut { .. } => None,
        }
    }
}

/// Why an upload failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// The file cannot be read any more.
    File(Problem),
    /// The file is not what it was.
    Changed,
    /// The server refuses it, or stays out of reach.
    Call(Status),
}

/// An upload, over as many streams as it takes.
#[derive(Debug)]
pub(super) struct Uploading {
    survey: Arc<Survey>,
    start: UploadStart,
    patience: Patience,
    /// Since when there is no room for it.
    crowded_since: Option<Instant>,
    stored: u64,
}

impl Uploading {
    pub(super) fn new(survey: Arc<Survey>, start: UploadStart) -> Self {
        Self {
            survey,
            start,
            patience: Patience::new(),
            crowded_since: None,
            stored: 0,
        }
    }

    /// Uploads everything and returns the sealed apply.
    pub(super) async fn run(
        &mut self,
        client: &mut Client,
        mut tell: impl FnMut(News<'_>),
    ) -> Result<Apply, Failed> {
        loop {
            let status = match self.attempt(client, &mut tell).await {
                Err(Failed::Call(status)) => status,
                ended => return ended,
            };
            let (pause, up_to, status) = self.pause(status).map_err(Failed::Call)?;
            tell(News::Cut {
                why: &status,
                up_to,
            });
            tokio::time::sleep(pause).await;
        }
    }

    /// How long to wait for another try and how long that is done, or the status if there is none.
    fn pause(&mut self, status: Status) -> Result<(Duration, Duration, Status), Status> {
        let asked = status
            .get_details_retry_info()
            .and_then(|it| it.retry_delay);
        match (status.code(), asked) {
            (Code::ResourceExhausted, Some(asked)) => {
                let since = self.crowded_since.get_or_insert_with(Instant::now);
                match since.elapsed() < ROOM {
                    true => Ok((asked.min(SILENCE), ROOM, status)),
                    false => Err(status),
                }
            }
            _ => {
                let (pause, status) = self.patience.pause(status)?;
                Ok((pause, self.patience.lasts(), status))
            }
        }
    }

    /// One stream, to the sealed apply or to whatever cuts it off.
    async fn attempt(
        &mut self,
        client: &mut Client,
        tell: &mut impl FnMut(News<'_>),
    ) -> Result<Apply, Failed> {
        let (parts, sent) = mpsc::channel(AHEAD);
        let start = Part::Start(self.start.clone());
        let message = UploadDevicesRequest { part: Some(start) };
        parts.try_send(message).expect("it has room for the first");
        let mut stream = Stream::open(client, sent).await.map_err(Failed::Call)?;
        let (first, stored) = stream.next().await.map_err(Failed::Call)?;
        self.advance(stored);
        tell(News::Begun {
            apply: &first,
            stored,
        });
        let reading = self.read(stored, parts);
        let ended = loop {
            match stream.next().await {
                Ok((apply, stored)) => {
                    self.advance(stored);
                    tell(News::Stored {
                        apply: &apply,
                        stored,
                    });
                    // A sealed apply is told before its seal is sent, when it is resumed.
                    if apply.sealed && stream.is_over().await? {
                        break Ok(apply);
                    }
                }
                Err(status) => break Err(status),
            }
        };
        // Without the stream nobody takes what is read.
        drop(stream);
        match (reading.await, ended) {
            (Ok(Sent::Unreadable(problem)), _) => Err(Failed::File(problem)),
            (Ok(Sent::Changed), _) => Err(Failed::Changed),
            (Ok(Sent::All | Sent::Some), ended) => ended.map_err(Failed::Call),
            (Err(failed), _) => Err(Failed::Call(Status::internal(failed.to_string()))),
        }
    }

    fn read(&self, next: u64, parts: Sender<UploadDevicesRequest>) -> JoinHandle<Sent> {
        let survey = self.survey.clone();
        tokio::task::spawn_blocking(move || send(&survey, next, &parts))
    }

    /// So many devices are stored; if those are more than before, what failed does not count.
    fn advance(&mut self, stored: u64) {
        if stored > self.stored {
            self.stored = stored;
            self.crowded_since = None;
            self.patience.progress(Heard::Change, Duration::ZERO);
        }
    }
}

/// A stream that is open.
struct Stream {
    answers: Streaming<UploadDevicesResponse>,
    /// How many messages the transport has taken.
    taken: Arc<AtomicU64>,
}

impl Stream {
    async fn open(
        client: &mut Client,
        sent: Receiver<UploadDevicesRequest>,
    ) -> Result<Self, Status> {
        let taken = Arc::new(AtomicU64::new(0));
        let count = taken.clone();
        let messages = ReceiverStream::new(sent).inspect(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let answers = client::answer(client.calls().upload_devices(messages)).await?;
        Ok(Self { answers, taken })
    }

    /// The next answer: the apply, and how many of its devices are stored.
    async fn next(&mut self) -> Result<(Apply, u64), Status> {
        let answer = self.heard().await?;
        let answer =
            answer.ok_or_else(|| Status::unavailable("the stream ended without a seal"))?;
        let apply = answer.apply;
        let apply =
            apply.ok_or_else(|| Status::data_loss("the server answered without an apply"))?;
        Ok((apply, answer.next_ordinal.unsigned_abs()))
    }

    /// Whether there is no answer any more.
    async fn is_over(&mut self) -> Result<bool, Failed> {
        let heard = self.heard().await.map_err(Failed::Call)?;
        Ok(heard.is_none())
    }

    /// What is answered next. While parts are taken, there is no hurry.
    async fn heard(&mut self) -> Result<Option<UploadDevicesResponse>, Status> {
        loop {
            let taken = self.taken.load(Ordering::Relaxed);
            match tokio::time::timeout(SILENCE, self.answers.message()).await {
                Ok(answer) => return answer,
                Err(_) if self.taken.load(Ordering::Relaxed) > taken => {}
                Err(_) => {
                    let silence = SILENCE.as_secs();
                    let what = format!("nothing answered and nothing taken for {silence} s");
                    return Err(Status::deadline_exceeded(what));
                }
            }
        }
    }
}
