//! Workers: each lane takes the round whose turn it is one upstream call further.
//!
//! Workers share nothing but the database. One that dies leaves a lease behind; when that runs out
//! the round is due again, and whoever takes it first finds out what happened upstream. A restart
//! is therefore no special path.
//!
//! Start at [`Worker::run`]; the whole of one step is in [`step`], what an answer means in
//! [`judge`].

mod brought;
mod clock;
mod ends;
mod follows;
mod imports;
mod judge;
mod lane;
mod pace;
mod permit;
mod result;
mod rewrap;
mod said;
mod shown;
mod step;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    domain::{Lane, Phase},
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

    /// Checks a second that the account admits (BatchCheckDeviceNames)
    #[arg(long, env = "REGISTRAR_CHECK_RATE", default_value_t = Lane::Check.published_rate())]
    pub check_rate: f64,

    /// Status queries a second that the account admits (QueryBatchRegisterDeviceStatus)
    #[arg(long, env = "REGISTRAR_STATUS_RATE", default_value_t = Lane::Status.published_rate())]
    pub status_rate: f64,

    /// Registrations a second that the account admits (BatchRegisterDeviceWithApplyId)
    #[arg(long, env = "REGISTRAR_REGISTER_RATE",
          default_value_t = Lane::Register.published_rate())]
    pub register_rate: f64,

    /// Result pages a second that the account admits (QueryPageByApplyId)
    #[arg(long, env = "REGISTRAR_PAGE_RATE", default_value_t = Lane::Page.published_rate())]
    pub page_rate: f64,

    /// Checks of imports a second that the account admits (BatchCheckImportDevice)
    #[arg(long, env = "REGISTRAR_CHECK_IMPORT_RATE",
          default_value_t = Lane::CheckImport.published_rate())]
    pub check_import_rate: f64,

    /// Imports a second that the account admits (BatchImportDevice)
    #[arg(long, env = "REGISTRAR_IMPORT_RATE",
          default_value_t = Lane::Import.published_rate())]
    pub import_rate: f64,

    /// Pages of imported devices a second that the account admits (QueryImportedDeviceByApplyId)
    #[arg(long, env = "REGISTRAR_IMPORTED_RATE",
          default_value_t = Lane::Imported.published_rate())]
    pub imported_rate: f64,

    /// Look-ups of one device a second that the account admits (QueryDeviceDetail)
    #[arg(long, env = "REGISTRAR_DETAIL_RATE",
          default_value_t = Lane::Detail.published_rate())]
    pub detail_rate: f64,

    /// Look-ups of up to 100 devices a second that the account admits (BatchQueryDeviceDetail)
    #[arg(long, env = "REGISTRAR_DETAILS_RATE",
          default_value_t = Lane::Details.published_rate())]
    pub details_rate: f64,

    /// Look-ups of a product a second that the account admits (QueryProduct)
    #[arg(long, env = "REGISTRAR_PRODUCT_RATE",
          default_value_t = Lane::Product.published_rate())]
    pub product_rate: f64,

    /// The share of these rates that is used, from 0.001 to 1; what is left is for others on the
    /// account
    #[arg(long, env = "REGISTRAR_QUOTA_SHARE", default_value_t = 1.0)]
    pub quota_share: f64,

    /// How late a call may use its permit in a lane of at least one call a second; in a slower one
    /// as many times longer. The rates used are lower by this part of a second, and by more while
    /// the database takes longer than this to answer
    #[arg(long, env = "REGISTRAR_PERMIT_WINDOW", default_value = "40ms",
          value_parser = humantime::parse_duration)]
    pub permit_window: Duration,

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
        let mut rates = Lane::ALL.iter().map(|lane| self.published(*lane));
        if rates.any(|rate| !(0.001..=1e9).contains(&rate)) {
            return Err("a rate must be from 0.001 to 1e9 calls a second".into());
        }
        if !(0.001..=1.0).contains(&self.quota_share) {
            return Err("the quota share must be from 0.001 to 1".into());
        }
        if self.steps == 0 {
            return Err("each lane needs at least one step in flight".into());
        }
        if self.lease < Duration::from_secs(1) {
            return Err("the lease must be at least 1s".into());
        }
        if self.permit_window.is_zero() || self.permit_window > Duration::from_secs(1) {
            return Err("the permit window must be above 0 and at most 1s".into());
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

    /// From one slot of a lane to the next: the published rate, thinned so that no sliding second
    /// sees more than it although a call may be late by the permit window.
    fn spacing(&self, lane: Lane) -> Duration {
        (Duration::from_secs(1) + self.permit_window).div_f64(self.rate(lane))
    }

    /// How late a call of a lane may be: the part of the spacing that is beyond the published rate.
    fn window(&self, lane: Lane) -> Duration {
        self.permit_window.div_f64(self.rate(lane).min(1.0))
    }

    /// The calls of each lane that any second sees at most.
    pub fn rates(&self) -> Vec<(Lane, f64)> {
        let lanes = Lane::ALL.iter().copied();
        lanes.map(|lane| (lane, self.rate(lane))).collect()
    }

    fn rate(&self, lane: Lane) -> f64 {
        self.published(lane) * self.quota_share
    }

    /// What the account admits.
    fn published(&self, lane: Lane) -> f64 {
        match lane {
            Lane::Check => self.check_rate,
            Lane::Status => self.status_rate,
            Lane::Register => self.register_rate,
            Lane::Page => self.page_rate,
            Lane::CheckImport => self.check_import_rate,
            Lane::Import => self.import_rate,
            Lane::Imported => self.imported_rate,
            Lane::Detail => self.detail_rate,
            Lane::Details => self.details_rate,
            Lane::Product => self.product_rate,
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
    pace: Arc<pace::Pace>,
    options: Arc<Options>,
    slack: Arc<permit::Slack>,
    clock: Arc<clock::Clock>,
    /// Changes when there may be something new to do.
    wake: watch::Receiver<u64>,
}

impl Worker {
    /// Workers that look when `wake` changes, when something is due, and every second.
    pub fn new(
        store: Store,
        upstream: Client,
        vault: Vault,
        options: Options,
        wake: watch::Receiver<u64>,
    ) -> Self {
        Self {
            store,
            upstream,
            vault,
            pace: Arc::default(),
            options: Arc::new(options),
            slack: Arc::default(),
            clock: Arc::new(clock::Clock::new()),
            wake,
        }
    }

    /// Whether the upstream accepts the clock of this process.
    pub fn clock_is_accepted(&self) -> watch::Receiver<bool> {
        self.clock.watch()
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
