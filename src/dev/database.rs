//! The database of `dev`.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use sqlx::{ConnectOptions as _, Connection as _};

use super::{Options, postgres::Postgres};

const NAME: &str = "registrar";

/// How often it is looked whether the server is still there.
const LOOK: Duration = Duration::from_millis(500);

/// A private server with one database in it. It ends with this value, or with the process.
#[derive(Debug)]
pub struct Database {
    server: Postgres,
    log: PathBuf,
}

impl Database {
    /// Starts the server, and makes the database the first time.
    pub async fn start(options: &Options) -> anyhow::Result<Self> {
        let settings = options.postgres(&options.data_dir);
        let server = tokio::task::spawn_blocking(move || Postgres::start(&settings))
            .await
            .context("starting PostgreSQL")??;
        let mut connection = server
            .connect_options("postgres")
            .connect()
            .await
            .context("connecting to the private PostgreSQL")?;
        let there: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
                .bind(NAME)
                .fetch_one(&mut connection)
                .await?;
        if !there {
            sqlx::query("CREATE DATABASE registrar")
                .execute(&mut connection)
                .await?;
        }
        connection.close().await?;
        let log = options.data_dir.join("postgres/postgres.log");
        Ok(Self { server, log })
    }

    /// How to reach the database.
    pub fn url(&self) -> String {
        self.server.url(NAME)
    }

    /// Returns once the server has ended, which nobody asked it to.
    pub async fn failed(&self) -> anyhow::Error {
        while !self.server.ended() {
            tokio::time::sleep(LOOK).await;
        }
        anyhow::anyhow!(
            "the private PostgreSQL ended; {} says why",
            self.log.display()
        )
    }

    /// Stops the server; it has written everything down when this returns.
    pub async fn stop(mut self) {
        // A panic in there ends the server all the same.
        let _ = tokio::task::spawn_blocking(move || self.server.stop()).await;
    }
}
