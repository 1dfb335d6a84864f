//! The running server: started, connected to, stopped.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{Durability, Options, cluster::Cluster, process::Process};

/// Names the socket file; nothing listens on TCP.
const PORT: u16 = 5432;

/// The superuser of the cluster.
const USER: &str = "postgres";

/// How long a start may take. It is mostly crash recovery, which replays at most `max_wal_size`.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// For a machine that has other things to do. The memory and the connections are PostgreSQL's own
/// defaults, which initdb may lower; our queries are
/// too short to be worth compiling.
const SETTINGS: [(&str, &str); 3] = [
    ("shared_buffers", "128MB"),
    ("max_connections", "100"),
    ("jit", "off"),
];

/// A private server. It stops when this is dropped, and dies with this process.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    cluster: Cluster,
    socket_dir: PathBuf,
    durability: Durability,
}

impl Postgres {
    /// Starts a server and waits until it accepts connections. Blocks: about a second where the
    /// cluster has to be made first (nearly all of it initdb), else under 0.1 s, and up to a
    /// minute where a killed server has much to recover.
    ///
    /// Fails, saying what to do, where there are no binaries that fit, the directory is in use or
    /// closed to the server's user, or the server does not start (with the end of its log).
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        let cluster = Cluster::open(options)?;
        let socket_dir = cluster.socket_dir()?;
        let mut log = File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(&cluster.log)
            .with_context(|| format!("cannot open {}", cluster.log.display()))?;
        let logged = log
            .seek(SeekFrom::End(0))
            .context("cannot read the log of PostgreSQL")?;

        let mut command = cluster.owner.command(&cluster.binaries.program("postgres"));
        command
            .arg("-D")
            .arg(&cluster.data)
            .arg("-k")
            .arg(&socket_dir);
        command.args(["-p", &PORT.to_string(), "-c", "listen_addresses="]);
        let given = options
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let durability = options.durability.settings().iter().copied();
        // The last of two equal names wins.
        for (name, value) in SETTINGS.into_iter().chain(durability).chain(given) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let errors = log
            .try_clone()
            .context("cannot share the log of PostgreSQL")?;
        let output = log
            .try_clone()
            .context("cannot share the log of PostgreSQL")?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);

        let process = Process::spawn(command).context("cannot start PostgreSQL")?;
        let server = Self {
            process,
            cluster,
            socket_dir,
            durability: options.durability,
        };
        let until = Instant::now() + READY_WITHIN;
        while !is_ready(&server.cluster.data, server.pid()) {
            if let Some(status) = server.process.ended() {
                let mut said = String::new();
                log.seek(SeekFrom::Start(logged))
                    .and_then(|_| log.read_to_string(&mut said))
                    .ok();
                bail!(
                    "PostgreSQL ended while it started ({status}):\n{}",
                    said.trim_end()
                );
            }
            if Instant::now() > until {
                bail!(
                    "PostgreSQL was not ready after {READY_WITHIN:?}; see {}",
                    server.cluster.log.display()
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// How to connect to a database of this server, as its superuser.
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        // The password file, and what PGSSLMODE may ask, are about other servers.
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_dir)
            .port(PORT)
            .username(USER)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// The same as [`Postgres::connect_options`], for `psql` and other programs.
    pub fn url(&self, database: &str) -> String {
        let dir = self.socket_dir.display();
        format!("postgres://{USER}@localhost:{PORT}/{database}?host={dir}")
    }

    /// The process id of the postmaster.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The directory of the unix socket, which is closed to other users.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// Whether the server has ended: it was stopped, or it failed and its log says why.
    pub fn ended(&self) -> bool {
        self.process.ended().is_some()
    }

    /// Stops the server, cutting off whoever is connected. Blocks until it has ended, at most
    /// 20 s; stopping it again does nothing.
    pub fn stop(&mut self) {
        let fast = [(libc::SIGINT, 10), (libc::SIGQUIT, 5), (libc::SIGKILL, 5)];
        let steps = match self.durability {
            Durability::Full | Durability::CommitAsync => &fast[..],
            // Nobody will read the checkpoint that a fast shutdown would write.
            Durability::Volatile => &fast[1..],
        };
        for (signal, seconds) in steps {
            self.process.signal(*signal);
            if self.process.wait(Duration::from_secs(*seconds)) {
                break;
            }
        }
        // A killed server leaves its socket; the directory is our own and only for that.
        fs::remove_dir_all(&self.socket_dir).ok();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Line 8 of `postmaster.pid` says when connections are accepted; `pg_ctl -w` looks at the same.
fn is_ready(data: &Path, pid: u32) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines();
    lines.next().and_then(|line| line.trim().parse().ok()) == Some(pid)
        && lines.nth(6).is_some_and(|status| status.trim() == "ready")
}
