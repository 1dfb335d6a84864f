//! A private PostgreSQL: a child process on a unix socket, with its data in one directory.
//!
//! It promises that the server ends when this process does, however it ends; that two processes
//! never share a directory; that a directory left behind by a killed process starts again; and
//! that no other user of the machine can connect. It listens on no TCP port and has no password:
//! the directory of the socket is closed to others.
//!
//! Start at [`Postgres::start`].

mod binaries;
mod cluster;
mod holder;
mod owner;
mod process;
mod server;

use std::path::PathBuf;

pub use server::Postgres;

/// Where a private server keeps its data, and how it treats it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory that holds the cluster (`data/`), the lock and `postgres.log`. It is made if
    /// it is missing. Where the process is root, the directories above it must be open to others
    /// (`x`), since the server runs as another user.
    pub root: PathBuf,
    /// Where `postgres` and `initdb` are. `None` looks in `pg_config --bindir`, in PATH and in
    /// the places where packages put them, and takes the newest that fits the data.
    pub bindir: Option<PathBuf>,
    /// What a commit survives.
    pub durability: Durability,
    /// Further settings of the server, by name. They win over the defaults of this room.
    pub settings: Vec<(String, String)>,
}

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Everything, a power cut included: `fsync` and `synchronous_commit` are on.
    Full,
    /// The end of our process. A crash of the server or of the machine loses the last commits
    /// (at most three times `wal_writer_delay`, 0.6 s) and leaves the data whole.
    CommitAsync,
    /// The end of nothing: `fsync` is off and the server is stopped without a checkpoint. For
    /// tests, whose data ends with them.
    Volatile,
}

impl Durability {
    fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Full => &[("fsync", "on"), ("synchronous_commit", "on")],
            Self::CommitAsync => &[("fsync", "on"), ("synchronous_commit", "off")],
            Self::Volatile => &[
                ("fsync", "off"),
                ("synchronous_commit", "off"),
                ("full_page_writes", "off"),
            ],
        }
    }
}
