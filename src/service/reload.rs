//! Files that are read again when they change.

use std::{fs::Metadata, os::unix::fs::MetadataExt as _, path::PathBuf, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Access, Tls};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reads the access file, the certificates and the key again when they change, until `stop`. What
/// was good stays in use until something good has replaced it.
pub async fn keep_fresh(access: Access, tls: Option<Tls>, stop: CancellationToken) {
    let mut access_file = access.watched();
    let mut tls_files = tls.as_ref().map(Tls::watched);
    while !stop.is_cancelled() {
        if access_file.have_changed().await {
            access.renew();
        }
        if let (Some(tls), Some(files)) = (&tls, &mut tls_files)
            && files.have_changed().await
        {
            tls.renew();
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Files, and what they looked like when they were last seen.
#[derive(Clone, Debug)]
pub(super) struct Watched(Vec<(PathBuf, Option<Stamp>)>);

/// Tells one version of a file from the next: which file it is, when it was written and how long it
/// is.
type Stamp = (u64, u64, i64, i64, u64);

impl Watched {
    /// Watches files, to be asked for before they are read: what changes meanwhile is a change.
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        let seen = |file: PathBuf| {
            let now = std::fs::metadata(&file).ok().map(stamp);
            (file, now)
        };
        Self(files.into_iter().map(seen).collect())
    }

    /// Whether one of them has changed since the last look.
    pub(super) async fn have_changed(&mut self) -> bool {
        let mut changed = false;
        for (file, seen) in &mut self.0 {
            let now = tokio::fs::metadata(&*file).await.ok().map(stamp);
            changed |= *seen != now;
            *seen = now;
        }
        changed
    }
}

fn stamp(of: Metadata) -> Stamp {
    (of.dev(), of.ino(), of.mtime(), of.mtime_nsec(), of.len())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_file_that_is_written_replaced_or_removed_has_changed_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("a"), "1").unwrap();
        let mut watched = Watched::new(vec![path("a"), path("b")]);
        assert!(!watched.have_changed().await);

        fs::write(path("a"), "12").unwrap();
        assert!(watched.have_changed().await);
        fs::write(path("b"), "12").unwrap();
        assert!(watched.have_changed().await);
        fs::rename(path("b"), path("a")).unwrap();
        assert!(watched.have_changed().await);
        assert!(!watched.have_changed().await);
        fs::remove_file(path("a")).unwrap();
        assert!(watched.have_changed().await);
        assert!(!watched.have_changed().await);
    }
}
