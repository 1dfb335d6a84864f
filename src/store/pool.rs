//! The connections: to a server that takes writes, and never waited for without end.
//!
//! A server that hangs, or a network that drops everything, answers nothing: no error comes, and the
//! system gives a connection up after a quarter of an hour at the earliest. So each statement here
//! has a bound, after which its connection is closed and the caller told that the database is away.
//!
//! An address may lead to another server than before. Each connection is asked as it is made whether
//! its server takes writes, and each that is used again once one has not: a primary that comes back as
//! a standby is left at once, and what a standby has not heard of yet is told to nobody.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures_util::{
    FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{
    Connection as _, Describe, Either, Error, Execute, Executor, PgPool, Postgres, SqlStr,
    Transaction,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};

use super::{
    restored::Lookout,
    writes::{Doubt, TAKES_WRITES, is_off, takes_writes},
};

/// How long a connection is waited for, all being at work or the server away.
const ACQUIRE: Duration = Duration::from_secs(5);

/// How long a server may take to say how it is, which needs neither disk nor locks.
pub(super) const ASKED: Duration = Duration::from_secs(1);

/// The code of a server that takes no writes (any more).
const READ_ONLY: &str = "25006";

type Answer = Either<PgQueryResult, PgRow>;

/// What a server is told of a session, as far as it knows it: who has gone leaves no statement behind
/// that goes on, and who cannot be heard any more no transaction that holds its locks. None of ours
/// waits for anything but the next statement.
const SETTINGS: [&str; 2] = [
    "SET client_connection_check_interval = '1s'",
    "SET idle_in_transaction_session_timeout = '15s'",
];

/// How long a connection may lie idle before it is asked whether it still leads anywhere.
const FRESH: Duration = Duration::from_secs(1);

/// The connections of a process. Each statement on one waits its turn, and is then bounded.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    raw: PgPool,
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

    /// A connection to a server that takes writes.
    pub(super) async fn connection(&self) -> Result<Connection, Error> {
        let raw = tokio::time::timeout(ACQUIRE, self.writable());
        Ok(Connection {
            raw: Some(raw.await.unwrap_or(Err(Error::PoolTimedOut))?),
            bounds: Bounds {
                busy: AtomicBool::new(false),
                patience: self.patience,
                doubt: self.doubt.clone(),
            },
        })
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

/// A connection out of the pool. Dropped in the middle of a statement it is closed, since nobody
/// reads the answer; else it goes back.
#[derive(Debug)]
pub struct Connection {
    /// There until it is dropped.
    raw: Option<PoolConnection<Postgres>>,
    bounds: Bounds,
}

/// What holds for the statements of a connection.
#[derive(Debug)]
struct Bounds {
    /// Whether an answer is awaited.
    busy: AtomicBool,
    patience: Duration,
    doubt: Doubt,
}

impl Connection {
    pub(super) async fn begin(&mut self) -> Result<Tx<'_>, Error> {
        self.begin_with("BEGIN").await
    }

    /// Begins a transaction with a statement of its own.
    pub(super) async fn begin_with(&mut self, statement: &'static str) -> Result<Tx<'_>, Error> {
        let bounds = &self.bounds;
        let raw = self.raw.as_mut().expect("it is there until it is dropped");
        let raw = bounds.hold(raw.begin_with(statement)).await?;
        Ok(Tx { raw, bounds })
    }
}

impl Bounds {
    /// What `work` comes to; the connection stays busy if that is not learnt.
    async fn hold<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.busy.store(true, Ordering::Relaxed);
        let Ok(answer) = tokio::time::timeout(self.patience, work).await else {
            return Err(no_answer());
        };
        self.busy.store(false, Ordering::Relaxed);
        if let Err(Error::Database(error)) = &answer
            && error.code().as_deref() == Some(READ_ONLY)
        {
            self.doubt.arises();
        }
        answer
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(mut raw) = self.raw.take() else {
            return;
        };
        if self.bounds.busy.load(Ordering::Relaxed) {
            drop(raw.detach());
            return;
        }
        // A transaction that was given up is rolled back on the way, and the server may hang.
        let returned = tokio::time::timeout(ASKED, raw.return_to_pool());
        #[expect(
            clippy::disallowed_methods,
            reason = "bounded, and nothing is lost with it; the pool does the same without a bound"
        )]
        tokio::spawn(returned);
    }
}

/// A transaction, each of whose statements is bounded. Dropped it is rolled back.
#[derive(Debug)]
pub(super) struct Tx<'c> {
    raw: Transaction<'c, Postgres>,
    bounds: &'c Bounds,
}

impl Tx<'_> {
    /// An error leaves open whether it is committed, unless the server itself refused.
    pub(super) async fn commit(self) -> Result<(), Error> {
        self.bounds.hold(self.raw.commit()).await
    }

    pub(super) async fn rollback(self) -> Result<(), Error> {
        self.bounds.hold(self.raw.rollback()).await
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
            let Connection { raw, bounds } = &mut connection;
            let raw = raw.as_mut().expect("it is there until it is dropped");
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
            let Connection { raw, bounds } = &mut connection;
            let raw = raw.as_mut().expect("it is there until it is dropped");
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

impl<'t> Executor<'t> for &'t mut Tx<'_> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Answer, Error>>
    where
        't: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let answers = self.raw.fetch_many(query).try_collect::<Vec<_>>();
        one_by_one(self.bounds.hold(answers))
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        't: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let row = self.raw.fetch_optional(query);
        self.bounds.hold(row).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        't: 'e,
    {
        self.raw.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        't: 'e,
    {
        self.raw.describe(sql)
    }
}

/// What `work` comes to, if it does in time.
pub(super) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let answer = tokio::time::timeout(patience, work).await;
    answer.unwrap_or_else(|_| Err(no_answer()))
}

fn no_answer() -> Error {
    let error = io::Error::new(
        io::ErrorKind::TimedOut,
        "the database did not answer in time",
    );
    Error::Io(error)
}

/// The answers to a statement, which are read before the first is handed on.
fn one_by_one<'e>(
    answers: impl Future<Output = Result<Vec<Answer>, Error>> + Send + 'e,
) -> BoxStream<'e, Result<Answer, Error>> {
    let answers = answers.map_ok(|answers| stream::iter(answers.into_iter().map(Ok)));
    stream::once(answers).try_flatten().boxed()
}
