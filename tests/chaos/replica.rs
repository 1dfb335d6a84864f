//! A replica of `registrar serve`, which is killed, paused, and there again.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use registrar::simulator;

use crate::{
    link::{Address, Target},
    record::Record,
};

/// How often it is looked whether it is still there.
const LOOK: Duration = Duration::from_millis(50);

/// A replica that ended by itself is started again after so long, as an orchestrator would.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Settings under which every wait ends within the run.
pub(crate) const SHORT: &[&str] = &[
    "--lease=2s",
    "--upstream-timeout=1s",
    "--upstream-connect-timeout=500ms",
    "--upstream-time-window=4s",
    "--check-timeout=4s",
    "--create-timeout=4s",
    "--reconcile-for=25s",
    "--block-for=6s",
    "--probe-every=1s",
    "--attempts=4",
    "--give-up-after=6s",
    "--give-up-when-down-after=12s",
    "--heartbeat=2s",
    "--call-timeout=10s",
    "--upload-idle=5s",
    "--upload-within=15s",
    "--retention-every=1s",
    "--max-connection-age=20s",
    "--drain-delay=200ms",
    "--grace=3s",
];

pub(crate) struct Replica {
    pub(crate) number: usize,
    /// Where it serves at the moment.
    pub(crate) serves: Target,
    command: Launch,
    running: Mutex<Running>,
    record: Arc<Record>,
}

/// How it is started.
pub(crate) struct Launch {
    pub(crate) database_url: String,
    pub(crate) upstream_url: String,
    pub(crate) keys_file: PathBuf,
    pub(crate) log: PathBuf,
    /// The library that skews clocks.
    pub(crate) faketime: Option<PathBuf>,
}

struct Running {
    child: Option<Child>,
    /// Whether it has served since its start.
    served: Arc<AtomicBool>,
    /// When it is to be there again.
    up_at: Instant,
    skew: i64,
}

impl Replica {
    pub(crate) fn new(number: usize, command: Launch, record: Arc<Record>) -> Self {
        Self {
            number,
            serves: Target::default(),
            command,
            running: Mutex::new(Running {
                child: None,
                served: Arc::default(),
                up_at: Instant::now(),
                skew: 0,
            }),
            record,
        }
    }

    /// Starts it whenever it is to be there and is not; never returns. A child dies with the thread
    /// that started it, so this belongs on a thread that lasts.
    pub(crate) async fn keep(self: Arc<Self>) {
        loop {
            {
                let mut running = self.running.lock().expect("no panic");
                if let Some(child) = &mut running.child
                    && let Some(status) = child.try_wait().expect("our child")
                {
                    // Without a database it does not start, and says so.
                    if running.served.load(Ordering::Relaxed) {
                        let number = self.number;
                        let what = format!("replica {number} ended by itself: {status}");
                        self.record.violation(&what);
                    }
                    running.child = None;
                    running.up_at = Instant::now() + AGAIN_AFTER;
                    self.unreachable();
                }
                if running.child.is_none() && running.up_at <= Instant::now() {
                    running.served = Arc::default();
                    running.child = Some(self.launch(running.skew, running.served.clone()));
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// `kill -9`. It is there again after so long, with a clock that is off by so many seconds.
    pub(crate) fn kill(&self, down: Duration, skew: i64) {
        let mut running = self.running.lock().expect("no panic");
        if let Some(mut child) = running.child.take() {
            child.kill().expect("it is ours");
            child.wait().expect("it has ended");
        }
        self.unreachable();
        running.skew = skew;
        running.up_at = Instant::now() + down;
    }

    /// SIGTERM, and the same. One that does not end in time is no good one.
    pub(crate) async fn stop(&self, down: Duration, skew: i64) {
        let child = self.running.lock().expect("no panic").child.take();
        let Some(mut child) = child else {
            return self.kill(down, skew);
        };
        signal(&child, libc::SIGTERM);
        // It has nothing to wait for longer than its grace.
        let patience = Instant::now() + Duration::from_secs(15);
        {
            // Nobody starts another one meanwhile.
            let mut running = self.running.lock().expect("no panic");
            running.up_at = patience + down;
        }
        while child.try_wait().expect("our child").is_none() {
            if patience <= Instant::now() {
                let what = format!("replica {} did not end after SIGTERM", self.number);
                self.record.violation(&what);
                child.kill().expect("it is ours");
                child.wait().expect("it has ended");
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.kill(down, skew);
    }

    /// Stops it in its tracks, or lets it go on.
    pub(crate) fn pause(&self, paused: bool) {
        if let Some(child) = &self.running.lock().expect("no panic").child {
            signal(child, if paused { libc::SIGSTOP } else { libc::SIGCONT });
        }
    }

    /// Waits until it serves, which is soon once its database does.
    pub(crate) async fn is_up(&self) {
        while self.serves.lock().expect("no panic").is_none() {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn unreachable(&self) {
        *self.serves.lock().expect("no panic") = None;
    }

    fn launch(&self, skew: i64, served: Arc<AtomicBool>) -> Child {
        let launch = &self.command;
        let mut command = Command::new(crate::support::registrar_binary());
        command
            .arg("serve")
            .args(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"])
            .args(["--database-url", &launch.database_url])
            .args(["--upstream-url", &launch.upstream_url])
            .args(["--upstream-access-key-id", simulator::ACCESS_KEY_ID])
            .args(["--upstream-access-key-secret", simulator::ACCESS_KEY_SECRET])
            .arg("--secret-keys-file")
            .arg(&launch.keys_file)
            .args(SHORT)
            .args(["--log-format", "text"])
            .env("REGISTRAR_LOG", "info")
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(library) = launch.faketime.as_ref().filter(|_| skew != 0) {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME", format!("{skew:+}s"))
                .env("DONT_FAKE_MONOTONIC", "1");
        }
        dies_with_us(&mut command);
        let mut child = command.spawn().expect("registrar starts");
        let lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
        let serves = self.serves.clone();
        let mut log = append_to(&launch.log);
        writeln!(log, "-- start of {}, clock off by {skew} s", child.id()).ok();
        let (record, number) = (self.record.clone(), self.number);
        // Reads to the end, so that the process never waits for its reader.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains("panicked at") {
                    record.violation(&format!("replica {number} panicked: {line}"));
                }
                writeln!(log, "{line}").ok();
                let Some((_, rest)) = line.split_once("registrar serves") else {
                    continue;
                };
                let listens = rest
                    .split(' ')
                    .find_map(|field| field.strip_prefix("listen="));
                let address = listens.and_then(|it| it.parse().ok()).expect("an address");
                served.store(true, Ordering::Relaxed);
                *serves.lock().expect("no panic") = Some(Address::Tcp(address));
            }
        });
        child
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill(Duration::MAX / 4, 0);
    }
}

fn append_to(path: &Path) -> File {
    let file = File::options().create(true).append(true).open(path);
    file.expect("a log")
}

fn signal(child: &Child, signal: libc::c_int) {
    // SAFETY: the child is ours and not yet waited for, so the pid is its own.
    unsafe { libc::kill(child.id().cast_signed(), signal) };
}

fn dies_with_us(command: &mut Command) {
    // SAFETY: prctl is safe between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

/// Where libfaketime is on this machine, if it is.
pub(crate) fn faketime() -> Option<PathBuf> {
    let dirs = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let dirs = dirs.map(|dir| dir.path()).chain(["/usr/lib64".into()]);
    let mut found = dirs.map(|dir| dir.join("faketime/libfaketimeMT.so.1"));
    found.find(|library| library.is_file())
}
