//! Uploads to the service that tests speak to.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use futures_util::{Stream, stream};
use tonic::{Status, Streaming};

use super::apply_at;
use crate::proto::{
    Apply, ApplyStatus, NewDevice, UploadDevicesRequest, UploadDevicesResponse, UploadStart,
    upload_devices_request::Part,
};

/// Devices of a chunk.
const CHUNK: usize = 3;

/// What was uploaded so far, and when streams are cut off.
#[derive(Debug, Default)]
pub(in crate::cli) struct Uploaded {
    pub(in crate::cli) stored: Vec<NewDevice>,
    pub(in crate::cli) is_sealed: bool,
    pub(in crate::cli) starts: Vec<UploadStart>,
    /// The `first_ordinal` of each part that came.
    pub(in crate::cli) firsts: Vec<i64>,
    /// How the next streams end, once so many devices are stored by them.
    pub(in crate::cli) cuts: VecDeque<(usize, Status)>,
}

impl Uploaded {
    fn answer(&self) -> UploadDevicesResponse {
        let total = self.stored.len() as i64;
        UploadDevicesResponse {
            apply: Some(Apply {
                sealed: self.is_sealed,
                ..apply_at(1, ApplyStatus::Check, [total, 0, 0])
            }),
            next_ordinal: total,
        }
    }
}

/// One stream: what came since the last chunk, and when it is cut off.
struct Upload {
    uploaded: Arc<Mutex<Uploaded>>,
    parts: Streaming<UploadDevicesRequest>,
    gathered: VecDeque<NewDevice>,
    cut: Option<(usize, Status)>,
    stored: usize,
    is_begun: bool,
    is_over: bool,
}

/// The answers to a stream.
pub(super) fn answers(
    uploaded: Arc<Mutex<Uploaded>>,
    parts: Streaming<UploadDevicesRequest>,
) -> impl Stream<Item = Result<UploadDevicesResponse, Status>> {
    let cut = uploaded.lock().unwrap().cuts.pop_front();
    let upload = Upload {
        uploaded,
        parts,
        gathered: VecDeque::new(),
        cut,
        stored: 0,
        is_begun: false,
        is_over: false,
    };
    stream::unfold(upload, |mut upload| async move {
        if upload.is_over {
            return None;
        }
        let answer = upload.next().await;
        upload.is_over |= answer.is_err();
        Some((answer, upload))
    })
}

impl Upload {
    async fn next(&mut self) -> Result<UploadDevicesResponse, Status> {
        if let Some((_, status)) = self
            .cut
            .take_if(|(after, _)| self.is_begun && *after <= self.stored)
        {
            return Err(status);
        }
        loop {
            if self.gathered.len() >= CHUNK {
                let mut uploaded = self.uploaded.lock().unwrap();
                uploaded.stored.extend(self.gathered.drain(..CHUNK));
                self.stored += CHUNK;
                return Ok(uploaded.answer());
            }
            let message = self.parts.message().await?;
            let mut uploaded = self.uploaded.lock().unwrap();
            match message.and_then(|message| message.part) {
                Some(Part::Start(start)) => {
                    uploaded.starts.push(start);
                    self.is_begun = true;
                    return Ok(uploaded.answer());
                }
                Some(Part::Devices(part)) => {
                    let next = uploaded.stored.len() + self.gathered.len();
                    assert_eq!(part.first_ordinal, next as i64);
                    uploaded.firsts.push(part.first_ordinal);
                    self.gathered.extend(part.devices);
                }
                Some(Part::Seal(seal)) => {
                    uploaded.stored.extend(self.gathered.drain(..));
                    assert_eq!(seal.total, uploaded.stored.len() as i64);
                    uploaded.is_sealed = true;
                    self.is_over = true;
                    return Ok(uploaded.answer());
                }
                None => return Err(Status::failed_precondition("no seal")),
            }
        }
    }
}
