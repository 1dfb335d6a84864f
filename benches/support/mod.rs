//! What all benchmarks share: the stage, the processes on it, a client, and the table.

pub(crate) mod bare;
mod board;
pub(crate) mod client;
pub(crate) mod document;
pub(crate) mod etcd;
pub(crate) mod figures;
pub(crate) mod life;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod process;
pub(crate) mod rows;
pub(crate) mod stack;
pub(crate) mod stage;
pub(crate) mod statements;
pub(crate) mod watched;

pub(crate) use client::Client;
pub(crate) use figures::{Aim, Row, Spread, median, number};
pub(crate) use stack::{Setup, Stack};
pub(crate) use stage::{Database, Stage};

/// How much a benchmark does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// A look at whether all of it works: its figures mean nothing.
    Quick,
    Usual,
    /// Takes longer than anyone waits for.
    Full,
}

impl Size {
    /// So many of something, or fewer for a quick look.
    pub(crate) fn of(self, usual: usize, quick: usize) -> usize {
        match self {
            Self::Quick => quick,
            Self::Usual | Self::Full => usual,
        }
    }

    /// How often a benchmark is repeated.
    pub(crate) fn repetitions(self) -> usize {
        self.of(3, 1)
    }
}
