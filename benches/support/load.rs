//! A closed loop of callers.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic::{Status, transport::Channel};

use super::{process, watched::connect};

/// Connections that the callers share.
const CONNECTIONS: usize = 8;

/// How calls fared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fared {
    pub(crate) per_second: f64,
    /// Seconds of the server for each call.
    pub(crate) cpu: f64,
}

/// Has so many callers call one after another, for so long. `call` is one call; what it is given
/// tells it from all others.
pub(crate) async fn load<F>(
    address: &str,
    pid: u32,
    callers: usize,
    time: Duration,
    call: impl Fn(Channel, String) -> F + Clone + Send + 'static,
) -> anyhow::Result<Fared>
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(connect(address).await?);
    }
    // Connections and statements are there before anything is counted.
    rounds(&channels, callers, time / 4, call.clone()).await?;
    let (cpu, begun) = (process::cpu(pid), Instant::now());
    let calls = rounds(&channels, callers, time, call).await?;
    let took = begun.elapsed();
    let cpu = process::cpu(pid) - cpu;
    Ok(Fared {
        per_second: f64::from(calls) / took.as_secs_f64(),
        cpu: cpu / f64::from(calls),
    })
}

async fn rounds<F>(
    channels: &[Channel],
    callers: usize,
    time: Duration,
    call: impl Fn(Channel, String) -> F + Clone + Send + 'static,
) -> anyhow::Result<u32>
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let (channel, call) = (channels[caller % CONNECTIONS].clone(), call.clone());
        tasks.spawn(async move {
            let mut calls = 0;
            while begun.elapsed() < time {
                call(channel.clone(), format!("{caller}-{calls}")).await?;
                calls += 1;
            }
            Ok::<u32, Status>(calls)
        });
    }
    let mut all = 0;
    while let Some(calls) = tasks.join_next().await {
        all += calls??;
    }
    Ok(all)
}
