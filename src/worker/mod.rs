//! Workers: each lane takes the round whose turn it is one upstream call further.
//!
//! Workers share nothing but the database. One that dies leaves a lease behind; when that runs out
//! the round is due again, and whoever takes it first finds out what happened upstream. A restart
//! is therefore no special path.
//!
//! Start at [`Worker::run`]; the whole of one step is in [`step`], what an answer means in
//! [`judge`].

mod brought;
mod ends;
mod follows;
mod imports;
mod judge;
mod lane;
mod looks;
mod lookup;
#[cfg(test)]
mod model;
mod pace;
mod products;
mod result;
mod rewrap;
mod said;
mod step;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    domain::{Lane, Phase},
    lanes::Lanes,
    store::{Blocking, Store},
    upstream::Client,
    vault::Vault,
};

pub use ends::Waits;

/// How the lanes are worked.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// How long a worker may take over one step before others may take it over
    #[arg(long, env = "REGISTRAR_LEASE", default_value = "30s",
          value_parser = humantime::parse_duration)]
    pub lease: Duration,

    /// Steps in flight in each lane
    #[arg(long, env = "REGISTRAR_STEPS", default_value_t = 64)]
    pub steps: u32,

    /// How often one round asks, while the upstream refuses the account, an action or a product,
    /// whether that has been mended
    #[arg(long, env = "REGISTRAR_PROBE_EVERY", default_value = "30s",
          value_parser = humantime::parse_duration)]
    pub probe_every: Duration,

    /// How long the upstream accepts a signed request. A request to register whose answer was lost
    /// may be carried out until then
    #[arg(long, env = "REGISTRAR_UPSTREAM_TIME_WINDOW", default_value = "15m",
          value_parser = humantime::parse_duration)]
    pub upstream_time_window: Duration,

    /// How often to look for data keys of imports that are not sealed under the newest secret key. An
    /// older key can be retired a look after the newest one came
    #[arg(long, env = "REGISTRAR_REWRAP_EVERY", default_value = "1m",
          value_parser = humantime::parse_duration)]
    pub rewrap_every: Duration,

    /// How long waits last.
    #[command(flatten)]
    pub waits: Waits,
}

impl Options {
    /// Refuses settings that no lane can be worked with.
    pub fn check(&self) -> Result<(), String> {
        if self.steps == 0 {
            return Err("each lane needs at least one step in flight".into());
        }
        if self.lease < Duration::from_secs(1) {
            return Err("the lease must be at least 1s".into());
        }
        if self.rewrap_every < Duration::from_secs(1) {
            return Err("data keys can be looked at every 1s at most".into());
        }
        self.waits.check()
    }

    /// How blocks are handled.
    pub fn blocking(&self) -> Blocking {
        Blocking {
            probe_every: self.probe_every,
            block_for: self.waits.block_for,
        }
    }
}

/// The lanes that some phase of a round waits in. The others have a quota and no work of their own,
/// so looking for it would be for nothing.
fn lanes_of_rounds() -> impl Iterator<Item = Lane> {
    let waited_in = |lane: &Lane| Phase::ALL.iter().any(|phase| phase.lane() == Some(*lane));
    Lane::ALL.iter().copied().filter(waited_in)
}

/// The workers of one process.
#[derive(Clone, Debug)]
pub struct Worker {
    store: Store,
    upstream: Client,
    /// Opens the secrets that devices bring.
    vault: Vault,
    lanes: Lanes,
    looks: Arc<looks::Looks>,
    pace: Arc<pace::Pace>,
    products: Arc<products::Products>,
    options: Arc<Options>,
    /// Changes when there may be something new to do.
    wake: watch::Receiver<u64>,
}

impl Worker {
    /// Workers that look when `wake` changes, when something is due, and every second.
    pub fn new(
        store: Store,
        upstream: Client,
        vault: Vault,
        lanes: Lanes,
        options: Options,
        wake: watch::Receiver<u64>,
    ) -> Self {
        let looks = looks::Looks::new(store.clone(), lanes_of_rounds().collect());
        Self {
            store,
            upstream,
            vault,
            lanes,
            looks: Arc::new(looks),
            pace: Arc::default(),
            products: Arc::default(),
            options: Arc::new(options),
            wake,
        }
    }

    /// Works all lanes that rounds wait in until `stop`, then finishes the steps in flight.
    pub async fn run(self, stop: CancellationToken) {
        let steps = TaskTracker::new();
        let mut lanes = JoinSet::new();
        for lane in lanes_of_rounds() {
            let lane = lane::LaneWorker::new(self.clone(), lane, steps.clone());
            lanes.spawn(lane.run(stop.clone()));
        }
        lanes.spawn(self.clone().rewrap(stop.clone()));
        // A lane that panics takes the others with it: half a worker is worse than none.
        lanes.join_all().await;
        steps.close();
        steps.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lanes_that_rounds_wait_in_are_worked() {
        let worked: Vec<Lane> = lanes_of_rounds().collect();

        let mut needed = Phase::ALL.iter().filter_map(|phase| phase.lane());
        assert!(needed.all(|lane| worked.contains(&lane)));
        // `doctor` alone asks for products.
        assert!(!worked.contains(&Lane::Product));
    }
}
