//! One connection at work, and its transaction.

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
    Connection as _, Describe, Either, Error, Execute, Executor, Postgres, SqlStr, Transaction,
    error::DatabaseError,
    pool::PoolConnection,
    postgres::{PgDatabaseError, PgQueryResult, PgRow, PgSeverity, PgStatement, PgTypeInfo},
};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    ASKED,
    kept::{Kept, Lent},
};
use crate::store::writes::Doubt;

/// The code of a server that takes no writes (any more).
const READ_ONLY: &str = "25006";

pub(super) type Answer = Either<PgQueryResult, PgRow>;

/// A connection out of the pool. Dropped in the middle of a statement it is closed, since nobody
/// reads the answer; else it goes back.
#[derive(Debug)]
pub struct Connection {
    /// There until it is dropped.
    lent: Option<(Lent, OwnedSemaphorePermit)>,
    kept: Kept,
    bounds: Bounds,
}

/// What holds for the statements of a connection.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Whether an answer is awaited.
    busy: AtomicBool,
    /// Whether each statement was answered, and no transaction is open.
    sound: AtomicBool,
    patience: Duration,
    doubt: Doubt,
}

impl Connection {
    pub(super) fn new(
        lent: (Lent, OwnedSemaphorePermit),
        kept: Kept,
        patience: Duration,
        doubt: Doubt,
    ) -> Self {
        Self {
            lent: Some(lent),
            kept,
            bounds: Bounds {
                busy: AtomicBool::new(false),
                sound: AtomicBool::new(true),
                patience,
                doubt,
            },
        }
    }

    pub(in crate::store) async fn begin(&mut self) -> Result<Tx<'_>, Error> {
        self.begin_with("BEGIN").await
    }

    /// Begins a transaction with a statement of its own.
    pub(in crate::store) async fn begin_with(
        &mut self,
        statement: &'static str,
    ) -> Result<Tx<'_>, Error> {
        let (raw, bounds) = self.parts();
        let raw = bounds.hold(raw.begin_with(statement)).await?;
        bounds.sound.store(false, Ordering::Relaxed);
        Ok(Tx { raw, bounds })
    }

    pub(super) fn parts(&mut self) -> (&mut PoolConnection<Postgres>, &Bounds) {
        let lent = self.lent.as_mut();
        let (lent, _) = lent.expect("it is there until it is dropped");
        (&mut lent.raw, &self.bounds)
    }
}

impl Bounds {
    /// What `work` comes to; the connection stays busy if that is not learnt.
    pub(super) async fn hold<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.busy.store(true, Ordering::Relaxed);
        let Ok(answer) = tokio::time::timeout(self.patience, work).await else {
            return Err(no_answer());
        };
        self.busy.store(false, Ordering::Relaxed);
        match &answer {
            Ok(_) => {}
            Err(Error::Database(error)) => {
                if error.code().as_deref() == Some(READ_ONLY) {
                    self.doubt.arises();
                }
                if hangs_up(&**error) {
                    self.sound.store(false, Ordering::Relaxed);
                }
            }
            Err(_) => self.sound.store(false, Ordering::Relaxed),
        }
        answer
    }

    /// The same for the last statement of a transaction.
    async fn end(&self, work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        self.hold(work).await?;
        self.sound.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some((lent, place)) = self.lent.take() else {
            return;
        };
        if self.bounds.busy.load(Ordering::Relaxed) {
            drop(lent.raw.detach());
            return;
        }
        let sound = self.bounds.sound.load(Ordering::Relaxed);
        let returned = match sound && lent.may_stay() && !self.bounds.doubt.stands() {
            true => self.kept.put(lent).map(|idle| (idle, None)),
            false => Some((lent, Some(place))),
        };
        if let Some((lent, place)) = returned {
            #[expect(
                clippy::disallowed_methods,
                reason = "bounded, and nothing is lost with it; the pool does the same without a bound"
            )]
            tokio::spawn(async move {
                give_back(lent).await;
                drop(place);
            });
        }
    }
}

/// Whether the server closes the connection with this error, as it does when it is shut down.
fn hangs_up(error: &dyn DatabaseError) -> bool {
    let error = error.try_downcast_ref::<PgDatabaseError>();
    error.is_none_or(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic))
}

/// Hands a connection back to the pool, which asks whether it still leads anywhere. A transaction
/// that was given up is rolled back on the way, and the server may hang.
pub(super) async fn give_back(mut lent: Lent) {
    let returned = tokio::time::timeout(ASKED, lent.raw.return_to_pool());
    // What does not answer in time is closed.
    returned.await.ok();
}

/// A transaction, each of whose statements is bounded. Dropped it is rolled back.
#[derive(Debug)]
pub(in crate::store) struct Tx<'c> {
    raw: Transaction<'c, Postgres>,
    bounds: &'c Bounds,
}

impl Tx<'_> {
    /// An error leaves open whether it is committed, unless the server itself refused.
    pub(in crate::store) async fn commit(self) -> Result<(), Error> {
        self.bounds.end(self.raw.commit()).await
    }

    pub(in crate::store) async fn rollback(self) -> Result<(), Error> {
        self.bounds.end(self.raw.rollback()).await
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
pub(in crate::store) async fn within<T>(
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
pub(super) fn one_by_one<'e>(
    answers: impl Future<Output = Result<Vec<Answer>, Error>> + Send + 'e,
) -> BoxStream<'e, Result<Answer, Error>> {
    let answers = answers.map_ok(|answers| stream::iter(answers.into_iter().map(Ok)));
    stream::once(answers).try_flatten().boxed()
}
