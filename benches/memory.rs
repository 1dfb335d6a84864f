//! P11: what a large upload and many watchers add to the memory of an idle server.

use registrar::proto::AfterCheck;

use crate::support::{
    Aim, Row, Setup, Size, Spread, Stack, Stage, client, median, number, process,
    watched::{Kind, Watched},
};

const MEGABYTE: f64 = 1e6;

pub(crate) async fn run(stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    let (devices, watchers) = (size.of(1_000_000, 50_000), size.of(10_000, 500));
    let (mut uploads, mut each) = (Vec::new(), Vec::new());
    for repetition in 0..size.repetitions() {
        stage.clear().await?;
        uploads.push(uploading(stage, &client::names(repetition as u64, devices)).await?);
        let ours = a_watcher(stage, Kind::Registrar, watchers).await?;
        each.push((ours, a_watcher(stage, Kind::Bare, watchers).await?));
    }
    let more = Spread::of(uploads.iter().map(|(idle, peak)| peak - idle));
    let idle = median(uploads.iter().map(|(idle, _)| *idle));
    Ok(vec![
        Row {
            id: "P11",
            what: format!(
                "memory during an upload of {} names",
                number(devices as f64)
            ),
            ours: format!("{} MB more", number(more.median)),
            peer: format!("idle {} MB", number(idle)),
            ratio: Spread::of(uploads.iter().map(|(idle, peak)| (peak - idle) / 100.0)),
            aim: Aim::AtMost(1.0),
            note: "the ratio is to the 100 MB that it may be".into(),
        },
        Row {
            id: "P11",
            what: format!("memory of each of {} watchers", number(watchers as f64)),
            ours: format!(
                "{} kB",
                number(median(each.iter().map(|(ours, _)| ours / 1e3)))
            ),
            peer: format!(
                "bare tonic {} kB",
                number(median(each.iter().map(|(_, bare)| bare / 1e3)))
            ),
            ratio: Spread::of_ratios(&each),
            aim: Aim::AtMost(2.0),
            note: String::new(),
        },
    ])
}

/// Megabytes before an upload, and at most during it.
async fn uploading(stage: &mut Stage, names: &[String]) -> anyhow::Result<(f64, f64)> {
    let stack = Stack::start(stage, Setup::PUBLISHED).await?;
    let (server, mut client) = (stack.replicas[0].pid(), stack.client(0).await?);
    process::forget_peak(server)?;
    let idle = process::resident(server) as f64;
    client.upload(names, AfterCheck::Stop).await?;
    let peak = process::peak(server) as f64;
    Ok((idle / MEGABYTE, peak / MEGABYTE))
}

/// Bytes that each of so many watchers takes, all of which have had two events.
async fn a_watcher(stage: &mut Stage, kind: Kind, count: usize) -> anyhow::Result<f64> {
    let mut watched = Watched::start(kind, stage).await?;
    let idle = process::resident(watched.pid());
    let watchers = watched.watchers(count).await?;
    watched.publish(&watchers, 1, None).await?;
    let more = process::resident(watched.pid()).saturating_sub(idle);
    Ok(more as f64 / count as f64)
}
