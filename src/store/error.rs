//! What can go wrong, sorted by what to do next.

use super::writes::ReadOnly;
use crate::domain::{ApplyId, ApplyStatus, Corrupt, apply::Refusal, round::IllegalTransition};

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such apply.
    #[error("apply {0} does not exist")]
    NoSuchApply(ApplyId),
    /// The apply cannot be registered as it stands.
    #[error("apply {apply} is in {status} and cannot be registered")]
    NotAcceptable {
        /// Which.
        apply: ApplyId,
        /// Where it stands.
        status: ApplyStatus,
        /// Why not.
        refusal: Refusal,
    },
    /// The request id was used for something else.
    #[error("request id {request_id:?} was used with other content")]
    RequestReused {
        /// The id.
        request_id: String,
    },
    /// The request was answered, and its apply was removed meanwhile.
    #[error("the request was answered before and its apply is gone")]
    RequestLost,
    /// Too many devices are on their way; nothing was stored, and the same may fit later.
    #[error("{queued} devices are on their way and at most {most} may be")]
    QueueFull {
        /// How many there are.
        queued: i64,
        /// How many there may be.
        most: i64,
    },
    /// A newer stream uploads the apply now; nothing was written.
    #[error("a newer stream of the upload of apply {0} has taken over")]
    UploadTakenOver(ApplyId),
    /// The apply is being cancelled, or was.
    #[error("apply {0} was cancelled and takes no devices")]
    UploadCancelled(ApplyId),
    /// The apply is sealed.
    #[error("apply {apply} is sealed with {total} devices and takes no more")]
    UploadSealed {
        /// Which.
        apply: ApplyId,
        /// How many devices it has.
        total: i32,
    },
    /// Another step has the round now; nothing was written.
    #[error("the lease on round {round_no} of apply {apply} was lost")]
    LeaseLost {
        /// The apply.
        apply: ApplyId,
        /// Its round.
        round_no: i32,
    },
    /// A row breaks the rules of the domain.
    #[error("a row breaks the rules of the domain")]
    Corrupt(#[from] Corrupt),
    /// A step learnt what cannot be.
    #[error("a step learnt what cannot be")]
    Illegal(#[from] IllegalTransition),
    /// The schema is older than this program.
    #[error(
        "the database has schema {applied} and this program needs {newest}; run `registrar migrate`"
    )]
    NotMigrated {
        /// The newest migration applied.
        applied: i64,
        /// The newest migration known.
        newest: i64,
    },
    /// The schema could not be brought up to date.
    #[error("the schema could not be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The database cannot be reached or cannot take this now; the same may work later.
    #[error("the database is not reachable")]
    Unreachable(#[source] sqlx::Error),
    /// The database refused a statement.
    #[error("the query failed")]
    Query(#[source] sqlx::Error),
}

impl Error {
    /// Whether the server takes no writes: it is a standby, or read-only by a setting.
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Unreachable(sqlx::Error::Io(error)) => {
                error.get_ref().is_some_and(|inner| inner.is::<ReadOnly>())
            }
            Self::Unreachable(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| code == "25006")
            }
            _ => false,
        }
    }
}

impl Error {
    /// The database is away, as far as can be told without asking it.
    pub fn away() -> Self {
        Self::Unreachable(sqlx::Error::PoolTimedOut)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if passes(&error) {
            Self::Unreachable(error)
        } else {
            Self::Query(error)
        }
    }
}

/// Codes, or how they begin, of what is no fault of a statement.
const PASSING: [&str; 10] = [
    "08",    // the connection is lost
    "25006", // read-only
    "25P03", // the transaction was idle for too long
    "25P04", // the transaction took too long
    "28",    // no access: somebody is changing it
    "3D000", // no such database: the address leads elsewhere
    "40",    // rolled back for the sake of others
    "53",    // too many connections, or out of room
    "55P03", // a lock was not to be had in time
    "57",    // shutting down, starting up, or told to stop the statement
];

/// Whether an error comes from the state of the server or of the way there.
fn passes(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        // Among others what is read of a connection that ends as it begins, behind a balancer.
        | sqlx::Error::Protocol(_)
        | sqlx::Error::BeginFailed
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| PASSING.iter().any(|class| code.starts_with(class))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_ends_as_it_begins_says_that_the_database_is_away() {
        // As it is read of a balancer that has no server.
        let ended = sqlx::Error::Protocol("unexpected response from SSLRequest: 0x00".into());

        assert!(matches!(Error::from(ended), Error::Unreachable(_)));
    }

    #[test]
    fn a_server_that_takes_no_writes_is_told_from_one_that_is_away() {
        let read_only = sqlx::Error::Io(std::io::Error::other(ReadOnly));
        let away = sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into());

        assert!(Error::from(read_only).is_read_only());
        assert!(!Error::from(away).is_read_only());
    }
}
