//! All SQL. Postgres is the queue, the lock and the bell.
//!
//! Every state that callers see is a row before it is an answer, and every method here is one short
//! transaction: nothing outside Postgres is awaited while one is open. Locks are taken in one
//! order: the apply, its rounds, and last blocks and lanes; a claim locks a round and the blocks
//! that it probes.
//!
//! The walks: [`Store::submit`], [`Store::append`] and [`Store::accept`] write what callers ask for, [`Store::claim`]
//! and [`Store::record`] take a round one step further, [`Store::events_after`] tells what changed.

mod accept;
mod audit;
mod bell;
mod blocks;
mod calls;
mod cancel;
mod chunk;
mod claim;
mod counted;
mod creations;
mod door;
mod error;
mod events;
mod find;
mod follow;
mod history;
mod labels;
mod list;
mod literal;
mod members;
mod newcomers;
mod pages;
mod permits;
mod pool;
mod products;
mod queue;
mod quotas;
mod read;
mod reconcile;
mod record;
mod requests;
mod restored;
mod retention;
mod retry;
mod rewrap;
mod state;
mod submit;
mod upload;
mod visible;
mod waiting;
mod writes;

use std::time::Duration;

use sqlx::{migrate::Migrator, postgres::PgConnectOptions};

use self::pool::Pool;

pub use audit::Entry as AuditEntry;
pub use bell::{Bell, Listener};
pub use blocks::{Blocking, Standing};
pub use calls::BesideCall;
pub use claim::{Claim, Intent, Look};
pub use creations::Creation;
pub use error::Error;
pub use events::{EVENTS, Events};
pub use find::{Found, FoundPage, Place};
pub use history::{Entry, Happened, Moment};
pub use list::Filter;
pub use members::{Brought, Members, Sealed};
pub use pages::{Finding, Pages};
pub use permits::Permits;
pub use pool::Connection;
pub use products::KnownProduct;
pub use quotas::Use;
pub use read::{DeviceRow, DevicesOfChunk, DevicesPage};
pub use reconcile::Woken;
pub use record::{CallMade, Record};
pub use restored::Marked;
pub use retention::Retention;
pub use rewrap::WrappedKey;
pub use state::{Connections, LaneState, State};
pub use upload::Upload;

/// The schema.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// How long a statement may take, unless something else is said.
const PATIENCE: Duration = Duration::from_secs(15);

/// How to reach the database.
#[derive(Clone, clap::Args)]
#[group(skip)]
pub struct Options {
    /// PostgreSQL 15 or newer, as postgres://USER:PASSWORD@HOST/DATABASE. DATABASE_URL is read too
    #[arg(long, env = "REGISTRAR_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// Connections to the database, besides the one that listens
    #[arg(long, env = "REGISTRAR_DATABASE_CONNECTIONS", default_value_t = 16)]
    pub database_connections: u32,

    /// How long the database may take over a statement. After it the connection is closed, and the
    /// database counts as away
    #[arg(long, env = "REGISTRAR_DATABASE_TIMEOUT", default_value = "15s",
          value_parser = humantime::parse_duration)]
    pub database_timeout: Duration,

    /// The name of the upstream account whose quotas are used. Replicas with one name share quotas
    #[arg(long, env = "REGISTRAR_ACCOUNT", default_value = "default")]
    pub account: String,

    /// Devices that may be on their way at a time, those of all unsettled applies together. More
    /// are refused until it is fewer. At least 100000
    #[arg(long, env = "REGISTRAR_MAX_QUEUED_DEVICES", default_value_t = 10_000_000,
          value_parser = clap::value_parser!(u32).range(100_000..))]
    pub max_queued_devices: u32,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Options")
            .field("database_url", &self.database_url.as_ref().map(|_| "***"))
            .field("database_connections", &self.database_connections)
            .field("database_timeout", &self.database_timeout)
            .field("account", &self.account)
            .field("max_queued_devices", &self.max_queued_devices)
            .finish()
    }
}

/// The database, and the bell that says that it holds something new.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Pool,
    /// How to reach the database, for the connection that listens.
    connect: PgConnectOptions,
    account: String,
    bell: Bell,
    queue: queue::Queue,
    door: door::Door,
    /// Devices that may be on their way at a time.
    max_queued: i64,
    blocking: Blocking,
}

impl Store {
    /// A store that connects when it is first used. It takes any number of devices.
    pub fn new(connect: PgConnectOptions, connections: u32, account: &str) -> Self {
        Self {
            pool: Pool::new(connect.clone(), connections, PATIENCE),
            connect,
            account: account.to_owned(),
            bell: Bell::default(),
            queue: queue::Queue::default(),
            door: door::Door::default(),
            max_queued: i64::MAX,
            blocking: Blocking::default(),
        }
    }

    /// The same, giving a statement so long.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self {
            pool: self.pool.with_patience(patience),
            ..self
        }
    }

    /// The same, refusing submissions while more devices than this would be on their way.
    pub fn with_max_queued(self, devices: u32) -> Self {
        Self {
            max_queued: devices.into(),
            ..self
        }
    }

    /// The same, handling blocks so.
    pub fn with_blocking(self, blocking: Blocking) -> Self {
        Self { blocking, ..self }
    }

    /// Brings the schema up to date.
    pub async fn migrate(&self) -> Result<(), Error> {
        MIGRATOR.run(self.pool.raw()).await.map_err(Error::Migrate)
    }

    /// Refuses a database that takes no writes, or whose schema is older than this program needs.
    pub async fn check_schema(&self) -> Result<(), Error> {
        self.pool.check().await?;
        let newest = MIGRATOR
            .iter()
            .map(|migration| migration.version)
            .max()
            .unwrap_or(0);
        let table =
            sqlx::query_scalar::<_, bool>("SELECT to_regclass('_sqlx_migrations') IS NOT NULL");
        let applied = if table.fetch_one(&self.pool).await? {
            let newest = "SELECT max(version) FROM _sqlx_migrations WHERE success";
            sqlx::query_scalar::<_, Option<i64>>(newest)
                .fetch_one(&self.pool)
                .await?
                .unwrap_or(0)
        } else {
            0
        };
        if applied < newest {
            Err(Error::NotMigrated { applied, newest })
        } else {
            Ok(())
        }
    }

    /// The bell of this store.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.door.close().await;
        self.pool.close().await;
    }
}

/// A duration as Postgres takes it.
fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
