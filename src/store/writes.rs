//! Whether a server takes writes.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{Error, Executor, Postgres};

use super::pool::{ASKED, within};

/// The server is a standby, or its sessions are read-only by a setting.
#[derive(Debug, thiserror::Error)]
#[error("the server is a standby, or read-only by a setting, and takes no writes")]
pub(super) struct ReadOnly;

/// Says `off` where writes are taken.
pub(super) const TAKES_WRITES: &str = "SELECT current_setting('transaction_read_only')";

/// How long each connection is asked for, once a server was met that takes no writes.
const DOUBTFUL: Duration = Duration::from_secs(30);

/// Until when connections are asked before they are used.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubt(Arc<Mutex<Option<Instant>>>);

impl Doubt {
    pub(super) fn arises(&self) {
        *self.until() = Some(Instant::now() + DOUBTFUL);
    }

    pub(super) fn stands(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() < until)
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        // Every change under the lock is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fails unless the server answers, and takes writes.
pub(super) async fn takes_writes(
    server: impl Executor<'_, Database = Postgres>,
) -> Result<(), Error> {
    let asked = sqlx::query_scalar::<_, String>(TAKES_WRITES).fetch_one(server);
    is_off(&within(ASKED, asked).await?)
}

/// What a server says to [`TAKES_WRITES`].
pub(super) fn is_off(read_only: &str) -> Result<(), Error> {
    match read_only {
        "off" => Ok(()),
        _ => Err(Error::Io(io::Error::other(ReadOnly))),
    }
}
