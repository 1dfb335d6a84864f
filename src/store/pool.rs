//! The connections: to a server that takes writes, and never waited for without end.
//!
//! A server that hangs, or a network that drops everything, answers nothing: no error comes, and the
//! system gives a connection up after a quarter of an hour at the earliest. So each statement here
//! has a bound, after which its connection is closed and the caller told that the database is away.
//!
//! An address may lead to another server than before. Each connection is asked as it is made whether
//! its server takes writes, and each that is used again once one has not: a primary that comes back as
//! a standby is left at once, and what a standby has not heard of yet is told to nobody.

mod connection;
mod kept;

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt as _, TryStreamExt as _,
    future::{BoxFuture, join_all},
    stream::BoxStream,
};
use sqlx::{
    Connection as _, Describe, Error, Execute, Executor, PgPool, Postgres, SqlStr,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow, PgStatement, PgTypeInfo},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::{
    connection::{Answer, give_back, one_by_one},
    kept::{FRESH, Kept, Lent},
};
use super::{
    restored::Lookout,
    writes::{Doubt, TAKES_WRITES, is_off, takes_writes},
};

pub use self::connection::Connection;
pub(super) use self::connection::{Tx, within};

/// How long a connection is waited for, all being at work or the server away.
const ACQUIRE: Duration = Duration::from_secs(5);

/// How long a server may take to say how it is, which needs neither disk nor locks.
pub(super) const ASKED: Duration = Duration::from_secs(1);

/// What a server is told of a session, as far as it knows it: who has gone leaves no statement behind
/// that goes on, and who cannot be heard any more no transaction that holds its locks. None of ours
/// waits for anything but the next statement.
const SETTINGS: [&str; 2] = [
    "SET client_connection_check_interval = '1s'",
    "SET idle_in_transaction_session_timeout = '15s'",
];

/// The connections of a process. Each statement on one waits its turn, and is then bounded.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    raw: PgPool,
    /// One for each connection that may be in use.
    places: Arc<Semaphore>,
    kept: Kept,
    /// How long a statement may take.
    patience: Duration,
    doubt: Doubt,
    lookout: Lookout,
}

impl Pool {
    /// So many connections, each opened when it is first needed.
    pub(super) fn new(connect: PgConnectOptions, connections: u32, patience: Duration) -> Self {
        let doubt = Doubt::default();
        let lookout = Lookout::new(connect.clone());
        let (doubted, looks_out) = (doubt.clone(), lookout.clone());
        let raw = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE)
            .after_connect(move |connection, _| {
                let (doubt, lookout) = (doubted.clone(), looks_out.clone());
                let begin = async move {
                    for setting in SETTINGS {
                        sqlx::query(setting).execute(&mut *connection).await.ok();
                    }
                    match takes_writes(&mut *connection).await {
                        Ok(()) => lookout.look(connection).await,
                        // Asked again, and told, before it is used.
                        Err(_) => {
                            doubt.arises();
                            Ok(())
                        }
                    }
                };
                begin.boxed()
            })
            .test_before_acquire(false)
            .before_acquire(|connection, about| match about.idle_for < FRESH {
                true => std::future::ready(Ok(true)).boxed(),
                false => {
                    let asked = within(ASKED, connection.ping());
                    asked.map(|answered| Ok(answered.is_ok())).boxed()
                }
            })
            .connect_lazy_with(connect);
        Self {
            raw,
            places: Arc::new(Semaphore::new(connections as usize)),
            kept: Kept::default(),
            patience,
            doubt,
            lookout,
        }
    }

    /// The same connections, whose statements may take so long.
    pub(super) fn with_patience(&self, patience: Duration) -> Self {
        Self {
            patience,
            ..self.clone()
        }
    }

    /// The connections without any bound.
    pub(super) fn raw(&self) -> &PgPool {
        &self.raw
    }

    /// How many connections there are, and how many of them lie idle.
    pub(super) fn size(&self) -> (u32, u32) {
        let idle = self.raw.num_idle() + self.kept.len();
        (self.raw.size(), idle as u32)
    }

    /// Closes all connections, once they are not used any more.
    pub(super) async fn close(&self) {
        self.places.close();
        join_all(self.kept.close().into_iter().map(give_back)).await;
        self.raw.close().await;
    }

    /// A connection to a server that takes writes.
    pub(super) async fn connection(&self) -> Result<Connection, Error> {
        let lent = tokio::time::timeout(ACQUIRE, self.lent());
        let (lent, place) = lent.await.unwrap_or(Err(Error::PoolTimedOut))?;
        let (kept, doubt) = (self.kept.clone(), self.doubt.clone());
        Ok(Connection::new((lent, place), kept, self.patience, doubt))
    }

    async fn lent(&self) -> Result<(Lent, OwnedSemaphorePermit), Error> {
        let place = self.places.clone().acquire_owned().await;
        let place = place.map_err(|_| Error::PoolClosed)?;
        if !self.doubt.stands()
            && let Some(lent) = self.kept.take_fresh()
        {
            return Ok((lent, place));
        }
        // The others have lain idle, or may lead to a server that takes no writes.
        join_all(self.kept.take_all().into_iter().map(give_back)).await;
        // Seldom, and what it takes is not part of the future of everything that is stored.
        let raw = Box::pin(self.writable()).await?;
        Ok((Lent::new(raw), place))
    }

    /// Fails if the server that is in use takes no writes. Who only reads does not notice otherwise:
    /// a former primary may go on to answer.
    pub(super) async fn check(&self) -> Result<(), Error> {
        let setting = sqlx::query_scalar::<_, String>(TAKES_WRITES).fetch_one(self);
        let takes = is_off(&setting.await?);
        if takes.is_err() {
            self.doubt.arises();
        }
        takes
    }

    async fn writable(&self) -> Result<PoolConnection<Postgres>, Error> {
        // Each that lies idle may lead to where the server was; the one after them is new.
        let mut stale = self.raw.num_idle();
        loop {
            let mut connection = self.raw.acquire().await?;
            if !self.doubt.stands() {
                return Ok(connection);
            }
            let asked = async {
                takes_writes(&mut *connection).await?;
                self.lookout.look(&mut connection).await
            };
            let Err(error) = asked.await else {
                return Ok(connection);
            };
            self.doubt.arises();
            drop(connection.detach());
            if stale == 0 {
                return Err(error);
            }
            stale -= 1;
        }
    }
}

impl<'p> Executor<'p> for &'p Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Answer, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let answers = async move {
            let mut connection = self.connection().await?;
            let (raw, bounds) = connection.parts();
            let answers = raw.fetch_many(query).try_collect::<Vec<_>>();
            bounds.hold(answers).await
        };
        one_by_one(answers)
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let row = async move {
            let mut connection = self.connection().await?;
            let (raw, bounds) = connection.parts();
            bounds.hold(raw.fetch_optional(query)).await
        };
        row.boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        self.raw.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'p: 'e,
    {
        self.raw.describe(sql)
    }
}
