//! The stage of all benchmarks: one PostgreSQL with default durability, and databases on it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use anyhow::Context as _;
use registrar::{
    dev::postgres::{Durability, Options, Postgres},
    store::MIGRATOR,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions,
};

use super::{process, statements};

/// Durability is the default: every commit waits for the disk. Memory and log are of a size that is
/// usual for a server, as they were when the peers were first measured.
const SETTINGS: [(&str, &str); 3] = [
    ("shared_buffers", "1GB"),
    ("max_wal_size", "8GB"),
    ("max_connections", "300"),
];

/// What benchmarks stand on. It ends with this value, and with the process.
#[derive(Debug)]
pub(crate) struct Stage {
    postgres: Postgres,
    root: PathBuf,
    made: usize,
    /// Whether statements are counted, and shown when databases go.
    statements: bool,
    /// Where the WAL was when they were last forgotten.
    wal_from: Option<String>,
}

/// A database of the stage.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) options: PgConnectOptions,
    /// The same for other programs.
    pub(crate) url: String,
}

impl Stage {
    /// Starts PostgreSQL. With `statements` it counts statements, and [`Stage::clear`] prints those
    /// that took the most time and what the WAL is made of; so no figure of such a run counts.
    pub(crate) async fn start(statements: bool) -> anyhow::Result<Self> {
        let root = std::env::temp_dir().join(format!("registrar-bench-{}", std::process::id()));
        fs::create_dir(&root).context("cannot make the directory of PostgreSQL")?;
        // The server may run as another user, who has to pass through.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o711))?;
        let mut settings = SETTINGS.to_vec();
        if statements {
            settings.push(("shared_preload_libraries", "pg_stat_statements"));
            settings.push(("pg_stat_statements.track", "all"));
            settings.push(("pg_stat_statements.track_planning", "on"));
        }
        let options = Options {
            root: root.clone(),
            bindir: None,
            durability: Durability::Full,
            settings: settings
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        };
        let stage = Self {
            postgres: Postgres::start(&options)?,
            root,
            made: 0,
            statements,
            wal_from: None,
        };
        if statements {
            for extension in statements::EXTENSIONS {
                stage.run(extension).await?;
            }
        }
        Ok(stage)
    }

    /// A new database with nothing in it.
    pub(crate) async fn database(&mut self) -> anyhow::Result<Database> {
        self.made += 1;
        let name = format!("bench_{}", self.made);
        self.run(&format!("CREATE DATABASE {name}")).await?;
        Ok(Database {
            options: self.postgres.connect_options(&name),
            url: self.postgres.url(&name),
        })
    }

    /// A new database with our schema.
    pub(crate) async fn migrated(&mut self) -> anyhow::Result<Database> {
        let database = self.database().await?;
        let mut connection = database.connect().await?;
        MIGRATOR.run(&mut connection).await?;
        connection.close().await?;
        if self.statements {
            self.wal_from = Some(statements::forget(&mut self.connect().await?).await?);
        }
        Ok(database)
    }

    /// Removes all databases and writes down what is unwritten, so that nothing of one run weighs on
    /// the next.
    pub(crate) async fn clear(&mut self) -> anyhow::Result<()> {
        if let Some(wal_from) = self.wal_from.take() {
            statements::show(&mut self.connect().await?, &wal_from).await?;
        }
        let mut connection = self.connect().await?;
        let names: Vec<String> =
            sqlx::query_scalar("SELECT datname FROM pg_database WHERE datname LIKE 'bench_%'")
                .fetch_all(&mut connection)
                .await?;
        connection.close().await?;
        for name in names {
            self.run(&format!("DROP DATABASE {name} WITH (FORCE)"))
                .await?;
        }
        self.checkpoint().await
    }

    pub(crate) async fn checkpoint(&self) -> anyhow::Result<()> {
        self.run("CHECKPOINT").await
    }

    /// Seconds of CPU that PostgreSQL has used, all of its processes together.
    pub(crate) fn postgres_cpu(&self) -> f64 {
        process::cpu_of_family(self.postgres.pid())
    }

    /// Bytes of WAL written so far.
    pub(crate) async fn wal(&self) -> anyhow::Result<f64> {
        let bytes: i64 = sqlx::query_scalar("SELECT (pg_current_wal_lsn() - '0/0')::bigint")
            .fetch_one(&mut self.connect().await?)
            .await?;
        Ok(bytes as f64)
    }

    /// What PostgreSQL says of itself: `15.18`.
    pub(crate) async fn version(&self) -> anyhow::Result<String> {
        let text: String = sqlx::query_scalar("SHOW server_version")
            .fetch_one(&mut self.connect().await?)
            .await?;
        Ok(text.split(' ').next().unwrap_or_default().to_owned())
    }

    async fn connect(&self) -> anyhow::Result<PgConnection> {
        Ok(self.postgres.connect_options("postgres").connect().await?)
    }

    async fn run(&self, sql: &str) -> anyhow::Result<()> {
        let mut connection = self.connect().await?;
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
        Ok(connection.close().await?)
    }
}

impl Database {
    pub(crate) async fn connect(&self) -> anyhow::Result<PgConnection> {
        Ok(self.options.connect().await?)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.postgres.stop();
        fs::remove_dir_all(&self.root).ok();
    }
}
