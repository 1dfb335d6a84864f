//! The bell: says that there is something new, never what.
//!
//! Within the process it rings at once. Other processes hear it through a NOTIFY of its own, one in
//! 10 ms at most for all that has moved, since a NOTIFY inside each small transaction would flush
//! their commits one at a time (0.22 of the commits a second at 16 connections).

use std::{sync::Arc, time::Duration};

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Error, Store, pool, writes};
use crate::breaking::{self, Fault, Point};

/// How long it may take to begin to listen.
const LISTENS_WITHIN: Duration = Duration::from_secs(5);

const CHANNEL: &str = "registrar";

/// From telling other processes to telling them again: what rings meanwhile is gathered.
const GATHER: Duration = Duration::from_millis(10);

/// How long nothing is heard before the server is asked whether it is still there. A connection that
/// only listens learns of no failure by itself.
const SILENCE: Duration = Duration::from_secs(10);

/// Rings when this process has committed something.
#[derive(Clone, Debug)]
pub struct Bell {
    rung: Arc<watch::Sender<u64>>,
    /// Tells this process's own notifications from those of others.
    process: Uuid,
}

impl Default for Bell {
    fn default() -> Self {
        Self {
            rung: Arc::new(watch::Sender::new(0)),
            process: Uuid::new_v4(),
        }
    }
}

impl Bell {
    /// Rings.
    pub fn ring(&self) {
        if breaking::on(Fault::BellSilent) {
            return;
        }
        self.rung.send_modify(|count| *count += 1);
    }

    /// Changes whenever this process rings.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.rung.subscribe()
    }
}

/// Hears the bells of other processes.
#[derive(Debug)]
pub struct Listener {
    inner: PgListener,
    own: String,
}

impl Listener {
    /// Waits until another process rings. An error means that rings may have been missed: look, and
    /// listen again.
    pub async fn rung(&mut self) -> Result<(), Error> {
        loop {
            let Ok(heard) = timeout(SILENCE, self.inner.try_recv()).await else {
                writes::takes_writes(&mut self.inner).await?;
                continue;
            };
            match heard? {
                Some(notification) if notification.payload() == self.own => {}
                Some(_) | None => return Ok(()),
            }
        }
    }
}

impl Store {
    /// Listens for the bells of other processes, on a connection of its own.
    pub async fn listen(&self) -> Result<Listener, Error> {
        // Its own pool, since one that hangs does not come back.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(LISTENS_WITHIN)
            .connect_lazy_with(self.connect.clone());
        let inner = async {
            let mut inner = PgListener::connect_with(&pool).await?;
            inner.listen(CHANNEL).await?;
            Ok(inner)
        };
        let inner = pool::within(LISTENS_WITHIN, inner).await?;
        Ok(Listener {
            inner,
            own: self.bell.process.to_string(),
        })
    }

    /// Passes this process's rings on to the others until told to stop.
    ///
    /// A ring that cannot be passed on is dropped: everyone looks now and then without being told.
    pub async fn pass_rings_on(&self, stop: CancellationToken) {
        let mut rung = self.bell.subscribe();
        loop {
            tokio::select! {
                biased;
                Ok(()) = rung.changed() => {}
                () = stop.cancelled() => return,
            }
            // What rings from here on is told with the next.
            rung.mark_unchanged();
            if breaking::on(Fault::RingKept) {
                continue;
            }
            let told_at = Instant::now();
            breaking::point(Point::RingPassing);
            let passed = sqlx::query("SELECT pg_notify($1, $2)")
                .bind(CHANNEL)
                .bind(self.bell.process.to_string())
                .execute(&self.pool)
                .await;
            breaking::point(Point::RingPassed);
            if let Err(error) = passed {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a ring was not passed on"
                );
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep_until(told_at + GATHER) => {}
            }
        }
    }
}
