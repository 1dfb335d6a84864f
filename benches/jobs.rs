//! P5: devices through their whole life, against a job for each that does nothing.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::support::{
    Aim, Row, Size, Spread, Stage, client, life, machine, median, number, process,
};

/// Built by script/bench.
const PEERS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/target/peers/release/registrar-peers"
);
const LOCK: &str = include_str!("peers/Cargo.lock");

struct Way {
    name: &'static str,
    jobs: usize,
    aim: f64,
}

pub(crate) async fn run(stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    let devices = size.of(1_000_000, 50_000);
    let ways = [
        Way {
            name: "tuned",
            jobs: size.of(50_000, 5_000),
            aim: 10.0,
        },
        Way {
            name: "default",
            jobs: size.of(5_000, 500),
            aim: 100.0,
        },
    ];
    let mut lives = Vec::new();
    let mut theirs = [Vec::new(), Vec::new()];
    for repetition in 0..size.repetitions() {
        let names = client::names(repetition as u64, devices);
        lives.push(life::run(stage, &names, &[]).await?);
        for (way, theirs) in ways.iter().zip(&mut theirs) {
            theirs.push(worked_off(stage, way).await?);
        }
    }
    let ours: Vec<f64> = lives
        .iter()
        .map(|life| devices as f64 / life.took)
        .collect();
    let version = machine::locked(LOCK, "graphile_worker");
    let rows = ways.iter().zip(theirs).map(|(way, theirs)| Row {
        id: "P5",
        what: "devices through their whole life, quotas lifted".into(),
        ours: format!("{}/s", number(median(ours.iter().copied()))),
        peer: format!(
            "a no-op job each, graphile_worker {version} {} {}/s",
            way.name,
            number(median(theirs.iter().copied()))
        ),
        ratio: Spread::of(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs)),
        aim: Aim::AtLeast(way.aim),
        note: format!("{} jobs", number(way.jobs as f64)),
    });
    Ok(rows.collect())
}

/// Jobs a second, from their enqueuing until none is left.
async fn worked_off(stage: &mut Stage, way: &Way) -> anyhow::Result<f64> {
    stage.clear().await?;
    let database = stage.database().await?;
    let mut command = Command::new(PEERS);
    command.args(["graphile-worker", &database.url, &way.jobs.to_string()]);
    command.arg(way.name);
    process::die_with_us(&mut command);
    let output = command.output().context("script/bench builds the peers")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told: Value = serde_json::from_slice(&output.stdout)?;
    let seconds = told["seconds"].as_f64().context("how long it took")?;
    Ok(way.jobs as f64 / seconds)
}
