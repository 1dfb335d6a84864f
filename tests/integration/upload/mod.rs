//! UploadDevices through real sockets: cut and resumed, taken over, refused, bounded.

mod bounds;
mod command;
mod cuts;
mod refusals;
mod soak;
mod whole;

use registrar::{
    proto::{
        AfterCheck, NewDevice, UploadDevicesRequest, UploadDevicesResponse, UploadPart, UploadSeal,
        UploadStart, upload_devices_request::Part,
    },
    simulator::PRODUCT,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::support::stack::{Client, patiently};

const CHUNK: usize = 10_000;

/// One stream of an upload.
pub(crate) struct Upload {
    parts: mpsc::Sender<UploadDevicesRequest>,
    answers: Streaming<UploadDevicesResponse>,
}

impl Upload {
    /// Opens a stream; it and its first answer.
    pub(crate) async fn open(
        client: &mut Client,
        start: UploadStart,
    ) -> Result<(Self, UploadDevicesResponse), Status> {
        let (parts, sent) = mpsc::channel(4);
        parts.send(message(Part::Start(start))).await.unwrap();
        let answers = client.upload_devices(ReceiverStream::new(sent)).await?;
        let answers = answers.into_inner();
        let mut upload = Self { parts, answers };
        let first = upload.answer().await?.expect("a first answer");
        Ok((upload, first))
    }

    /// Sends devices; a stream that is over takes no more of them.
    pub(crate) async fn send(&self, first_ordinal: usize, devices: &[NewDevice]) {
        let part = UploadPart {
            first_ordinal: first_ordinal as i64,
            devices: devices.to_vec(),
        };
        self.parts.send(message(Part::Devices(part))).await.ok();
    }

    pub(crate) async fn send_all(&self, from: usize, devices: &[NewDevice]) {
        for (n, part) in devices[from..].chunks(CHUNK / 4).enumerate() {
            self.send(from + n * CHUNK / 4, part).await;
        }
    }

    pub(crate) async fn seal(&self, total: usize) {
        let seal = UploadSeal {
            total: total as i64,
        };
        self.parts.send(message(Part::Seal(seal))).await.ok();
    }

    pub(crate) async fn answer(&mut self) -> Result<Option<UploadDevicesResponse>, Status> {
        patiently(self.answers.message()).await
    }

    /// The answers up to the end, and how it ended.
    pub(crate) async fn end(mut self) -> (Vec<UploadDevicesResponse>, Option<Status>) {
        let mut answers = Vec::new();
        loop {
            match self.answer().await {
                Ok(Some(answer)) => answers.push(answer),
                Ok(None) => return (answers, None),
                Err(status) => return (answers, Some(status)),
            }
        }
    }
}

fn message(part: Part) -> UploadDevicesRequest {
    UploadDevicesRequest { part: Some(part) }
}

/// The start of a new upload to the simulator's product.
fn begin(request_id: &str, after_check: AfterCheck) -> UploadStart {
    UploadStart {
        product_key: PRODUCT.to_owned(),
        after_check: after_check.into(),
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

fn resume(apply_id: i64) -> UploadStart {
    UploadStart {
        apply_id,
        ..Default::default()
    }
}

/// Sends the devices from `from` on and the seal; the last answer. Nobody has to read the others.
async fn finish(upload: Upload, from: usize, devices: &[NewDevice]) -> UploadDevicesResponse {
    upload.send_all(from, devices).await;
    upload.seal(devices.len()).await;
    let (answers, cut) = upload.end().await;
    assert!(cut.is_none(), "{cut:?}");
    answers.last().expect("an answer to the seal").clone()
}

/// Why and where an upload was cut off.
#[track_caller]
fn cut(status: &Status, code: Code, reason: &str) -> i64 {
    assert_eq!(status.code(), code, "{status}");
    let info = status.get_details_error_info().expect("a reason");
    assert_eq!(info.reason, reason, "{status}");
    info.metadata["next_ordinal"].parse().expect("a number")
}
