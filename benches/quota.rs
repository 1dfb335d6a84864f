//! P1: a million names through an upload, as fast as the published quotas allow.

use std::time::Instant;

use registrar::proto::AfterCheck;

use crate::support::{Aim, Row, Setup, Size, Spread, Stack, Stage, client, median, number};

/// A round's check and creation together then take 1.9 to 2.1 s.
const SPEED: [&str; 2] = ["--simulator-speed", "1.68"];

/// Seconds that a round's check and creation take.
const ROUND: f64 = 2.0;

/// Names that the quota of checks admits in a second.
const ADMITTED: f64 = 100_000.0;

pub(crate) async fn run(stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    let devices = size.of(1_000_000, 100_000);
    let bound = devices as f64 / ADMITTED + ROUND;
    let mut runs = [Vec::new(), Vec::new()];
    for repetition in 0..size.repetitions() {
        let names = client::names(repetition as u64, devices);
        for (replicas, runs) in [1, 3].into_iter().zip(&mut runs) {
            runs.push(once(stage, &names, replicas).await?);
        }
    }
    let rows = runs.into_iter().zip(["", ", spread over three replicas"]);
    Ok(rows
        .map(|(runs, spread)| Row {
            id: "P1",
            what: format!(
                "{} names, uploaded and registered{spread}",
                number(devices as f64)
            ),
            ours: format!("{} s", number(median(runs.iter().map(|run| run.took)))),
            peer: format!("quota bound {} s", number(bound)),
            ratio: Spread::of(runs.iter().map(|run| run.took / bound)),
            aim: Aim::AtMost(1.15),
            note: note(&runs, devices),
        })
        .collect())
}

struct Run {
    took: f64,
    uploaded: f64,
    service: f64,
    postgres: f64,
    throttled: usize,
}

async fn once(stage: &mut Stage, names: &[String], replicas: usize) -> anyhow::Result<Run> {
    stage.clear().await?;
    let setup = Setup {
        replicas,
        simulator: &SPEED,
        serve: &[],
    };
    let stack = Stack::start(stage, setup).await?;
    let mut client = stack.client(0).await?;
    let mut watcher = stack.client(replicas - 1).await?;
    let before = stack.usage(stage).await?;

    let began = Instant::now();
    let apply = client.upload(names, AfterCheck::RegisterValid).await?;
    let uploaded = began.elapsed().as_secs_f64();
    watcher.created(apply, names.len()).await?;
    let took = began.elapsed().as_secs_f64();

    let used = stack.usage(stage).await?.since(before);
    let calls = stack.ledger().await?;
    Ok(Run {
        took,
        uploaded,
        service: used.service,
        postgres: used.postgres,
        throttled: calls.iter().filter(|call| call.is_throttled()).count(),
    })
}

fn note(runs: &[Run], devices: usize) -> String {
    let of = |figure: fn(&Run) -> f64| median(runs.iter().map(figure));
    let each = |seconds: f64| number(seconds * 1e6 / devices as f64);
    format!(
        "uploaded in {} s; CPU a device: service {} µs, PostgreSQL {} µs; {} throttled",
        number(of(|run| run.uploaded)),
        each(of(|run| run.service)),
        each(of(|run| run.postgres)),
        runs.iter().map(|run| run.throttled).sum::<usize>(),
    )
}
