//! A file that is there when it is whole: written under another name, which it gives up at the end.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufWriter, Write},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// A file on its way. Where this ends before it is whole, nothing is left of it.
#[derive(Debug)]
pub(super) struct WholeFile {
    file: BufWriter<File>,
    target: PathBuf,
    /// Where it is written.
    partial: PathBuf,
    is_whole: bool,
}

impl WholeFile {
    /// Begins a file beside its target. With `secret` nobody but its owner may read it, from its
    /// first byte on. Also tells whether an earlier one had been left behind, which is gone then.
    pub(super) fn begin(target: &Path, secret: bool) -> anyhow::Result<(Self, bool)> {
        // What is renamed over a device or a pipe takes its place.
        if target.metadata().is_ok_and(|it| !it.is_file()) {
            bail!(
                "{} is no regular file; leave out --to to write to standard output",
                target.display()
            );
        }
        let mut name = target
            .file_name()
            .map(OsString::from)
            .with_context(|| format!("{} names no file; add the name of one", target.display()))?;
        name.push(".partial");
        let partial = target.with_file_name(name);
        let mut was_left = false;
        let file = loop {
            if let Some(file) = create(&partial, secret)
                .with_context(|| format!("{} cannot be written", partial.display()))?
            {
                break file;
            }
            was_left |= clear(&partial)?;
        };
        let whole = Self {
            file: BufWriter::new(file),
            target: target.to_owned(),
            partial,
            is_whole: false,
        };
        Ok((whole, was_left))
    }

    /// Puts the file in its place, once it is on the disk.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let done = (|| {
            self.file.flush()?;
            self.file.get_ref().sync_all()?;
            fs::rename(&self.partial, &self.target)
        })();
        done.with_context(|| format!("{} cannot be written", self.target.display()))?;
        self.is_whole = true;
        Ok(())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if !self.is_whole {
            drop(fs::remove_file(&self.partial));
        }
    }
}

/// A new file, locked for as long as it is written; none if there is one of its name.
fn create(partial: &Path, secret: bool) -> io::Result<Option<File>> {
    let mode = if secret { 0o600 } else { 0o666 };
    let new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(partial);
    let file = match new {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        file => file?,
    };
    // Another process may have taken it for left behind before it was locked.
    let is_ours = file.try_lock().is_ok()
        && fs::metadata(partial)
            .is_ok_and(|it| file.metadata().is_ok_and(|own| own.ino() == it.ino()));
    Ok(is_ours.then_some(file))
}

/// Removes what an interrupted export has left behind; whether there was any.
fn clear(partial: &Path) -> anyhow::Result<bool> {
    let in_the_way = || format!("{} is in the way; remove it", partial.display());
    match fs::symlink_metadata(partial) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        // A link to nowhere would be tried for ever, and a pipe waited for.
        Ok(it) if !it.is_file() => bail!(in_the_way()),
        Ok(_) | Err(_) => {}
    }
    let left = match OpenOptions::new().write(true).open(partial) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        left => left.with_context(in_the_way)?,
    };
    match left.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!(
            "another export is writing {}; wait for it, or choose another file",
            partial.display()
        ),
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("{} cannot be locked", partial.display()));
        }
    }
    fs::remove_file(partial).with_context(in_the_way)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_file_is_there_when_it_is_whole_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("devices.csv");
        fs::write(&target, "old").unwrap();

        let (mut file, was_left) = WholeFile::begin(&target, true).unwrap();
        let partial = dir.path().join("devices.csv.partial");
        assert!(!was_left);
        assert_eq!(mode(&partial), 0o600);
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        file.finish().unwrap();

        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(mode(&target), 0o600);
        assert!(!partial.exists());
    }

    #[test]
    fn nothing_is_left_of_a_file_that_was_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("devices.csv");

        let (mut file, _) = WholeFile::begin(&target, false).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);

        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_export_left_behind_is_begun_anew_whatever_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("devices.csv");
        let partial = dir.path().join("devices.csv.partial");
        fs::write(&partial, "a secret for all to read").unwrap();

        let (mut file, was_left) = WholeFile::begin(&target, true).unwrap();

        assert!(was_left);
        assert_eq!(mode(&partial), 0o600);
        file.write_all(b"new").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    }

    #[test]
    fn a_link_to_nowhere_is_in_the_way_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("devices.csv");
        let partial = dir.path().join("devices.csv.partial");
        std::os::unix::fs::symlink(dir.path().join("nowhere"), &partial).unwrap();

        let refused = WholeFile::begin(&target, true).unwrap_err().to_string();

        assert!(refused.contains("is in the way"), "{refused}");
    }

    #[test]
    fn a_file_that_another_export_writes_is_left_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("devices.csv");
        let (mut first, _) = WholeFile::begin(&target, false).unwrap();
        first.write_all(b"first").unwrap();

        let second = WholeFile::begin(&target, false).unwrap_err().to_string();

        assert!(second.contains("another export is writing"), "{second}");
        first.finish().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "first");
    }

    #[test]
    fn no_device_and_no_directory_is_replaced_by_a_file() {
        let dir = tempfile::tempdir().unwrap();

        for target in [Path::new("/dev/null"), dir.path()] {
            let refused = WholeFile::begin(target, false).unwrap_err().to_string();
            assert!(refused.contains("is no regular file"), "{refused}");
        }
    }
}
