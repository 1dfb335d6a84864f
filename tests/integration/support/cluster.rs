//! Servers of a test's own, which it stops, halts, kills and follows with a standby.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use registrar::{
    dev::postgres::{Durability, Options, Postgres},
    store::Store,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;

use super::stack::patiently;

/// A server, and what it takes to start it again.
pub(crate) struct Cluster {
    // Ended before its directory goes.
    server: Option<Postgres>,
    options: Options,
    socket_dir: PathBuf,
    _dir: TempDir,
}

impl Cluster {
    /// Starts a server with these settings, whose database `postgres` has the schema.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let cluster = Self::of(directory(), settings);
        let options = cluster.server().connect_options("postgres");
        let store = Store::new(options, 1, "default");
        store.migrate().await.expect("the schema");
        store.close().await;
        cluster
    }

    fn of(dir: TempDir, settings: &[(&str, &str)]) -> Self {
        // What is lost here are processes and never the machine.
        let unsynced = [("fsync", "off"), ("full_page_writes", "off")];
        let settings = unsynced.iter().chain(settings);
        let options = Options {
            root: dir.path().into(),
            bindir: None,
            durability: Durability::Full,
            settings: settings.map(|(a, b)| ((*a).into(), (*b).into())).collect(),
        };
        let server = start(&options);
        Self {
            socket_dir: server.socket_dir().to_owned(),
            server: Some(server),
            options,
            _dir: dir,
        }
    }

    /// Starts a standby of this server, under a name.
    pub(crate) fn standby(&self, name: &str) -> Self {
        let dir = directory();
        let data = dir.path().join("data");
        fs::create_dir(&data).expect("its data");
        let owner = fs::metadata(self.data()).expect("the primary's data");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("it is ours");
        chown(&data, Some(owner.uid()), Some(owner.gid())).expect("as the primary's");
        let mut command = Command::new(self.program("pg_basebackup"));
        command
            .args(["-U", "postgres", "-p", "5432", "-h"])
            .arg(&self.socket_dir)
            .args(["--checkpoint=fast", "--no-sync", "-X", "stream", "-R", "-D"])
            .arg(&data)
            .current_dir("/");
        if owner.uid() != fs::metadata(dir.path()).expect("it is there").uid() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        let done = command.output().expect("pg_basebackup runs");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}");
        let from = format!(
            "host={} port=5432 user=postgres application_name={name}",
            self.socket_dir.display()
        );
        let settings = [
            ("primary_conninfo", from.as_str()),
            ("wal_receiver_status_interval", "1s"),
        ];
        Self::of(dir, &settings)
    }

    fn server(&self) -> &Postgres {
        self.server.as_ref().expect("it runs")
    }

    pub(crate) fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// Runs statements as the superuser, in a session that may write.
    pub(crate) async fn tell(&self, sql: &str) {
        let mut connection = self.connect().await;
        for statement in sql.split(';') {
            let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
                .execute(&mut connection)
                .await;
            done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// What a query for one text comes to.
    pub(crate) async fn ask(&self, sql: &'static str) -> String {
        let mut connection = self.connect().await;
        let text = sqlx::query_scalar(sql).fetch_one(&mut connection).await;
        text.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// A session of the superuser.
    pub(crate) async fn connect(&self) -> PgConnection {
        let options = self.connect_options();
        PgConnection::connect_with(&options).await.expect("it runs")
    }

    /// How the test itself connects.
    pub(crate) fn connect_options(&self) -> PgConnectOptions {
        let options = self.server().connect_options("postgres");
        options
            .application_name("test")
            .options([("default_transaction_read_only", "off")])
    }

    /// Waits until a query for one text comes to this.
    pub(crate) async fn until(&self, sql: &'static str, text: &str) {
        patiently(async {
            while self.ask(sql).await != text {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Stops it as `pg_ctl stop -m fast` does.
    pub(crate) fn stop(&mut self) {
        tokio::task::block_in_place(|| drop(self.server.take()));
    }

    /// Stops it as `pg_ctl stop -m immediate` does: nobody is told, nothing is written.
    pub(crate) fn stop_at_once(&mut self) {
        self.end_with(libc::SIGQUIT, &[self.server().pid()]);
    }

    /// Ends all of its processes as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.end_with(libc::SIGKILL, &self.processes());
    }

    fn end_with(&mut self, what: libc::c_int, processes: &[u32]) {
        signal(what, processes);
        let server = self.server.take().expect("it runs");
        tokio::task::block_in_place(|| {
            while !server.ended() {
                std::thread::sleep(Duration::from_millis(5));
            }
            drop(server);
        });
    }

    /// Starts it again.
    pub(crate) fn start_again(&mut self) {
        assert!(self.server.is_none(), "it was stopped");
        self.server = Some(tokio::task::block_in_place(|| start(&self.options)));
    }

    /// Halts all of its processes where they are.
    pub(crate) fn halt(&self) {
        // Those that were started meanwhile are halted by the second look.
        for _ in 0..2 {
            signal(libc::SIGSTOP, &self.processes());
        }
    }

    /// Lets its processes go on.
    pub(crate) fn go_on(&self) {
        signal(libc::SIGCONT, &self.processes());
    }

    fn data(&self) -> PathBuf {
        let root = self.options.root.canonicalize().expect("it is there");
        root.join("data")
    }

    fn program(&self, name: &str) -> PathBuf {
        let postgres = fs::read_link(format!("/proc/{}/exe", self.server().pid()));
        postgres.expect("it runs").with_file_name(name)
    }

    /// The postmaster and its children, which sit in the data directory.
    fn processes(&self) -> Vec<u32> {
        let data = self.data();
        fs::read_dir("/proc")
            .expect("processes")
            .flatten()
            .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data))
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.go_on();
        }
    }
}

fn start(options: &Options) -> Postgres {
    Postgres::start(options).unwrap_or_else(|error| panic!("no server: {error:#}"))
}

/// A directory that the server's user can pass through.
fn directory() -> TempDir {
    let dir = TempDir::with_prefix("registrar-cluster-").expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).expect("it is ours");
    dir
}

fn signal(what: libc::c_int, processes: &[u32]) {
    for pid in processes {
        // SAFETY: kill has no preconditions; the process sits in a cluster of this test's.
        unsafe { libc::kill(pid.cast_signed(), what) };
    }
}
