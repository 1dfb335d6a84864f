//! `registrar dev`: a database on one machine, with nothing installed but PostgreSQL's binaries.
//!
//! Start at [`Database::start`]; the private server that it stands on is [`postgres::Postgres`].

mod database;
pub mod postgres;

use std::path::{Path, PathBuf};

pub use database::Database;

/// Where `dev` keeps everything, and how.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Where the database and the simulator keep their data between runs
    #[arg(long, env = "REGISTRAR_DATA_DIR", default_value = ".registrar")]
    pub data_dir: PathBuf,

    /// Where the binaries `postgres` and `initdb` are, if not in the usual places
    #[arg(long, env = "REGISTRAR_POSTGRES_BINDIR")]
    pub postgres_bindir: Option<PathBuf>,

    /// Have the private database survive a kill of itself too: every commit waits for the disk
    #[arg(long, env = "REGISTRAR_SYNCHRONOUS_COMMIT")]
    pub synchronous_commit: bool,
}

impl Options {
    /// Where the simulator keeps its data.
    pub fn simulator_dir(&self) -> PathBuf {
        self.data_dir.join("simulator")
    }

    fn postgres(&self, root: &Path) -> postgres::Options {
        postgres::Options {
            root: root.join("postgres"),
            bindir: self.postgres_bindir.clone(),
            durability: match self.synchronous_commit {
                true => postgres::Durability::Full,
                false => postgres::Durability::CommitAsync,
            },
            settings: Vec::new(),
        }
    }
}
