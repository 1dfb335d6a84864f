//! P11: what a large upload and many watchers add to the memory of an idle server.

use anyhow::Context as _;
use registrar::proto::{
    NewDevice, UploadDevicesRequest, UploadPart, UploadSeal, UploadStart,
    registrar_service_client::RegistrarServiceClient as Client, upload_devices_request::Part,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::support::{
    stage::{Server, Stage},
    table::{Aim, Row, median},
    usage,
    watched::{Kind, Watched, connect},
};

const MEGABYTE: f64 = 1e6;

/// Devices of one message.
const PART: usize = 2_500;

pub(crate) async fn run(
    stage: &mut Stage,
    repetitions: usize,
    devices: usize,
    watchers: usize,
) -> anyhow::Result<Vec<Row>> {
    let (mut uploads, mut each) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        uploads.push(uploading(stage, devices).await?);
        let ours = a_watcher(stage, Kind::Registrar, watchers).await?;
        each.push((ours, a_watcher(stage, Kind::Bare, watchers).await?));
    }
    let ours = median(each.iter().map(|(ours, _)| *ours));
    let bare = median(each.iter().map(|(_, bare)| *bare));
    let peak = median(uploads.iter().map(|(_, peak)| *peak));
    let idle = median(uploads.iter().map(|(idle, _)| *idle));
    Ok(vec![
        Row {
            id: "P11",
            what: format!("memory while {devices} devices are uploaded, MB more than idle"),
            ours: format!("{peak:.0} MB at most"),
            against: format!("idle: {idle:.0} MB"),
            ratio: median(uploads.iter().map(|(idle, peak)| peak - idle)),
            aim: Aim::AtMost(100.0),
        },
        Row {
            id: "P11",
            what: format!("memory of each of {watchers} watchers"),
            ours: format!("{:.1} kB", ours / 1e3),
            against: format!("bare tonic broadcast: {:.1} kB", bare / 1e3),
            ratio: median(each.iter().map(|(ours, bare)| ours / bare)),
            aim: Aim::AtMost(2.0),
        },
    ])
}

/// Megabytes before an upload, and at most during it and while its first rounds are worked on.
async fn uploading(stage: &mut Stage, devices: usize) -> anyhow::Result<(f64, f64)> {
    let database = stage.database().await?;
    let server = stage.registrar(&database, &[]).await?;
    usage::forget_peak(server.pid())?;
    let idle = usage::resident(server.pid())? as f64;
    upload(&server, devices).await?;
    let peak = usage::peak(server.pid())? as f64;
    Ok((idle / MEGABYTE, peak / MEGABYTE))
}

async fn upload(server: &Server, devices: usize) -> anyhow::Result<()> {
    let mut client = Client::new(connect(&server.address).await?);
    let (parts, sent) = mpsc::channel(4);
    let start = UploadStart {
        product_key: registrar::simulator::PRODUCT.into(),
        ..Default::default()
    };
    parts.send(message(Part::Start(start))).await?;
    let mut answers = client
        .upload_devices(ReceiverStream::new(sent))
        .await?
        .into_inner();
    let sending = async {
        for first in (0..devices).step_by(PART) {
            let part = UploadPart {
                first_ordinal: first as i64,
                devices: (first..devices.min(first + PART)).map(device).collect(),
            };
            parts.send(message(Part::Devices(part))).await?;
        }
        let total = devices as i64;
        parts.send(message(Part::Seal(UploadSeal { total }))).await?;
        anyhow::Ok(())
    };
    let stored = async {
        loop {
            let answer = answers.message().await?.context("the upload ended")?;
            if answer.apply.is_some_and(|apply| apply.sealed) {
                return anyhow::Ok(());
            }
        }
    };
    let (sent, stored) = tokio::join!(sending, stored);
    stored?;
    sent
}

fn message(part: Part) -> UploadDevicesRequest {
    UploadDevicesRequest { part: Some(part) }
}

fn device(n: usize) -> NewDevice {
    NewDevice {
        device_name: format!("upload-{n:08}"),
        ..Default::default()
    }
}

/// Bytes that each of so many watchers takes, all of which have had two events.
async fn a_watcher(stage: &mut Stage, kind: Kind, count: usize) -> anyhow::Result<f64> {
    let mut watched = Watched::start(kind, stage).await?;
    let idle = usage::resident(watched.pid())?;
    let watchers = watched.watchers(count).await?;
    watched.publish(&watchers, 1, None).await?;
    let more = usage::resident(watched.pid())?.saturating_sub(idle);
    Ok(more as f64 / count as f64)
}
