//! Uploads whose streams are cut and taken up again.

use std::time::{Duration, Instant};

use rand::Rng as _;
use registrar::{
    proto::{
        AfterCheck, NewDevice, UploadDevicesRequest, UploadPart, UploadSeal, UploadStart,
        upload_devices_request::Part,
    },
    simulator::PRODUCT,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{
    caller::Caller,
    devices,
    record::{Told, add},
};

/// Devices of one message.
const PART: usize = 1_500;

/// How far an upload has come, as its client knows.
struct Upload {
    devices: Vec<NewDevice>,
    start: UploadStart,
    import: bool,
    after_check: AfterCheck,
    /// The apply, once it was told.
    apply_id: Option<i64>,
    /// What is durable, as was told.
    stored: i64,
    sealed: bool,
}

/// Uploads devices through any number of streams; one that takes too long is given up.
pub(crate) async fn upload(
    caller: &mut Caller,
    prefix: &str,
    after_check: AfterCheck,
    ends: Instant,
) -> Option<i64> {
    let import = caller.rng.random_bool(0.15);
    let gives_up = caller.rng.random_bool(0.15);
    let devices = devices::many(&mut caller.rng, prefix, import);
    let mut upload = Upload {
        start: UploadStart {
            product_key: PRODUCT.to_owned(),
            after_check: after_check.into(),
            request_id: format!("upload {prefix}"),
            import,
            ..Default::default()
        },
        devices,
        import,
        after_check,
        apply_id: None,
        stored: 0,
        sealed: false,
    };
    let mut streams = 0;
    while !upload.sealed {
        match upload.stream(caller).await {
            // It was away for too long.
            Err(status) if status.message().contains("was cancelled") => break,
            Err(status) if !caller.is_again("UploadDevices", &status) => {
                let what = format!("upload {prefix} is refused: {status:?}");
                caller.record.violation(&what);
                break;
            }
            _ => {}
        }
        add(&caller.record.counts.streams);
        streams += 1;
        if ends < Instant::now() || gives_up && streams > 1 {
            break;
        }
        caller.pause().await;
    }
    upload.apply_id
}

impl Upload {
    /// One stream, to its seal or to its cut.
    async fn stream(&mut self, caller: &mut Caller) -> Result<(), Status> {
        let (send, parts) = mpsc::channel(4);
        // Taken up by its number, or by its request id.
        let by_number = self.apply_id.filter(|_| caller.rng.random_bool(0.5));
        let start = match by_number {
            Some(apply_id) => UploadStart {
                apply_id,
                ..Default::default()
            },
            None => self.start.clone(),
        };
        send.send(message(Part::Start(start))).await.ok();
        let mut client = caller.any();
        let patience = Duration::from_secs(5);
        let late = |_| Status::deadline_exceeded("no answer");
        let opened = client.upload_devices(ReceiverStream::new(parts));
        let opened = tokio::time::timeout(patience, opened).await;
        let mut answers = opened.map_err(late)??.into_inner();
        let first = tokio::time::timeout(patience, answers.message()).await;
        let Some(first) = first.map_err(late)?? else {
            return Err(Status::unavailable("no first answer"));
        };
        self.told(caller, first);
        let (record, apply_id) = (caller.record.clone(), self.apply_id.expect("it was told"));
        let cut_after = caller.rng.random_range(1..30);
        let mut next = self.stored as usize;
        let mut sent = 0;
        let sending = async {
            while next < self.devices.len() && sent < cut_after {
                let until = (next + PART).min(self.devices.len());
                let part = UploadPart {
                    first_ordinal: next as i64,
                    devices: self.devices[next..until].to_vec(),
                };
                if send.send(message(Part::Devices(part))).await.is_err() {
                    return;
                }
                (next, sent) = (until, sent + 1);
                // As from a file that is read slowly.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if next == self.devices.len() {
                let total = self.devices.len() as i64;
                record.note(apply_id, |told| told.sealed = true);
                send.send(message(Part::Seal(UploadSeal { total })))
                    .await
                    .ok();
                // The stream stays open until it is answered.
                std::future::pending::<()>().await;
            }
        };
        let mut heard = Vec::new();
        let hearing = async {
            loop {
                let answer = tokio::time::timeout(patience, answers.message()).await;
                match answer.map_err(late)?? {
                    Some(answer) => {
                        let sealed = answer.apply.as_ref().is_some_and(|apply| apply.sealed);
                        heard.push(answer);
                        if sealed {
                            return Ok(());
                        }
                    }
                    None => return Ok(()),
                }
            }
        };
        let result = tokio::select! {
            // Cut: both directions end with this function.
            () = sending => Ok(()),
            result = hearing => result,
        };
        for answer in heard {
            self.told(caller, answer);
        }
        result
    }

    fn told(&mut self, caller: &Caller, answer: registrar::proto::UploadDevicesResponse) {
        let apply = answer.apply.expect("an apply");
        let apply_id = *self.apply_id.get_or_insert(apply.apply_id);
        let record = &caller.record;
        if apply_id != apply.apply_id {
            let what = format!(
                "one upload became applies {apply_id} and {}",
                apply.apply_id
            );
            record.violation(&what);
        }
        let mut told = Told::new(self.devices.clone(), self.import, self.after_check);
        told.sealed = false;
        record.accepted(apply_id, told);
        record.seen("its uploader", &apply);
        if answer.next_ordinal < self.stored {
            record.violation(&format!(
                "apply {apply_id}: {} devices were stored, now {} are",
                self.stored, answer.next_ordinal
            ));
        }
        self.stored = answer.next_ordinal;
        self.sealed |= apply.sealed;
    }
}

fn message(part: Part) -> UploadDevicesRequest {
    UploadDevicesRequest { part: Some(part) }
}
