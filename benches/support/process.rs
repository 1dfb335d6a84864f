//! Child processes, and what processes use, as /proc tells it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;

/// How long a child may take to say that it serves.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A `registrar` that serves something; killed when this value ends, and with this process.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
}

impl Process {
    /// Starts the binary beside which this one was built, and waits until it says that it listens.
    pub(crate) fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_registrar"));
        command
            .args(arguments)
            .args(["--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(["--log", "warn,registrar::app=info"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        die_with_us(&mut command);
        let mut child = command.spawn().context("registrar does not start")?;
        let lines = BufReader::new(child.stderr.take().context("its stderr")?).lines();
        let mut process = Self {
            child,
            address: String::new(),
        };
        let (told, address) = mpsc::channel();
        // Reads to the end, so that the process never waits for its reader.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                match event["listen"].as_str() {
                    Some(address) => drop(told.send(address.to_owned())),
                    None if event["level"] == "INFO" => {}
                    None => eprintln!("registrar: {line}"),
                }
            }
        });
        process.address = address
            .recv_timeout(READY_WITHIN)
            .with_context(|| format!("registrar {} does not serve", arguments[0]))?;
        Ok(process)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Has a command end when the thread ends that starts it. Benchmarks run on the main thread.
pub(crate) fn die_with_us(command: &mut Command) {
    // SAFETY: prctl is safe to call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

/// Seconds of CPU that a process has used, without its children; to the nanosecond, where
/// /proc/PID/stat counts hundredths.
pub(crate) fn cpu(pid: u32) -> f64 {
    let mut clock = 0;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: both are ours for the calls to write to.
    let told = unsafe {
        libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) == 0
            && libc::clock_gettime(clock, &mut time) == 0
    };
    match told {
        true => time.tv_sec as f64 + time.tv_nsec as f64 / 1e9,
        false => 0.0,
    }
}

/// Seconds of CPU that a process and its children have used, those that have ended included.
pub(crate) fn cpu_of_family(pid: u32) -> f64 {
    let living = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(stat)
        .filter(|stat| stat.parent == pid)
        .map(|stat| stat.own)
        .sum::<f64>();
    living + stat(pid).map_or(0.0, |stat| stat.own + stat.ended)
}

/// Resident memory of a process in bytes: what it has alone, and what it shares with files.
pub(crate) fn resident(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// The most that it has been since [`forget_peak`].
pub(crate) fn peak(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// Has the peak of a process begin anew.
pub(crate) fn forget_peak(pid: u32) -> anyhow::Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

fn memory(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() << 10
}

struct Stat {
    parent: u32,
    /// Seconds of CPU.
    own: f64,
    /// Those of children that have ended and were waited for.
    ended: f64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the command, in brackets, may hold anything.
    let (_, fields) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    // SAFETY: sysconf only looks.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    let seconds = |at: usize| Some(fields.get(at)?.parse::<f64>().ok()? / ticks);
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: seconds(11)? + seconds(12)?,
        ended: seconds(13)? + seconds(14)?,
    })
}
