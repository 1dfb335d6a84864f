//! Postgres, which can be killed and is there again.

use std::{fs, path::PathBuf, time::Duration};

use registrar::dev::postgres::{Durability, Options, Postgres};
use sqlx::{Connection as _, PgPool};
use tokio::sync::Mutex;

use crate::{link::Address, plan::Kill};

/// The database of the run.
pub(crate) const NAME: &str = "registrar";

pub(crate) struct Database {
    options: Options,
    server: Mutex<Option<Postgres>>,
    socket: PathBuf,
}

impl Database {
    /// Starts a server with an empty database in it.
    pub(crate) async fn start(root: PathBuf) -> Self {
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let options = Options {
            root,
            bindir: None,
            durability: Durability::Volatile,
            settings: vec![
                // A commit is with the system before it is told, and survives every kill of Postgres;
                // only a power cut would need the disk. Pages may be torn by a kill.
                setting("synchronous_commit", "on"),
                setting("full_page_writes", "on"),
                setting("log_min_messages", "fatal"),
            ],
        };
        let server = started(&options).await;
        let mut connection = connect(&server.connect_options("postgres")).await;
        sqlx::query("CREATE DATABASE registrar")
            .execute(&mut connection)
            .await
            .expect("a database");
        let socket = server.socket_dir().join(".s.PGSQL.5432");
        Self {
            options,
            server: Mutex::new(Some(server)),
            socket,
        }
    }

    /// The address of the server's own socket.
    pub(crate) fn socket(&self) -> Address {
        Address::Unix(self.socket.clone())
    }

    /// Connections that no link is in the way of.
    pub(crate) async fn pool(&self) -> PgPool {
        let server = self.server.lock().await;
        PgPool::connect_lazy_with(server.as_ref().expect("it runs").connect_options(NAME))
    }

    /// Where the server can be reached, given the directory of a socket that leads there.
    pub(crate) fn url(dir: &str) -> String {
        format!("postgres://postgres@localhost:5432/{NAME}?host={dir}")
    }

    /// Kills it, and has it back after so long.
    pub(crate) async fn kill(&self, how: Kill, down: Duration) {
        let mut server = self.server.lock().await;
        let running = server.take().expect("it runs");
        let postmaster = running.pid();
        match how {
            Kill::Immediate => signal(postmaster, libc::SIGQUIT),
            Kill::Postmaster => signal(postmaster, libc::SIGKILL),
            Kill::Backend => {
                if let Some(backend) = backend_of(postmaster) {
                    signal(backend, libc::SIGKILL);
                }
                tokio::time::sleep(down).await;
                *server = Some(running);
                return;
            }
        }
        let ended = tokio::task::spawn_blocking(move || drop(running));
        ended.await.expect("it ends");
        tokio::time::sleep(down).await;
        *server = Some(started(&self.options).await);
    }
}

async fn started(options: &Options) -> Postgres {
    let options = options.clone();
    let start = tokio::task::spawn_blocking(move || Postgres::start(&options));
    start.await.expect("no panic").expect("Postgres starts")
}

async fn connect(options: &sqlx::postgres::PgConnectOptions) -> sqlx::PgConnection {
    sqlx::PgConnection::connect_with(options)
        .await
        .expect("a connection")
}

/// A process of the postmaster's that serves a connection.
fn backend_of(postmaster: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
    let serves = |pid: &u32| {
        let title = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        title.starts_with(&format!("postgres: postgres {NAME}"))
    };
    let children = children.unwrap_or_default();
    let mut pids = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    pids.rfind(serves)
}

fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: kill has no preconditions. The process is ours and was running a moment ago.
    unsafe { libc::kill(pid.cast_signed(), signal) };
}
