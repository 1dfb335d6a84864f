//! Credentials: what the upstream has of the devices of an apply, read while an export hands it out.
//!
//! Nothing of it is stored or logged; what is not handed out yet is in memory, within bounds. What the
//! upstream made is read page by page, what an import brought is looked up by name; both within the
//! lanes that workers share, several calls at a time. The rows say which rounds, under which of the
//! upstream's own applies, created which devices, so an export that goes on from the middle reads
//! nothing of what came before.
//!
//! Start at [`Credentials::of_apply`].

mod asking;
mod named;
mod page;
mod reading;

use std::{collections::HashMap, sync::Arc, time::Duration};

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
    /// Result pages, or look-ups of an import's devices, that one export reads at a time; as many
    /// calls as the rate admits in the time that one takes
    #[arg(long, env = "REGISTRAR_EXPORT_PAGES", default_value_t = 16,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub export_pages: u32,

    /// How long an export waits for an upstream that gives no credentials, and for a caller that takes no
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

/// Credentials of devices, by name.
type ByName = HashMap<String, Credential>;

/// Reads credentials. Clones share the lanes.
#[derive(Clone, Debug)]
pub struct Credentials {
    store: Store,
    upstream: Client,
    lanes: Lanes,
    turns: Arc<OfLanes>,
    options: Arc<Options>,
    /// How often the upstream is asked while it refuses the account, the action or the product.
    probe_every: Duration,
}

/// Whose turn it is in each lane that is read by.
#[derive(Debug)]
struct OfLanes {
    pages: Turns,
    details: Turns,
}

impl Credentials {
    /// Reads from `upstream`, by what `store` knows. While the upstream refuses the account, the
    /// action or the product, each call is made every `probe_every`.
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
            turns: Arc::new(OfLanes {
                pages: Turns::new(lanes.clone(), Lane::Page),
                details: Turns::new(lanes.clone(), Lane::Details),
            }),
            lanes,
            options: Arc::new(options),
            probe_every,
        }
    }

    /// Begins to read those of an apply, in the order of its devices.
    pub fn of_apply(&self, apply: &Apply) -> Reading {
        Reading::new(self.clone(), apply.clone())
    }

    /// How long a caller may take no message, and the upstream give nothing.
    pub fn patience(&self) -> Duration {
        self.options.export_patience
    }
}
