//! Where master keys come from, and reading them there.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    fs,
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    time::timeout,
};

use super::{Wiped, error::LoadError, options::KeyText};

/// The most that is read: some hundred keys, with comments.
const MOST: u64 = 64 << 10;

/// How long a command may take: one call of a key service, with its own retries.
const COMMAND_TIME: Duration = Duration::from_secs(10);

/// Where the keys are.
#[derive(Debug)]
pub(super) enum Source {
    None,
    File(PathBuf),
    Text(KeyText),
    Command(KeyText),
}

/// What tells a file from the one that was there before: device, inode, seconds and nanoseconds of
/// its last change, size. `None` while there is no file to be looked at.
pub(super) type Identity = Option<[i128; 5]>;

impl Source {
    pub(super) async fn read(&self) -> Result<Wiped<Vec<u8>>, LoadError> {
        match self {
            Self::None => Ok(Wiped::default()),
            Self::Text(text) => Ok(Wiped::new(text.reveal().as_bytes().to_vec())),
            Self::File(path) => {
                let file = fs::File::open(path).await.map_err(LoadError::File)?;
                read_bounded(file, LoadError::File).await
            }
            Self::Command(command) => run(command.reveal(), COMMAND_TIME).await,
        }
    }
}

pub(super) async fn identity(path: &Path) -> Identity {
    let file = fs::metadata(path).await.ok()?;
    let parts = [
        file.dev().into(),
        file.ino().into(),
        // Of its contents and its name alike, so a copy that keeps the old time is noticed too.
        file.ctime().into(),
        file.ctime_nsec().into(),
        file.len().into(),
    ];
    Some(parts)
}

/// What a command prints, if it ends well and within `time`.
pub(super) async fn run(command: &str, time: Duration) -> Result<Wiped<Vec<u8>>, LoadError> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // It may say anything, keys included, and our own log is no place for that.
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(LoadError::Command)?;
    let group = Group::of(&child);
    let stdout = child.stdout.take().expect("it was asked for");
    let ended = timeout(time, async {
        let printed = read_bounded(stdout, LoadError::Command).await?;
        match child.wait().await.map_err(LoadError::Command)? {
            status if status.success() => Ok(printed),
            status => Err(LoadError::CommandFailed(status)),
        }
    })
    .await;
    drop(group);
    ended.unwrap_or(Err(LoadError::CommandSlow(time)))
}

/// Kills what a command has started, if any of it is left.
struct Group(Option<i32>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().map(u32::cast_signed))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // SAFETY: killpg has no preconditions. The group is the child's own; where all of it
            // has ended there is none of that number, or none that is ours.
            unsafe { libc::killpg(leader, libc::SIGKILL) };
        }
    }
}

async fn read_bounded(
    from: impl AsyncRead + Unpin,
    failed: fn(std::io::Error) -> LoadError,
) -> Result<Wiped<Vec<u8>>, LoadError> {
    // All of its room at once, since growing would leave copies behind.
    let mut text = Wiped::new(Vec::with_capacity(MOST as usize + 1));
    let mut from = from.take(MOST + 1);
    while from.read_buf(&mut *text).await.map_err(failed)? > 0 {}
    match text.len() as u64 {
        0..=MOST => Ok(text),
        _ => Err(LoadError::TooLong(MOST)),
    }
}
