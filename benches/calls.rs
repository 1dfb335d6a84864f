//! P8 and P9: small calls, of 64 and 256 callers in a closed loop over eight connections.
//!
//! A submission is durable when it is answered, and so are the rows that `pgbench` and the bare
//! server write, one a call, into the same PostgreSQL. Workers go on at the published quotas.

use std::time::Duration;

use anyhow::Context as _;
use registrar::proto::{
    CheckDevicesRequest, GetApplyRequest, NewDevice,
    registrar_service_client::RegistrarServiceClient as Client,
};
use sqlx::{Connection as _, PgConnection};
use tokio::process::Command;
use tonic::{Status, transport::Channel};

use crate::support::{
    bare::{self, Bare},
    load::{Fared, load},
    stage::Stage,
    table::{Aim, Row, median},
    watched::unsealed,
};

/// How long each measurement lasts.
const TIME: Duration = Duration::from_secs(3);

/// Connections of `pgbench`.
const PGBENCH: usize = 16;

/// P8: CheckDevices with one device.
pub(crate) async fn submissions(
    stage: &mut Stage,
    repetitions: usize,
) -> anyhow::Result<Vec<Row>> {
    let (ours, database) = (stage.database().await?, stage.database().await?);
    let server = stage.registrar(&ours, &[]).await?;
    let bare = Bare::start(Some(&database))?;
    let mut runs = Vec::new();
    for _ in 0..repetitions {
        let mut run = Vec::new();
        for callers in [64, 256] {
            let ours = load(&server.address, server.pid(), callers, TIME, submit).await?;
            let bare = load(&bare.address, bare.pid(), callers, TIME, submit).await?;
            run.push((ours, bare));
        }
        runs.push((run, pgbench(stage, &database).await?));
    }
    let rate = |fared: &Fared| format!("{:.0}/s, {} µs CPU", fared.per_second, fared.cpu.as_micros());
    let of = |pick: &dyn Fn(&(Vec<(Fared, Fared)>, f64)) -> f64| median(runs.iter().map(pick));
    let (last, tps) = runs.last().context("no repetition")?;
    Ok(vec![
        Row {
            id: "P8",
            what: "CheckDevices, one device, 64 callers".into(),
            ours: rate(&last[0].0),
            against: format!("pgbench, single INSERT, 16 connections: {tps:.0}/s"),
            ratio: of(&|(run, tps)| run[0].0.per_second / tps),
            aim: Aim::AtLeast(0.5),
        },
        Row {
            id: "P8",
            what: "CheckDevices, one device, 64 callers".into(),
            ours: rate(&last[0].0),
            against: format!("bare tonic, one INSERT a call: {}", rate(&last[0].1)),
            ratio: of(&|(run, _)| run[0].0.per_second / run[0].1.per_second),
            aim: Aim::AtLeast(0.8),
        },
        Row {
            id: "P8",
            what: "CheckDevices, one device, 256 callers".into(),
            ours: rate(&last[1].0),
            against: format!("bare tonic, one INSERT a call: {}", rate(&last[1].1)),
            ratio: of(&|(run, _)| run[1].0.per_second / run[1].1.per_second),
            aim: Aim::AtLeast(3.0),
        },
    ])
}

/// P9: GetApply.
pub(crate) async fn readings(stage: &mut Stage, repetitions: usize) -> anyhow::Result<Vec<Row>> {
    let database = stage.database().await?;
    let server = stage.registrar(&database, &[]).await?;
    let bare = Bare::start(None)?;
    let apply_id = unsealed(&server).await?;
    let get = move |channel: Channel, _: String| async move {
        let request = GetApplyRequest {
            apply_id,
            ..Default::default()
        };
        Client::new(channel).get_apply(request).await.map(drop)
    };
    let mut runs = Vec::new();
    for _ in 0..repetitions {
        let ours = load(&server.address, server.pid(), 64, TIME, get).await?;
        let bare = load(&bare.address, bare.pid(), 64, TIME, get).await?;
        runs.push((ours, bare));
    }
    let rate = |fared: &Fared| format!("{:.0}/s, {} µs CPU", fared.per_second, fared.cpu.as_micros());
    let (ours, hello) = runs.last().context("no repetition")?;
    Ok(vec![Row {
        id: "P9",
        what: "GetApply, 64 callers".into(),
        ours: rate(ours),
        against: format!("bare tonic hello: {}", rate(hello)),
        ratio: median(runs.iter().map(|(ours, hello)| ours.per_second / hello.per_second)),
        aim: Aim::AtLeast(0.25),
    }])
}

async fn submit(channel: Channel, name: String) -> Result<(), Status> {
    let device = NewDevice {
        device_name: format!("bench-{name}"),
        ..Default::default()
    };
    let request = CheckDevicesRequest {
        product_key: "a1BenchCalls".into(),
        devices: vec![device],
        ..Default::default()
    };
    Client::new(channel).check_devices(request).await.map(drop)
}

/// Transactions a second of single INSERTs.
async fn pgbench(stage: &Stage, database: &str) -> anyhow::Result<f64> {
    let mut connection = PgConnection::connect(database).await?;
    sqlx::query(bare::TABLE).execute(&mut connection).await?;
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(
        script.path(),
        "\\set n random(1, 1000000000)\n\
         INSERT INTO bench_single (product_key, name) VALUES ('a1BenchCalls', 'bench-' || :n);\n",
    )?;
    let connections = PGBENCH.to_string();
    let told = Command::new(stage.binary("pgbench"))
        .args(["-n", "-M", "prepared", "-c", &connections, "-j", "2"])
        .args(["-T", &TIME.as_secs().to_string(), "-f"])
        .arg(script.path())
        .arg(database)
        .output()
        .await?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let tps = told.lines().find_map(|line| line.strip_prefix("tps = "));
    let tps = tps.with_context(|| format!("pgbench said: {told}"))?;
    Ok(tps.split(' ').next().unwrap_or_default().parse()?)
}
