//! What a process has used, as Linux counts it.

use std::{fs, time::Duration};

use anyhow::Context as _;

/// The CPU time of all its threads, those that have ended included.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let mut clock = 0;
    let pid = libc::pid_t::try_from(pid)?;
    // SAFETY: `clock` is ours for the call to write to.
    let code = unsafe { libc::clock_getcpuclockid(pid, &mut clock) };
    anyhow::ensure!(code == 0, "no CPU clock of process {pid}");
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is ours for the call to write to.
    let code = unsafe { libc::clock_gettime(clock, &mut time) };
    anyhow::ensure!(code == 0, "process {pid} has ended");
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Its memory now, in bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    status(pid, "VmRSS:")
}

/// The most memory that it has had since [`forget_peak`], in bytes.
pub(crate) fn peak(pid: u32) -> anyhow::Result<u64> {
    status(pid, "VmHWM:")
}

/// Has its peak begin anew.
pub(crate) fn forget_peak(pid: u32) -> anyhow::Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

fn status(pid: u32, name: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib.context("no such line")?.trim().parse()?;
    Ok(kib * 1024)
}
