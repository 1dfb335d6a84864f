use std::{io::{BufRead as _, BufReader}, path::PathBuf, process::{Child, Command, Stdio}};
use anyhow::Context as _;
use registrar::{dev::postgres::{Durability, Options, Postgres}, simulator};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

pub(crate) struct Stage { postgres: Postgres, count: usize, _root: tempfile::TempDir }
pub(crate) struct Server { child: Child, pub(crate) address: String, _simulator: Option<Box<Server>> }

impl Stage {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let root = tempfile::tempdir()?;
        std::fs::set_permissions(root.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711))?;
        let postgres = Postgres::start(&Options { root: root.path().join("pg"), bindir: None, durability: Durability::Full,
            settings: vec![("max_connections".into(), "300".into()), ("max_wal_size".into(), "8GB".into()), ("shared_buffers".into(), "1GB".into())] })?;
        Ok(Self { postgres, count: 0, _root: root })
    }
    pub(crate) async fn database(&mut self) -> anyhow::Result<String> {
        self.count += 1;
        let name = format!("bench_{}", self.count);
        let mut c = PgConnection::connect_with(&self.postgres.connect_options("postgres")).await?;
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut c).await?;
        let options = self.postgres.connect_options(&name);
        let mut c = PgConnection::connect_with(&options).await?;
        MIGRATOR.run(&mut c).await?;
        Ok(options.to_url_lossy().to_string())
    }
    pub(crate) async fn registrar(&self, database: &str, flags: &[&str]) -> anyhow::Result<Server> {
        let simulator = launch(Command::new(binary()).args(["simulate", "--listen", "127.0.0.1:0"]), "the simulator listens")?;
        let mut server = launch(Command::new(binary()).args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--database-url", database, "--upstream-url", &format!("http://{}", simulator.address),
            "--upstream-access-key-id", simulator::ACCESS_KEY_ID, "--upstream-access-key-secret", simulator::ACCESS_KEY_SECRET]).args(flags), "registrar serves")?;
        server._simulator = Some(Box::new(simulator));
        Ok(server)
    }
    pub(crate) fn binary(&self, name: &str) -> PathBuf { PathBuf::from("/usr/lib/postgresql/15/bin").join(name) }
}
fn binary() -> PathBuf { env!("CARGO_BIN_EXE_registrar").into() }
fn launch(command: &mut Command, ready: &'static str) -> anyhow::Result<Server> {
    let mut child = command.env("REGISTRAR_LOG", "warn,registrar::app=info").env("REGISTRAR_LOG_FORMAT", "json").stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let lines = BufReader::new(child.stderr.take().context("stderr")?).lines();
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || for line in lines.map_while(Result::ok) {
        match serde_json::from_str::<serde_json::Value>(&line) {
            Ok(event) if event["message"] == ready => { told.send(event["listen"].as_str().unwrap_or_default().to_owned()).ok(); }
            _ => eprintln!("{line}"),
        }
    });
    let address = address.recv_timeout(std::time::Duration::from_secs(60))?;
    Ok(Server { child, address, _simulator: None })
}
impl Server { pub(crate) fn pid(&self) -> u32 { self.child.id() } }
impl Drop for Server { fn drop(&mut self) { self.child.kill().ok(); self.child.wait().ok(); } }
