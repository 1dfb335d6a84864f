//! The upstream, for tests and for `dev`: a real HTTP server that speaks Alibaba Cloud IoT's API.
//!
//! It verifies signatures, counts calls in sliding seconds, takes its time over checks and
//! creations, keeps every device and apply (on disk when it is given a directory, so that a kill
//! loses nothing), writes each call to a ledger that tests read, and is out of order in the ways
//! it is told to (`fault`). It knows nothing of the rest of this crate and meets it on the wire
//! only.
//!
//! What is not published about the upstream is a switch (`switches`, `options`); `docs/simulator.md`
//! lists all of it with the tests.
//! Start at [`Simulator::serve`]; the way of one call is in `server`.

mod access;
mod action;
mod admin;
mod answers;
mod apply;
mod business;
mod case;
mod checks;
mod choices;
mod clock;
mod credentials;
mod details;
mod device_shapes;
mod devices;
#[cfg(any(test, fuzzing))]
mod element;
mod envelope;
mod event;
mod fault;
mod faults;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod gate;
mod gateway_options;
mod harm;
mod held;
mod import_rows;
mod import_shapes;
mod imports;
mod journal;
mod ledger;
mod maxima;
mod options;
mod pace;
mod product;
mod queries;
mod quota;
mod received;
mod request;
mod rules;
mod server;
mod shapes;
mod signature;
mod state;
mod switches;
mod which;
mod world;
mod xml;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::server::Shared;

pub use self::action::Action;
pub use self::choices::{
    CheckedNames, EarlyPages, FailedCreations, Gaps, ImportApply, LetterCase, OverCap, PageOrder,
    PageSizes, Register, Repeated, Shown, Spaces, WithoutInstance,
};
pub use self::fault::NamedFault;
#[cfg(fuzzing)]
pub use self::fuzz::any_request;
pub use self::gateway_options::{GatewayOptions, ThrottlingStatus};
pub use self::options::{BadNames, Existing, Options, Surplus};
pub use self::switches::{Placement, Switches};

/// The access key that stays.
pub const ACCESS_KEY_ID: &str = "simulator";
/// The secret of [`ACCESS_KEY_ID`]. It guards nothing and may be printed.
pub const ACCESS_KEY_SECRET: &str = "simulator-secret";
/// The temporary access key, as STS gives them out. It comes with a security token, a setting.
pub const STS_ACCESS_KEY_ID: &str = "STS.simulator";
/// The secret of [`STS_ACCESS_KEY_ID`]. It guards nothing either.
pub const STS_ACCESS_KEY_SECRET: &str = "simulator-sts-secret";
/// A product whose devices authenticate by DeviceSecret: 10,000 names a check.
pub const PRODUCT: &str = "a1Simulator";
/// A product whose devices authenticate by X.509: 1,000 names a check.
pub const PRODUCT_X509: &str = "a1SimulatorX";
/// The region it claims to be in: the only one that offers X.509.
pub const REGION: &str = "cn-shanghai";

/// One account of the upstream with its products, devices and applies.
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
}

impl Simulator {
    /// Loads what the directory of `options` holds, if one is given, and starts a new run.
    ///
    /// Fails when the settings disagree, when the directory cannot be written or is in use by
    /// another simulator, and when a line of its journal other than the last is damaged.
    pub fn open(options: &Options) -> anyhow::Result<Simulator> {
        options.check().map_err(anyhow::Error::msg)?;
        Ok(Simulator {
            shared: Arc::new(Shared::open(options)?),
        })
    }

    /// Answers calls on `listener` until `stop`. Calls in flight then have 2 s to finish.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
        server::serve(self.shared, listener, stop).await
    }
}

#[cfg(test)]
mod tests;
