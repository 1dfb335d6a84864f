//! Files of JSON lines that only grow and outlive a kill of the process.
//!
//! A line is handed to the operating system before its answer goes out. There is no fsync: a kill
//! -9 of the process loses nothing, a power cut may.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// A file that takes whole lines at its end.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    /// None once closed.
    file: Option<File>,
    length: u64,
}

impl Lines {
    /// Opens or makes the file and tells `each` its lines with their offsets.
    ///
    /// A last line without its end was torn by a kill before it was answered, and is cut off. The
    /// file stays locked, so that two simulators cannot share a directory.
    pub(super) fn open(
        path: &Path,
        mut each: impl FnMut(u64, &str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Lines> {
        let shown = path.display();
        // Secrets are derived from what the journal holds, so it is its owner's only.
        let mut opening = OpenOptions::new();
        opening
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let file = opening
            .open(path)
            .with_context(|| format!("{shown} cannot be opened"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("{shown} is in use by another simulator"),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{shown} cannot be locked"));
            }
        }
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let mut length = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader
                .read_until(b'\n', &mut line)
                .with_context(|| shown.to_string())?;
            if line.pop() != Some(b'\n') {
                break;
            }
            let damaged = || format!("{shown} is damaged at byte {length}");
            let text = std::str::from_utf8(&line).with_context(damaged)?;
            each(length, text).with_context(damaged)?;
            length += read as u64;
        }
        drop(reader);
        file.set_len(length)
            .with_context(|| format!("{shown} cannot be written"))?;
        Ok(Lines {
            path: path.into(),
            file: Some(file),
            length,
        })
    }

    /// Adds a line, wholly or not at all, and returns its offset. The line must not hold `\n`.
    pub(super) fn append(&mut self, line: &str) -> io::Result<u64> {
        let file = self
            .file
            .as_mut()
            .ok_or_else(|| io::Error::other("the simulator stopped"))?;
        let offset = self.length;
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend_from_slice(line.as_bytes());
        whole.push(b'\n');
        let written = file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| file.write_all(&whole));
        if let Err(error) = written {
            // What was written of it would join the next line.
            file.set_len(offset)?;
            return Err(error);
        }
        self.length += whole.len() as u64;
        Ok(offset)
    }

    /// Reads the lines from an offset that [`Lines::append`] or [`Lines::open`] told, through a
    /// handle of its own; lines added meanwhile may be missed.
    pub(super) fn read_from(
        &self,
        offset: u64,
    ) -> io::Result<impl Iterator<Item = String> + use<>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        let whole = io::Read::take(file, self.length.saturating_sub(offset));
        Ok(BufReader::with_capacity(1 << 16, whole)
            .lines()
            .map_while(Result::ok))
    }

    /// Lets go of the file; whoever still wants to append is refused.
    pub(super) fn close(&mut self) {
        self.file = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Vec<String> {
        let mut lines = Vec::new();
        let opened = Lines::open(path, |_, line| {
            lines.push(line.to_owned());
            Ok(())
        });
        opened.unwrap();
        lines
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_next_one_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        std::fs::write(&path, "one\ntwo\nthr").unwrap();

        let mut lines = Lines::open(&path, |_, _| Ok(())).unwrap();
        let offset = lines.append("four").unwrap();

        assert_eq!(
            lines.read_from(offset).unwrap().collect::<Vec<_>>(),
            ["four"]
        );
        drop(lines);
        assert_eq!(read(&path), ["one", "two", "four"]);
    }

    #[test]
    fn a_directory_serves_one_simulator_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        let mut first = Lines::open(&path, |_, _| Ok(())).unwrap();
        assert!(Lines::open(&path, |_, _| Ok(())).is_err());

        first.close();

        assert!(Lines::open(&path, |_, _| Ok(())).is_ok());
        assert!(first.append("late").is_err());
    }
}
