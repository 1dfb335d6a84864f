//! An upload that goes on through whatever happens.

use std::time::Duration;

use registrar::{
    proto::{AfterCheck, ApplyStatus as S, UploadDevicesResponse, UploadStart},
    simulator::PRODUCT,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic_types::StatusExt as _;

use super::*;
use crate::{support::stack::watch, upload::Upload};

const CHUNK: usize = 10_000;

/// From one chunk to the next.
const EVERY: Duration = Duration::from_millis(500);

/// An upload under way.
pub(super) struct Uploading {
    stop: CancellationToken,
    client: JoinHandle<(i64, usize)>,
}

impl Uploading {
    pub(super) async fn start(server: &Server) -> Self {
        let stop = CancellationToken::new();
        let client = tokio::spawn(upload(server.client().await, stop.clone()));
        Self { stop, client }
    }

    /// Has it sealed, and fails unless all of it is registered.
    pub(super) async fn end(self, client: &mut Client) {
        self.stop.cancel();
        let (apply_id, total) = patiently(self.client).await.unwrap();
        let seen = watch(client, apply_id, 0).await;
        let end = seen.last().unwrap();
        assert_eq!(end.status(), S::CreateSuccess);
        assert_eq!(end.counts.unwrap().created as usize, total);
    }
}

/// Uploads chunk after chunk until it is told to stop, and seals; which apply, and how many devices.
async fn upload(mut client: Client, stop: CancellationToken) -> (i64, usize) {
    let start = UploadStart {
        product_key: PRODUCT.to_owned(),
        after_check: AfterCheck::RegisterValid.into(),
        request_id: "uploading".to_owned(),
        ..Default::default()
    };
    let mut acknowledged = 0;
    loop {
        match stream(&mut client, &start, &mut acknowledged, &stop).await {
            Ok(last) => return (last.apply.unwrap().apply_id, acknowledged),
            Err(status) => {
                // A connection that broke says nothing but that.
                let broke = std::error::Error::source(&status).is_some();
                assert!(broke || is_to_be_repeated(&status), "{status:?}");
                // Once its apply is known, it says where to go on.
                if let Some(info) = status.get_details_error_info()
                    && let Some(next) = info.metadata.get("next_ordinal")
                {
                    assert!(next.parse::<usize>().unwrap() >= acknowledged, "{info:?}");
                }
                tokio::time::sleep(EVERY / 5).await;
            }
        }
    }
}

async fn stream(
    client: &mut Client,
    start: &UploadStart,
    acknowledged: &mut usize,
    stop: &CancellationToken,
) -> Result<UploadDevicesResponse, Status> {
    let (mut upload, first) = Upload::open(client, start.clone()).await?;
    let next = first.next_ordinal as usize;
    assert!(next >= *acknowledged, "{next} of {acknowledged} are there");
    *acknowledged = next;
    // One chunk at least: an apply has devices.
    while *acknowledged == 0 || !stop.is_cancelled() {
        let names = (*acknowledged..*acknowledged + CHUNK).map(|n| format!("upload-{n:06}"));
        let devices: Vec<_> = names
            .map(|name| crate::support::stack::named(&name))
            .collect();
        upload.send(*acknowledged, &devices).await;
        let answer = upload.answer().await?.expect("an answer");
        *acknowledged = answer.next_ordinal as usize;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    upload.seal(*acknowledged).await;
    Ok(upload.answer().await?.expect("an answer to the seal"))
}
