//! The whole stack of a run: Postgres, the simulator, replicas, and the links between them.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use crate::{
    database::Database,
    devices,
    link::{Address, Link},
    plan::REPLICAS,
    record::Record,
    replica::{Launch, Replica, faketime},
    support::{self, stack::Upstream},
};

pub(crate) struct Stack {
    pub(crate) database: Database,
    pub(crate) upstream: Upstream,
    pub(crate) replicas: Vec<Arc<Replica>>,
    pub(crate) links: Vec<Links>,
    /// Where clients find the replicas, whether they are there or not.
    pub(crate) addresses: Arc<[SocketAddr]>,
    pub(crate) record: Arc<Record>,
    dir: PathBuf,
}

/// The links of one replica.
pub(crate) struct Links {
    pub(crate) clients: Link,
    pub(crate) database: Link,
    pub(crate) upstream: Link,
}

impl Stack {
    /// Starts everything below a directory, and waits until all replicas serve.
    pub(crate) async fn start(dir: &Path, seed: u64, record: Arc<Record>) -> Self {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o711)).expect("it is ours");
        let database = Database::start(dir.join("postgres")).await;
        let upstream = Upstream::start(&[
            "--simulator-speed=2",
            "--simulator-time-window=4s",
            &format!("--simulator-dir={}", dir.join("simulator").display()),
            &format!("--simulator-seed={seed}"),
            &format!("--simulator-exists={}", devices::existing()),
        ])
        .await;
        let keys_file = dir.join("keys");
        fs::write(&keys_file, format!("k1:{}\n", "5a".repeat(32))).expect("keys");
        let simulator = upstream.url.strip_prefix("http://").expect("HTTP").parse();
        let simulator = Address::Tcp(simulator.expect("an address"));

        let (mut replicas, mut links, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..REPLICAS {
            let sockets = dir.join(format!("database-{number}"));
            fs::create_dir(&sockets).expect("a directory");
            let to_database = Arc::new(Mutex::new(Some(database.socket())));
            let to_upstream = Arc::new(Mutex::new(Some(simulator.clone())));
            let database = Link::unix(sockets.join(".s.PGSQL.5432"), to_database);
            let (upstream, upstream_at) = Link::tcp(to_upstream).await;
            let launch = Launch {
                database_url: Database::url(sockets.to_str().expect("UTF-8")),
                upstream_url: format!("http://{upstream_at}"),
                keys_file: keys_file.clone(),
                log: dir.join(format!("replica-{number}.log")),
                faketime: faketime(),
            };
            if number == 0 {
                migrate(&launch.database_url).await;
            }
            let replica = Arc::new(Replica::new(number, launch, record.clone()));
            let (clients, address) = Link::tcp(replica.serves.clone()).await;
            tokio::spawn(replica.clone().keep());
            replicas.push(replica);
            links.push(Links {
                clients,
                database,
                upstream,
            });
            addresses.push(address);
        }
        for replica in &replicas {
            replica.is_up().await;
        }
        Self {
            database,
            upstream,
            replicas,
            links,
            addresses: addresses.into(),
            record,
            dir: dir.to_owned(),
        }
    }

    /// Where the service has left anything: logs, and the data of Postgres.
    pub(crate) fn kept(&self) -> Vec<PathBuf> {
        let log = |number| self.dir.join(format!("replica-{number}.log"));
        let logs = (0..self.replicas.len()).map(log);
        logs.chain([self.dir.join("postgres")]).collect()
    }
}

/// Brings the schema up to date. A process of its own: the link to the database needs this one.
async fn migrate(database_url: &str) {
    let mut command = Command::new(support::registrar_binary());
    command.args(["migrate", "--database-url", database_url]);
    let status = tokio::task::spawn_blocking(move || command.status()).await;
    let status = status.expect("no panic").expect("registrar starts");
    assert!(status.success(), "the schema is not migrated");
}
