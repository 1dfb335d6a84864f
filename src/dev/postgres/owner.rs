//! Whom the server runs as, and the directories and commands of that user.

use std::{
    ffi::{CStr, c_char},
    fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

use anyhow::{Context as _, bail};

/// The user that the server runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The user of this process.
    Us { uid: u32 },
    /// This process is root, as which PostgreSQL refuses to run, so it runs as somebody else.
    Other { uid: u32, gid: u32 },
}

impl Owner {
    /// `postgres`, else `nobody`, where this process is root; else its own user.
    pub(super) fn choose() -> anyhow::Result<Self> {
        // SAFETY: geteuid has no preconditions and cannot fail.
        let uid = unsafe { libc::geteuid() };
        if uid != 0 {
            return Ok(Self::Us { uid });
        }
        [c"postgres", c"nobody"].into_iter().find_map(user).context(
            "PostgreSQL does not run as root, and this system has neither a user postgres nor a \
             user nobody to run it as; make one, or run registrar as another user",
        )
    }

    fn uid(self) -> u32 {
        match self {
            Self::Us { uid } | Self::Other { uid, .. } => uid,
        }
    }

    /// A command of this user that dies with the thread that starts it (on Linux; elsewhere
    /// nothing tells a child that its parent has died).
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            // Nothing of our environment (PGDATA, PGOPTIONS, a locale) may reach the server.
            .env_clear()
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            // Ctrl-C is for us; we stop the database last.
            .process_group(0);
        if let Self::Other { uid, gid } = self {
            // The standard library drops root's supplementary groups along with these.
            command.uid(uid).gid(gid);
        }
        die_with_us(&mut command);
        command
    }

    /// Makes a directory that only this user may enter, or takes one that already is this user's.
    pub(super) fn private_dir(self, path: &Path) -> anyhow::Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = fs::symlink_metadata(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                // Root's are those that we made and were killed before we could give away.
                if !found.is_dir() || ![self.uid(), 0].contains(&found.uid()) {
                    bail!(
                        "{} belongs to another user; remove it, or run registrar as that user",
                        path.display()
                    );
                }
                fs::set_permissions(path, fs::Permissions::from_mode(0o700))
                    .with_context(|| format!("cannot close {} to others", path.display()))?;
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot make {}", path.display()));
            }
        }
        if let Self::Other { uid, gid } = self {
            chown(path, Some(uid), Some(gid))
                .with_context(|| format!("cannot give {} to uid {uid}", path.display()))?;
        }
        Ok(())
    }

    /// Makes a directory and what is missing above it, so that this user can pass through.
    pub(super) fn passable_dir(self, path: &Path) -> anyhow::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(above) = path.parent() {
            self.passable_dir(above)?;
        }
        match fs::create_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
                return Ok(());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot make {}", path.display()));
            }
        }
        if let Self::Other { .. } = self {
            // Not left to the umask, which is often 077 for root.
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("cannot open {} to others", path.display()))?;
        }
        Ok(())
    }

    /// Refuses a directory that this user cannot reach.
    pub(super) fn can_pass(self, path: &Path) -> anyhow::Result<()> {
        let Self::Other { uid, gid } = self else {
            return Ok(());
        };
        for dir in path.ancestors() {
            let found =
                fs::metadata(dir).with_context(|| format!("cannot read {}", dir.display()))?;
            let needed = match (found.uid() == uid, found.gid() == gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            if found.mode() & needed == 0 {
                bail!(
                    "{} is closed to the user that PostgreSQL runs as (uid {uid}), since root \
                     cannot run it; keep the data elsewhere, for example below /var/lib, or open \
                     that directory with chmod o+x",
                    dir.display()
                );
            }
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn die_with_us(command: &mut Command) {
    let us = std::process::id();
    // SAFETY: the closure makes only calls that are safe between fork and exec: prctl, getppid and
    // _exit, and the last OS error, which does not allocate. It runs after setuid, which would
    // undo the setting.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGINT) != 0 {
                return Err(io::Error::last_os_error());
            }
            // We may have died between fork and prctl, and then nobody will send the signal.
            if libc::getppid().cast_unsigned() != us {
                libc::_exit(1);
            }
            Ok(())
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_us(_: &mut Command) {}

/// A user of this system, by name.
fn user(name: &CStr) -> Option<Owner> {
    // Ample: a line of /etc/passwd, which is all that is kept here.
    let mut text = [0 as c_char; 16 * 1024];
    let mut found = std::ptr::null_mut();
    // SAFETY: passwd is a C struct of integers and pointers, for which zeros are a value.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    // SAFETY: name ends in NUL, text and entry outlive the call and their sizes are true. The
    // reentrant call is used because tests start servers on several threads.
    let code = unsafe {
        libc::getpwnam_r(
            name.as_ptr(),
            &mut entry,
            text.as_mut_ptr(),
            text.len(),
            &mut found,
        )
    };
    if code != 0 || found.is_null() {
        return None;
    }
    Some(Owner::Other {
        uid: entry.pw_uid,
        gid: entry.pw_gid,
    })
}
