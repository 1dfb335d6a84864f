//! The devices of a CSV text, one after the other.
//!
//! Values are taken as they are: a space around a name is the server's to refuse, with a reason.

use std::io::Read;

use super::{
    header::{self, Columns},
    rows::{self, Rows},
};
use crate::proto::NewDevice;

/// Why there is no next device, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error(transparent)]
    Rows(#[from] rows::Problem),
    #[error("is empty; begin it with the header device_name or device_name,nickname")]
    Empty,
    #[error("line {line}: {problem}")]
    Row { line: u64, problem: header::Problem },
    #[error("has no row below its header; add at least one device")]
    NoDevice,
}

/// Goes through the devices below the header.
#[derive(Debug)]
pub(super) struct Table<R> {
    rows: Rows<R>,
    columns: Columns,
    is_empty: bool,
}

impl<R: Read> Table<R> {
    /// The devices of an import bring their own secrets.
    pub(super) fn new(source: R, import: bool) -> Result<Self, Problem> {
        let mut rows = Rows::new(source)?;
        if !rows.next()? {
            return Err(Problem::Empty);
        }
        let line = rows.line();
        let columns = Columns::of(rows.row(), import);
        let columns = columns.map_err(|problem| Problem::Row { line, problem })?;
        let is_empty = true;
        Ok(Self {
            rows,
            columns,
            is_empty,
        })
    }

    /// The next device and its line; none after the last. A table without any is an error.
    pub(super) fn next(&mut self) -> Result<Option<(u64, NewDevice)>, Problem> {
        if !self.rows.next()? {
            return match self.is_empty {
                true => Err(Problem::NoDevice),
                false => Ok(None),
            };
        }
        self.is_empty = false;
        let line = self.rows.line();
        let device = self.columns.device(self.rows.row());
        match device {
            Ok(device) => Ok(Some((line, device))),
            Err(problem) => Err(Problem::Row { line, problem }),
        }
    }
}
