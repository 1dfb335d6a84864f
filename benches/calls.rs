//! P8 and P9: small calls, of 64 and 256 callers in a closed loop over eight connections.
//!
//! A submission is durable when it is answered, and so are the rows that `pgbench` and the bare
//! server write, one a call, into the same PostgreSQL. Workers go on at the published quotas.

use std::time::Duration;

use anyhow::Context as _;
use registrar::proto::{
    AfterCheck, CheckDevicesRequest, GetApplyRequest, NewDevice,
    registrar_service_client::RegistrarServiceClient,
};
use tokio::process::Command;
use tonic::{Status, transport::Channel};

use crate::support::{
    Aim, Database, Row, Setup, Size, Spread, Stack, Stage,
    bare::{self, Bare},
    load::{Fared, load},
    median, number,
};

/// Connections of `pgbench`.
const CONNECTIONS: &str = "16";

/// How long each measurement lasts.
fn time(size: Size) -> Duration {
    Duration::from_secs(size.of(3, 1) as u64)
}

/// P8: CheckDevices with one device.
pub(crate) async fn submissions(stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    let (time, rows) = (time(size), stage.database().await?);
    let stack = Stack::start(stage, Setup::PUBLISHED).await?;
    let (server, bare) = (&stack.replicas[0], Bare::start(Some(&rows.url))?);
    let (mut few, mut many, mut single) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..size.repetitions() {
        for (callers, runs) in [(64, &mut few), (256, &mut many)] {
            let ours = load(&server.address, server.pid(), callers, time, submit).await?;
            let theirs = load(&bare.address, bare.pid(), callers, time, submit).await?;
            runs.push((ours, theirs));
        }
        single.push(pgbench(&rows, time).await?);
    }
    let ours = few.iter().map(|(ours, _)| ours.per_second);
    Ok(vec![
        Row {
            id: "P8",
            what: "CheckDevices, one device, durable, 64 callers".into(),
            ours: rate(few.iter().map(|run| run.0)),
            peer: format!(
                "pgbench, one INSERT, {CONNECTIONS} connections {}/s",
                number(median(single.clone()))
            ),
            ratio: Spread::of(ours.zip(&single).map(|(ours, tps)| ours / tps)),
            aim: Aim::AtLeast(0.5),
            note: String::new(),
        },
        to_bare(
            "P8",
            "CheckDevices, one device, durable, 64 callers",
            "one INSERT a call",
            0.8,
            &few,
        ),
        to_bare(
            "P8",
            "CheckDevices, one device, durable, 256 callers",
            "one INSERT a call",
            3.0,
            &many,
        ),
    ])
}

/// P9: GetApply of an apply under way.
pub(crate) async fn readings(stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    // The status of its check is never asked for, so it is under way for as long as it is read.
    let setup = Setup {
        serve: &["--status-rate", "0.001"],
        ..Setup::PUBLISHED
    };
    let stack = Stack::start(stage, setup).await?;
    let (server, bare) = (&stack.replicas[0], Bare::start(None)?);
    let names = ["bench-read".to_owned()];
    let apply_id = stack
        .client(0)
        .await?
        .check(&names, AfterCheck::Stop)
        .await?;
    let get = move |channel: Channel, _: String| async move {
        let request = GetApplyRequest {
            apply_id,
            ..Default::default()
        };
        let mut client = RegistrarServiceClient::new(channel);
        client.get_apply(request).await.map(drop)
    };
    let mut runs = Vec::new();
    for _ in 0..size.repetitions() {
        let ours = load(&server.address, server.pid(), 64, time(size), get).await?;
        let hello = load(&bare.address, bare.pid(), 64, time(size), get).await?;
        runs.push((ours, hello));
    }
    Ok(vec![to_bare(
        "P9",
        "GetApply of an apply under way, 64 callers",
        "hello",
        0.25,
        &runs,
    )])
}

fn to_bare(id: &'static str, what: &str, peer: &str, least: f64, runs: &[(Fared, Fared)]) -> Row {
    Row {
        id,
        what: what.into(),
        ours: rate(runs.iter().map(|(ours, _)| *ours)),
        peer: format!(
            "bare tonic, {peer} {}",
            rate(runs.iter().map(|(_, bare)| *bare))
        ),
        ratio: Spread::of(
            runs.iter()
                .map(|(ours, bare)| ours.per_second / bare.per_second),
        ),
        aim: Aim::AtLeast(least),
        note: String::new(),
    }
}

fn rate(runs: impl Iterator<Item = Fared> + Clone) -> String {
    let cpu = median(runs.clone().map(|run| run.cpu * 1e6));
    let calls = median(runs.map(|run| run.per_second));
    format!("{}/s, {} µs of its CPU", number(calls), number(cpu))
}

async fn submit(channel: Channel, name: String) -> Result<(), Status> {
    let device = NewDevice {
        device_name: format!("bench-{name}"),
        ..Default::default()
    };
    let request = CheckDevicesRequest {
        product_key: registrar::simulator::PRODUCT.into(),
        devices: vec![device],
        ..Default::default()
    };
    let mut client = RegistrarServiceClient::new(channel);
    client.check_devices(request).await.map(drop)
}

/// Transactions a second, each of which is one INSERT.
async fn pgbench(database: &Database, time: Duration) -> anyhow::Result<f64> {
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(script.path(), bare::INSERT_OF_PGBENCH)?;
    let told = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-c", CONNECTIONS, "-j", "2"])
        .args(["-T", &time.as_secs().to_string(), "-f"])
        .arg(script.path())
        .arg(&database.url)
        .output()
        .await
        .context("pgbench does not start; it comes with PostgreSQL")?;
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let tps = tps.with_context(|| format!("{text}{}", String::from_utf8_lossy(&told.stderr)))?;
    Ok(tps.split(' ').next().unwrap_or_default().parse()?)
}
