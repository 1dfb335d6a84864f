//! One upload from its first byte to the outcome of its last device, with nothing to wait for.

use std::time::Instant;

use registrar::proto::AfterCheck;

use super::{Setup, Stack, Stage, median, number, stack::Usage};

/// What it took, in seconds, and what was used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) took: f64,
    pub(crate) uploaded: f64,
    pub(crate) used: Usage,
}

/// Uploads devices, and has the valid ones registered, without quotas. `simulator` are more flags of
/// it; they may have devices fail.
pub(crate) async fn run(
    stage: &mut Stage,
    names: &[String],
    simulator: &[&str],
) -> anyhow::Result<Life> {
    stage.clear().await?;
    let lifted = Setup::LIFTED;
    let simulator = [lifted.simulator, simulator].concat();
    let setup = Setup {
        simulator: &simulator,
        ..lifted
    };
    let stack = Stack::start(stage, setup).await?;
    let (mut client, mut watcher) = (stack.client(0).await?, stack.client(0).await?);
    let before = stack.usage(stage).await?;

    let began = Instant::now();
    let apply = client.upload(names, AfterCheck::RegisterValid).await?;
    let uploaded = began.elapsed().as_secs_f64();
    let apply = watcher.watch(apply).await?;
    let took = began.elapsed().as_secs_f64();

    let counts = apply.counts.unwrap_or_default();
    anyhow::ensure!(
        apply.settled && counts.created + counts.failed == names.len() as i64,
        "not every device has its outcome: {apply:?}"
    );
    let used = stack.usage(stage).await?.since(before);
    Ok(Life {
        took,
        uploaded,
        used,
    })
}

/// Where the time went.
pub(crate) fn note(lives: &[Life], devices: usize) -> String {
    let of = |figure: fn(&Life) -> f64| median(lives.iter().map(figure));
    let each = |seconds: f64| number(seconds * 1e6 / devices as f64);
    format!(
        "uploaded in {} of {} s; CPU a device: service {} µs, PostgreSQL {} µs, simulator {} µs",
        number(of(|life| life.uploaded)),
        number(of(|life| life.took)),
        each(of(|life| life.used.service)),
        each(of(|life| life.used.postgres)),
        each(of(|life| life.used.simulator)),
    )
}
