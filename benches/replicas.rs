//! P12: replicas that share one quota, counted where the calls arrive.

use futures_util::future::try_join_all;
use registrar::proto::AfterCheck;

use crate::support::{Aim, Client, Row, Setup, Size, Spread, Stack, Stage, client, median, number};

/// Checks a second that the quota admits.
const CHECKS: usize = 10;

/// Devices of an apply: as few as make a round.
const DEVICES: usize = 10;

/// In microseconds.
const SECOND: u64 = 1_000_000;

/// Checks that arrived.
#[derive(Clone, Copy)]
struct Counted {
    /// A second, on average.
    mean: f64,
    /// In any second.
    most: f64,
    throttled: usize,
}

pub(crate) async fn run(stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    let seconds = size.of(30, 5);
    let mut counted = [Vec::new(), Vec::new(), Vec::new()];
    for repetition in 0..size.repetitions() {
        for (replicas, counted) in (1..).zip(&mut counted) {
            counted.push(once(stage, replicas, seconds, repetition as u64).await?);
        }
    }
    let mut rows = Vec::new();
    for (replicas, counted) in (1..).zip(counted) {
        let mut row = |what: String, aim, of: fn(&Counted) -> f64| {
            rows.push(Row {
                id: "P12",
                what: format!("{replicas} replicas on one quota: checks {what}"),
                ours: number(median(counted.iter().map(of))),
                peer: format!("published {CHECKS}"),
                ratio: Spread::of(counted.iter().map(|it| of(it) / CHECKS as f64)),
                aim,
                note: format!(
                    "{} throttled",
                    counted.iter().map(|it| it.throttled).sum::<usize>()
                ),
            });
        };
        let mean = format!("a second, over {seconds} s");
        row(mean, Aim::AtLeast(0.95), |counted| counted.mean);
        let most = "in any sliding second, at most".to_owned();
        row(most, Aim::AtMost(1.0), |counted| counted.most);
    }
    Ok(rows)
}

async fn once(
    stage: &mut Stage,
    replicas: usize,
    seconds: usize,
    seed: u64,
) -> anyhow::Result<Counted> {
    stage.clear().await?;
    let setup = Setup {
        replicas,
        ..Setup::PUBLISHED
    };
    let stack = Stack::start(stage, setup).await?;
    let mut clients = Vec::new();
    for replica in 0..replicas {
        clients.push(stack.client(replica).await?);
    }
    // More than the quota admits in that time, so that there is always one to check.
    let applies = CHECKS * (seconds + 1);
    let names = client::names(seed, applies * DEVICES);
    let checks = names
        .chunks(DEVICES)
        .zip(clients.iter().cycle())
        .map(|(names, client)| checked(client.clone(), names));
    try_join_all(checks).await?;

    let calls = stack.ledger().await?;
    let mut arrived: Vec<u64> = calls
        .iter()
        .filter(|call| call.action == "BatchCheckDeviceNames")
        .map(|call| call.arrived)
        .collect();
    arrived.sort_unstable();
    let within = |from: u64, span: u64| {
        let later = arrived.iter().filter(|at| **at >= from);
        later.take_while(|at| **at < from + span).count()
    };
    Ok(Counted {
        mean: within(arrived[0], seconds as u64 * SECOND) as f64 / seconds as f64,
        most: arrived
            .iter()
            .map(|at| within(*at, SECOND))
            .max()
            .unwrap_or(0) as f64,
        throttled: calls.iter().filter(|call| call.is_throttled()).count(),
    })
}

async fn checked(mut client: Client, names: &[String]) -> anyhow::Result<()> {
    let apply = client.check(names, AfterCheck::Stop).await?;
    let apply = client.watch(apply).await?;
    let valid = apply.counts.unwrap_or_default().valid;
    anyhow::ensure!(valid == names.len() as i64, "not checked: {apply:?}");
    Ok(())
}
