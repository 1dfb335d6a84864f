//! Lanes: the way to the upstream, for whoever in this process makes calls, within the quota of each
//! action.
//!
//! Postgres hands out permits as slots in time, to all replicas; here they are mapped to the clock of
//! this process. A call is sent within its slot or not at all, so that no second sees more calls than
//! the published rate, whoever makes them. What the answers say of that is heeded here too: a lane
//! that is throttled slows down, and a process whose clock is refused takes no permits.
//!
//! Who works through a queue takes slots in blocks ([`Lanes::slots`]); who has one call to make takes
//! its turn with the others of its kind ([`Turns`]). Both hold a block at most, so that neither
//! starves the other.

mod clock;
mod send;
mod shown;
mod slots;
mod turns;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{domain::Lane, store::Store};

pub use self::{
    clock::Clock,
    send::{THROTTLED, TooLate},
    shown::{Shown, made},
    slots::Slot,
    turns::Turns,
};

/// How much time a block of permits covers: few statements, and little lost with a process.
const BLOCK: Duration = Duration::from_millis(250);

/// How fast the lanes are.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Options {
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
        if self.permit_window.is_zero() || self.permit_window > Duration::from_secs(1) {
            return Err("the permit window must be above 0 and at most 1s".into());
        }
        Ok(())
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

    /// From one slot of a lane to the next: the published rate, thinned so that no sliding second
    /// sees more than it although a call may be late by the permit window.
    fn spacing(&self, lane: Lane) -> Duration {
        (Duration::from_secs(1) + self.permit_window).div_f64(self.rate(lane))
    }

    /// How late a call of a lane may be: the part of the spacing that is beyond the published rate.
    fn window(&self, lane: Lane) -> Duration {
        self.permit_window.div_f64(self.rate(lane).min(1.0))
    }
}

/// The lanes of one process. Clones share what they learn.
#[derive(Clone, Debug)]
pub struct Lanes {
    store: Store,
    options: Arc<Options>,
    slack: Arc<slots::Slack>,
    clock: Arc<Clock>,
}

impl Lanes {
    /// Lanes whose permits `store` hands out.
    pub fn new(store: Store, options: Options) -> Self {
        Self {
            store,
            options: Arc::new(options),
            slack: Arc::default(),
            clock: Arc::new(Clock::new()),
        }
    }

    /// What is known of the clock of this process.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether the upstream accepts the clock of this process.
    pub fn clock_is_accepted(&self) -> watch::Receiver<bool> {
        self.clock.watch()
    }

    /// How many slots of a lane may be held at a time by who takes them in blocks. At least one.
    pub fn block(&self, lane: Lane) -> u32 {
        let spacing = self.options.spacing(lane);
        (BLOCK.as_secs_f64() / spacing.as_secs_f64()).max(1.0) as u32
    }
}
