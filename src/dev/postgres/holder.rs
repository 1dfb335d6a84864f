//! Who holds a cluster: the process that `postmaster.pid` names, if it lives and the cluster is its.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// How long a server whose parent was killed may take to end. It was told at once, and writes its
/// last checkpoint.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Waits until no process has the cluster open, asking one that does to stop.
///
/// The caller holds our lock on the directory, so a process that is found here is a server whose
/// parent was killed.
pub(super) fn wait_until_free(data: &Path) -> anyhow::Result<()> {
    let until = Instant::now() + ENDS_WITHIN;
    let mut asked = None;
    loop {
        match find(data) {
            Holder::Nobody => return Ok(()),
            Holder::Zombie => {
                return fs::remove_file(data.join("postmaster.pid"))
                    .context("cannot remove the postmaster.pid of a process that has ended");
            }
            Holder::Live(pid) if Instant::now() > until => bail!(
                "PostgreSQL process {pid} still holds {} after {ENDS_WITHIN:?}; stop it and try \
                 again",
                data.display()
            ),
            Holder::Live(pid) => {
                if asked != Some(pid) {
                    // SAFETY: kill has no preconditions; the process was found in our cluster.
                    unsafe { libc::kill(pid, libc::SIGINT) };
                    asked = Some(pid);
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    Live(libc::pid_t),
    /// Ended and never reaped. PostgreSQL's own check, `kill(pid, 0)`, takes it for alive and
    /// would refuse to start.
    Zombie,
}

/// A pid that is gone, or that is another program's by now, is left to PostgreSQL, which removes
/// such a file itself.
#[cfg(target_os = "linux")]
fn find(data: &Path) -> Holder {
    let Some(pid) = named(data) else {
        return Holder::Nobody;
    };
    let in_cluster =
        |pid: libc::pid_t| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|dir| dir == data);
    match state(pid) {
        Some('Z') => {
            // Backends outlive a killed postmaster until they notice. They sit in the data too.
            let backend = fs::read_dir("/proc")
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
                .find(|pid| in_cluster(*pid));
            backend.map_or(Holder::Zombie, Holder::Live)
        }
        Some(_) if in_cluster(pid) => Holder::Live(pid),
        _ => Holder::Nobody,
    }
}

/// The state of a process: the letter after its name, which stands in brackets and may hold any
/// character.
#[cfg(target_os = "linux")]
fn state(pid: libc::pid_t) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

/// Without /proc, `ps` says what a process is.
#[cfg(not(target_os = "linux"))]
fn find(data: &Path) -> Holder {
    let Some(pid) = named(data) else {
        return Holder::Nobody;
    };
    let output = std::process::Command::new("ps")
        .args(["-p", &pid.to_string(), "-o", "stat=,command="])
        .output();
    let text = output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
    match text {
        Ok(text) if text.trim_start().starts_with('Z') => Holder::Zombie,
        Ok(text) if text.contains(&*data.to_string_lossy()) => Holder::Live(pid),
        _ => Holder::Nobody,
    }
}

/// The process that the first line of `postmaster.pid` names.
fn named(data: &Path) -> Option<libc::pid_t> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_somewhere_else_does_not_hold_the_cluster() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(find(dir.path()), Holder::Nobody);
        let us = std::process::id();
        fs::write(dir.path().join("postmaster.pid"), format!("{us}\n")).unwrap();
        assert_eq!(find(dir.path()), Holder::Nobody);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_zombie_is_told_from_a_live_process() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().cast_signed();
        // SAFETY: waits for our own child and, with WNOWAIT, leaves it unreaped.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(
                libc::P_PID,
                child.id(),
                &mut info,
                libc::WEXITED | libc::WNOWAIT,
            );
        }
        fs::write(dir.path().join("postmaster.pid"), format!("{pid}\n")).unwrap();
        assert_eq!(find(dir.path()), Holder::Zombie);
        wait_until_free(dir.path()).unwrap();
        assert!(!dir.path().join("postmaster.pid").exists());
        child.wait().unwrap();
    }
}
