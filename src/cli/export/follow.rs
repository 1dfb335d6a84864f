//! Follows an export to its end, over as many streams as that takes.

use std::time::Instant;

use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::{
    cli::{
        client::{self, Client},
        patience::{Heard, Patience},
    },
    proto::{ExportDevicesRequest, ExportDevicesResponse, ExportedDevice},
};

/// What an export has to tell.
#[derive(Debug)]
pub(super) enum News<'a> {
    /// These devices came, and all before the ordinal are there.
    Came(&'a [ExportedDevice], i64),
    /// The server has no more to say yet.
    Waits,
    /// The stream was cut. It is taken up where it stopped, after a pause.
    Cut { why: &'a Status, next: i64 },
    /// The server has taken up the stream that was cut.
    Resumed,
}

/// How an export ended that is not complete.
#[derive(Debug)]
pub(super) enum Failed {
    /// The server refused it, or broke off too often.
    Call(Status),
    /// What came could not be put away.
    Put(anyhow::Error),
}

/// Exports from where the request says to the last device, and tells everything in order and once.
pub(super) async fn follow(
    client: &mut Client,
    mut request: ExportDevicesRequest,
    mut patience: Patience,
    mut tell: impl FnMut(News<'_>) -> anyhow::Result<()>,
) -> Result<(), Failed> {
    let mut is_cut = false;
    loop {
        let (started, mut heard) = (Instant::now(), Heard::Nothing);
        let opened = client::answer(client.calls().export_devices(request.clone())).await;
        if is_cut && opened.is_ok() {
            tell(News::Resumed).map_err(Failed::Put)?;
        }
        let end = match opened {
            Ok(stream) => {
                let next = &mut request.from_ordinal;
                listen(stream, next, &mut heard, &mut tell).await
            }
            Err(status) => Err(Failed::Call(status)),
        };
        patience.progress(heard, started.elapsed());
        let status = match end {
            Ok(()) => return Ok(()),
            Err(Failed::Call(status)) => passing(status),
            Err(put) => return Err(put),
        };
        let (pause, status) = patience.pause(status).map_err(Failed::Call)?;
        is_cut = true;
        let next = request.from_ordinal;
        tell(News::Cut { why: &status, next }).map_err(Failed::Put)?;
        tokio::time::sleep(pause).await;
    }
}

/// Listens to one stream; succeeds once it has told all.
async fn listen(
    mut stream: Streaming<ExportDevicesResponse>,
    next: &mut i64,
    heard: &mut Heard,
    tell: &mut impl FnMut(News<'_>) -> anyhow::Result<()>,
) -> Result<(), Failed> {
    while let Some(message) = stream.message().await.map_err(Failed::Call)? {
        let ordinals = message.devices.iter();
        let mut ordinals = ordinals.filter_map(|one| Some(one.device.as_ref()?.ordinal));
        let is_next = ordinals.all(|ordinal| {
            let is_next = ordinal >= *next;
            *next = (*next).max(ordinal + 1);
            is_next
        });
        // It is what keeps a device from coming twice.
        if !is_next || message.next_ordinal < *next {
            let status = Status::data_loss("the server sent devices out of their order");
            return Err(Failed::Call(status));
        }
        *next = message.next_ordinal;
        if message.complete {
            return Ok(());
        }
        let news = if message.devices.is_empty() {
            *heard = (*heard).max(Heard::Heartbeat);
            News::Waits
        } else {
            *heard = Heard::Change;
            News::Came(&message.devices, *next)
        };
        tell(news).map_err(Failed::Put)?;
    }
    // An end without trailers looks like a good one; only the last message makes it one.
    let status = Status::unavailable("the stream ended before all devices were told");
    Err(Failed::Call(status))
}

/// A full server has room later, and a stream that was not read in time is read now.
fn passing(status: Status) -> Status {
    let info = status.get_details_error_info();
    let reason = info.as_ref().map_or("", |info| info.reason.as_str());
    match reason {
        "TOO_MANY_EXPORTS" | "STREAM_NOT_READ" => {
            let (message, details) = (status.message().to_owned(), status.details().to_vec());
            Status::with_details(Code::Unavailable, message, details.into())
        }
        _ => status,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::cli::testing::{Cut, Script, Server, exported};

    /// Exports ten devices, three a message; what was told, and how it ended.
    async fn followed(
        cuts: impl IntoIterator<Item = Cut>,
    ) -> (Vec<i64>, usize, Result<(), Failed>) {
        let server = Server::with(Script {
            exported: (0..10).map(exported).collect(),
            cuts: Mutex::new(cuts.into_iter().collect()),
            ..Script::default()
        });
        let server = server.await;
        let mut client = client::connect(&server.url).await.unwrap();
        let (mut told, mut cuts) = (Vec::new(), 0);
        let request = ExportDevicesRequest {
            apply_id: 17,
            ..Default::default()
        };
        let end = follow(&mut client, request, Patience::short(), |news| {
            match news {
                News::Came(devices, _) => {
                    let devices = devices.iter();
                    told.extend(devices.map(|one| one.device.as_ref().unwrap().ordinal));
                }
                News::Cut { .. } => cuts += 1,
                News::Waits | News::Resumed => {}
            }
            Ok(())
        });
        let end = end.await;
        (told, cuts, end)
    }

    #[tokio::test]
    async fn a_stream_cut_midway_is_resumed_and_no_device_comes_twice() {
        let cuts = [
            Cut::Unavailable { after: 2 },
            Cut::End { after: 1 },
            Cut::Unavailable { after: 0 },
        ];

        let (told, cuts, end) = followed(cuts).await;

        assert_eq!(told, (0..10).collect::<Vec<_>>());
        assert_eq!(cuts, 3);
        assert!(end.is_ok());
    }

    #[tokio::test]
    async fn an_export_without_progress_ends_with_the_last_failure() {
        let (told, cuts, end) = followed(vec![Cut::Unavailable { after: 0 }; 10]).await;

        assert_eq!((told.len(), cuts), (0, 3));
        assert!(matches!(end, Err(Failed::Call(status)) if status.code() == Code::Unavailable));
    }
}
