//! Where answers are written, and tables for them.

use std::io::{self, Write};

use anyhow::Context as _;
use serde_json::Value;

use super::{options::Output, shown};

/// Writes to `out` what a command has found out.
#[derive(Debug)]
pub(super) struct Printer<'a, W> {
    out: &'a mut W,
    output: Output,
}

impl<'a, W: Write> Printer<'a, W> {
    pub(super) fn new(out: &'a mut W, output: Output) -> Self {
        Self { out, output }
    }

    /// Writes one thing: as JSON on one line, or as text that ends its own lines.
    pub(super) fn print(
        &mut self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> Value,
    ) -> anyhow::Result<()> {
        let result = match self.output {
            Output::Text => self.out.write_all(text().as_bytes()),
            Output::Json => writeln!(self.out, "{}", json()),
        };
        result.context("the answer cannot be written")
    }

    /// Writes a page of things: as JSON on one line each, or as rows of a table.
    pub(super) fn page<T>(
        &mut self,
        table: &mut Table,
        things: &[T],
        row: impl FnMut(&T) -> Vec<String>,
        json: impl Fn(&T) -> Value,
    ) -> anyhow::Result<()> {
        match self.output {
            Output::Text => {
                let rows = things.iter().map(row).collect();
                self.print(|| table.rows(rows), || Value::Null)?;
            }
            Output::Json => {
                for thing in things {
                    self.print(String::new, || json(thing))?;
                }
            }
        }
        self.flush()
    }

    /// Lets the reader have what is written, since the rest may take its time.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.out.flush().context("the answer cannot be written")
    }

    pub(super) fn is_json(&self) -> bool {
        self.output == Output::Json
    }
}

/// Whether the reader has gone, as `head` does when it has enough.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// A table that is written page by page: a column may grow with a later page, and stays so.
#[derive(Debug)]
pub(super) struct Table {
    head: Option<&'static [&'static str]>,
    widths: Vec<usize>,
}

impl Table {
    pub(super) fn new(head: &'static [&'static str]) -> Self {
        Self {
            head: Some(head),
            widths: vec![0; head.len()],
        }
    }

    /// The rows as lines, below the head if they are the first.
    pub(super) fn rows(&mut self, mut rows: Vec<Vec<String>>) -> String {
        if let Some(head) = self.head.take() {
            rows.insert(0, head.iter().map(|&name| name.to_owned()).collect());
        }
        for row in &rows {
            for (width, value) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(shown::columns(value));
            }
        }
        rows.iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &[String]) -> String {
        let mut line = String::new();
        for (width, value) in self.widths.iter().zip(row) {
            line.push_str(value);
            line.extend(std::iter::repeat_n(' ', width - shown::columns(value) + 2));
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_by_columns_of_the_terminal_and_headed_once() {
        let mut table = Table::new(&["name", "what"]);
        let row = |name: &str, what: &str| vec![name.to_owned(), what.to_owned()];

        let first = table.rows(vec![row("泵站五号", "a"), row("p", "")]);
        let second = table.rows(vec![row("p", "b")]);

        assert_eq!(first, "name      what\n泵站五号  a\np\n");
        assert_eq!(second, "p         b\n");
    }
}
