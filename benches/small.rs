//! P10: many small applies at once.

use std::time::Instant;

use futures_util::future::try_join_all;
use registrar::proto::AfterCheck;

use crate::support::{Aim, Client, Row, Setup, Size, Spread, Stack, Stage, client, median, number};

const DEVICES: usize = 100;

/// Checks a second that the quota admits.
const CHECKS: f64 = 10.0;

/// Seconds that the check and the creation of so few take the simulator.
const ROUND: f64 = 0.23;

/// One call finds the check done, one the creation.
const LEAST_STATUS_CALLS: f64 = 2.0;

struct Run {
    took: f64,
    status_calls: f64,
    throttled: usize,
    /// Seconds of CPU an apply.
    service: f64,
    postgres: f64,
}

pub(crate) async fn run(stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    let applies = size.of(300, 30);
    let mut runs = Vec::new();
    for repetition in 0..size.repetitions() {
        runs.push(once(stage, applies, repetition as u64).await?);
    }
    let bound = applies as f64 / CHECKS + ROUND;
    let of = |figure: fn(&Run) -> f64| median(runs.iter().map(figure));
    let what = format!("{applies} applies of {DEVICES} devices at once");
    Ok(vec![
        Row {
            id: "P10",
            what: format!("{what}: makespan"),
            ours: format!("{} s", number(of(|run| run.took))),
            peer: format!("quota bound {} s", number(bound)),
            ratio: Spread::of(runs.iter().map(|run| run.took / bound)),
            aim: Aim::AtMost(1.2),
            note: format!(
                "CPU an apply: service {} ms, PostgreSQL {} ms",
                number(of(|run| run.service) * 1e3),
                number(of(|run| run.postgres) * 1e3)
            ),
        },
        Row {
            id: "P10",
            what: format!("{what}: status calls an apply"),
            ours: number(of(|run| run.status_calls)),
            peer: format!("the least possible {LEAST_STATUS_CALLS}"),
            ratio: Spread::of(runs.iter().map(|run| run.status_calls / LEAST_STATUS_CALLS)),
            aim: Aim::AtMost(1.5),
            note: String::new(),
        },
        Row {
            id: "P10",
            what: format!("{what}: throttled calls"),
            ours: number(of(|run| run.throttled as f64)),
            peer: "none".into(),
            ratio: Spread::of(runs.iter().map(|run| run.throttled as f64)),
            aim: Aim::AtMost(0.0),
            note: "a count, not a ratio".into(),
        },
    ])
}

async fn once(stage: &mut Stage, applies: usize, seed: u64) -> anyhow::Result<Run> {
    stage.clear().await?;
    let names = client::names(seed, applies * DEVICES);
    let stack = Stack::start(stage, Setup::PUBLISHED).await?;
    let client = stack.client(0).await?;
    let before = stack.usage(stage).await?;

    let began = Instant::now();
    let lives = names
        .chunks(DEVICES)
        .map(|names| life(client.clone(), names));
    try_join_all(lives).await?;
    let took = began.elapsed().as_secs_f64();

    let used = stack.usage(stage).await?.since(before);
    let calls = stack.ledger().await?;
    let status_calls = calls
        .iter()
        .filter(|call| call.action == "QueryBatchRegisterDeviceStatus")
        .count();
    Ok(Run {
        took,
        status_calls: status_calls as f64 / applies as f64,
        throttled: calls.iter().filter(|call| call.is_throttled()).count(),
        service: used.service / applies as f64,
        postgres: used.postgres / applies as f64,
    })
}

async fn life(mut client: Client, names: &[String]) -> anyhow::Result<()> {
    let apply = client.check(names, AfterCheck::RegisterValid).await?;
    client.created(apply, names.len()).await
}
