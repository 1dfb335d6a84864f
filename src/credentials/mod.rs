//! Credentials: what the upstream made for the devices of an apply, read page by page while an export
//! hands it out.
//!
//! Nothing of it is stored or logged; what is not handed out yet is in memory, within bounds. Pages
//! are read within the lane that workers share, several at a time. The rows say which of the
//! upstream's own applies created which devices, so an export that goes on from the middle reads
//! nothing of what came before.
//!
//! Start at [`Credentials::of_apply`].

mod page;
mod reading;

use std::{sync::Arc, time::Duration};

use crate::{
    domain::{Apply, Lane},
    lanes::{Lanes, Turns},
    store::{self, Store},
    upstream::Client,
};

pub use self::reading::Reading;
pub use crate::upstream::Credential;

/// How exports read.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Result pages that one export reads at a time; as many calls as the rate admits in the time
    /// that one takes
    #[arg(long, env = "REGISTRAR_EXPORT_PAGES", default_value_t = 16,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub export_pages: u32,

    /// How long an export waits for an upstream that gives no page, and for a caller that takes no
    /// message
    #[arg(long, env = "REGISTRAR_EXPORT_PATIENCE", default_value = "10m",
          value_parser = humantime::parse_duration)]
    pub export_patience: Duration,
}

/// Why credentials could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The upstream has given none for too long; this is what it said last.
    #[error("the upstream gives no credentials: {said}")]
    Upstream {
        /// Fit to be told.
        said: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Reads credentials. Clones share the lane.
#[derive(Clone, Debug)]
pub struct Credentials {
    store: Store,
    upstream: Client,
    lanes: Lanes,
    turns: Turns,
    options: Arc<Options>,
    /// How often the upstream is asked while it refuses the account, the action or the product.
    probe_every: Duration,
}

impl Credentials {
    /// Reads from `upstream`, by what `store` knows. While the upstream refuses the account, the
    /// action or the product, each page is asked for every `probe_every`.
    pub fn new(
        store: Store,
        upstream: Client,
        lanes: Lanes,
        options: Options,
        probe_every: Duration,
    ) -> Self {
        Self {
            store,
            upstream,
            turns: Turns::new(lanes.clone(), Lane::Page),
            lanes,
            options: Arc::new(options),
            probe_every,
        }
    }

    /// Begins to read those of an apply, in the order of its devices.
    pub fn of_apply(&self, apply: &Apply) -> Reading {
        Reading::new(self.clone(), apply.clone())
    }

    /// How long a caller may take no message, and the upstream give no page.
    pub fn patience(&self) -> Duration {
        self.options.export_patience
    }
}
