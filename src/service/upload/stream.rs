//! One stream of an upload, from its start to its seal or to whatever ends it before.

use std::{pin::pin, time::Duration};

use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use tracing::{Instrument as _, Span, field::display};

use super::{
    asked::{self, Start},
    latest, refusal, with_next_ordinal,
};
use crate::{
    domain::{Apply, CHUNK, Caller, Chunk, Gathered, Judge, Ordinal, Outcome, Right, Snapshot},
    proto::{self as pb, upload_devices_request::Part},
    service::{Service, access::Pass, answer, imports, status, submit},
    store::{Error, Upload},
    telemetry::trace,
    vault::DataKey,
};

type Answer = Result<pb::UploadDevicesResponse, Status>;

/// Serves a stream to its end, and tells how it ended; or until nobody hears its answers.
pub(super) async fn run(
    service: Service,
    pass: Pass,
    parts: Streaming<pb::UploadDevicesRequest>,
    answers: Sender<Answer>,
) -> Option<Code> {
    let mut incoming = Incoming {
        parts,
        bound: service.options.upload_idle,
        stop: service.stop.clone(),
    };
    let outgoing = answers.clone();
    let served = async {
        let Err(status) = serve(&service, pass, &mut incoming, &outgoing).await else {
            return Code::Ok;
        };
        let code = status.code();
        tracing::info!(?code, "an upload was cut off: {}", status.message());
        send(&outgoing, incoming.bound, Err(status)).await.ok();
        code
    };
    tokio::select! {
        code = served => Some(code),
        () = answers.closed() => None,
    }
}

async fn serve(
    service: &Service,
    pass: Pass,
    incoming: &mut Incoming,
    answers: &Sender<Answer>,
) -> Result<(), Status> {
    let Some(Part::Start(start)) = incoming.next().await? else {
        return Err(refused("start", "must come first, and before any device"));
    };
    let caller = &pass.caller;
    let begun = match asked::start(start)? {
        Start::Resume(id) => {
            let (apply, _) = service.store.apply(caller, id).await.map_err(status::of)?;
            service.may_seal(caller, apply.after_check).await?;
            service.store.resume_upload(caller, id).await
        }
        Start::Begin(mut heading, key) => {
            let product_key = &heading.product_key;
            service.need_for(caller, Right::Submit, product_key).await?;
            service.may_seal(caller, heading.after_check).await?;
            service.key_upload(&mut heading)?;
            let store = &service.store;
            store.begin_upload(caller, &heading, key.as_ref()).await
        }
    };
    let (upload, apply, now) = begun.map_err(status::of)?;
    Span::current()
        .record("apply.id", display(apply.id))
        .record("upload.stream", upload.number);
    tracing::info!(
        stored = now.counts.total(),
        sealed = now.sealed,
        "an upload goes on"
    );
    let sealing = match now.sealed {
        true => None,
        false => service.upload_key(&apply).await?,
    };
    let latest = service.uploads.latest.enter(upload);
    let mut stream = Stream {
        service,
        caller: caller.clone(),
        apply,
        upload,
        sealing,
        judge: Judge::default(),
        gathered: Gathered::new(now.counts.total() / CHUNK as Ordinal),
        now,
    };
    let rights = [
        Some(Right::Submit),
        submit::right_to_seal(stream.apply.after_check),
    ];
    let product_key = stream.apply.product_key.clone();
    let barred = pass.ended(rights.into_iter().flatten(), product_key);
    let ended = stream.go_on(incoming, &latest, barred, answers).await;
    let (apply, stored) = (stream.upload.apply, stream.stored());
    ended.map_err(|status| with_next_ordinal(status, apply, stored))
}

/// A stream whose apply is known.
struct Stream<'a> {
    service: &'a Service,
    caller: Caller,
    apply: Apply,
    upload: Upload,
    /// What seals the secrets of an import.
    sealing: Option<DataKey>,
    judge: Judge,
    /// What came since the last chunk was stored.
    gathered: Gathered,
    /// The apply as of the last write.
    now: Snapshot,
}

impl Stream<'_> {
    async fn go_on(
        &mut self,
        incoming: &mut Incoming,
        latest: &latest::Streaming,
        barred: impl Future<Output = ()>,
        answers: &Sender<Answer>,
    ) -> Result<(), Status> {
        let bound = incoming.bound;
        let mut barred = pin!(barred);
        send(answers, bound, Ok(self.answer())).await?;
        if !self.now.sealed {
            self.remember(incoming).await?;
        }
        loop {
            let part = tokio::select! {
                biased;
                () = latest.overtaken.cancelled() => {
                    return Err(status::of(Error::UploadTakenOver(self.apply.id)));
                }
                () = &mut barred => return Err(refusal::barred()),
                part = incoming.next() => part?,
            };
            match part {
                Some(Part::Devices(part)) => {
                    self.fits(&part)?;
                    for device in part.devices {
                        self.gathered
                            .push(imports::device(device, self.apply.import));
                        if self.gathered.is_full() {
                            let part = trace::part("upload chunk", self.apply.id.0);
                            self.store().instrument(part).await.map_err(status::of)?;
                            send(answers, bound, Ok(self.answer())).await?;
                        }
                    }
                }
                Some(Part::Seal(seal)) => {
                    self.seal(seal.total).await?;
                    return send(answers, bound, Ok(self.answer())).await;
                }
                Some(Part::Start(_)) => return Err(refused("start", "must come once")),
                None => return Err(refusal::not_sealed()),
            }
        }
    }

    /// Has the judge remember the names that earlier streams stored.
    async fn remember(&mut self, incoming: &Incoming) -> Result<(), Status> {
        for chunk_no in 0..self.stored() / CHUNK as Ordinal {
            incoming.not_stopped()?;
            let names = self.service.store.names(self.apply.id, chunk_no).await;
            self.judge.remember(&names.map_err(status::of)?);
        }
        Ok(())
    }

    /// Refuses a part that does not go on where the devices before it end, or is too large.
    fn fits(&self, part: &pb::UploadPart) -> Result<(), Status> {
        if self.now.sealed {
            let (apply, total) = (self.apply.id, self.stored());
            return Err(status::of(Error::UploadSealed { apply, total }));
        }
        let expected = i64::from(self.gathered.next());
        if part.first_ordinal != expected {
            return Err(refusal::out_of_order(part.first_ordinal, expected));
        }
        let most = self.service.options.max_upload_devices;
        asked::part(part, self.apply.import, expected, most)
    }

    /// Judges and stores the chunk that is whole.
    async fn store(&mut self) -> Result<(), Error> {
        let next = Gathered::new(self.stored() / CHUNK as Ordinal + 1);
        let chunk = std::mem::replace(&mut self.gathered, next);
        let chunk = self.judged(chunk).await?;
        self.now = self
            .service
            .store
            .append(&self.caller, self.upload, &chunk)
            .await?;
        Ok(())
    }

    async fn seal(&mut self, total: i64) -> Result<(), Status> {
        if total < 1 {
            return Err(refused("total", "must be at least 1: an apply has devices"));
        }
        let sent = match self.now.sealed {
            true => self.stored(),
            false => self.gathered.next(),
        };
        if total != i64::from(sent) {
            return Err(refusal::miscounted(total, sent.into()));
        }
        if !self.now.sealed {
            let part = trace::part("upload seal", self.apply.id.0);
            self.store_last()
                .instrument(part)
                .await
                .map_err(status::of)?;
            let invalid = self.now.counts.of(Outcome::Invalid);
            tracing::info!(apply.size = total, invalid, status = %self.now.status, "an upload is sealed");
        }
        Ok(())
    }

    async fn store_last(&mut self) -> Result<(), Error> {
        let last = std::mem::replace(&mut self.gathered, Gathered::new(0));
        let last = match last.is_empty() {
            true => None,
            false => Some(self.judged(last).await?),
        };
        self.now = self
            .service
            .store
            .seal(&self.caller, self.upload, last.as_ref())
            .await?;
        Ok(())
    }

    async fn judged(&mut self, chunk: Gathered) -> Result<Chunk, Error> {
        let suspects = self.judge.suspects(&chunk);
        let known = self
            .service
            .store
            .first_of(self.apply.id, &suspects)
            .await?;
        let mut chunk = self.judge.judge(chunk, &known);
        if let Some(key) = &self.sealing {
            chunk.seal(|secrets, chunk_no| key.seal(secrets, chunk_no));
        }
        Ok(chunk)
    }

    /// How many devices are stored.
    fn stored(&self) -> Ordinal {
        self.now.counts.total()
    }

    fn answer(&self) -> pb::UploadDevicesResponse {
        pb::UploadDevicesResponse {
            apply: Some(answer::apply(&self.apply, &self.now)),
            next_ordinal: self.stored().into(),
        }
    }
}

/// What a client sends.
struct Incoming {
    parts: Streaming<pb::UploadDevicesRequest>,
    /// How long a message may take to come.
    bound: Duration,
    stop: CancellationToken,
}

impl Incoming {
    /// What the next message says; none at the end.
    async fn next(&mut self) -> Result<Option<Part>, Status> {
        let message = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(refusal::stopping()),
            message = tokio::time::timeout(self.bound, self.parts.message()) => message,
        };
        match message.map_err(|_| refusal::idle(self.bound))?? {
            Some(pb::UploadDevicesRequest { part: None }) => {
                Err(refused("part", "must be a start, devices or a seal"))
            }
            Some(pb::UploadDevicesRequest { part }) => Ok(part),
            None => Ok(None),
        }
    }

    fn not_stopped(&self) -> Result<(), Status> {
        match self.stop.is_cancelled() {
            true => Err(refusal::stopping()),
            false => Ok(()),
        }
    }
}

/// Hands an answer to the client, who has so long to make room for it.
async fn send(answers: &Sender<Answer>, bound: Duration, answer: Answer) -> Result<(), Status> {
    match tokio::time::timeout(bound, answers.send(answer)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(refusal::idle(bound)),
    }
}

fn refused(field: &str, what: &str) -> Status {
    status::invalid(vec![tonic_types::FieldViolation::new(field, what)], 0)
}
