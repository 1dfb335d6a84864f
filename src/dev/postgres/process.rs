//! A child process whose pid is never used after it is reaped.

use std::{
    io,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// A child that a thread of its own started and reaps.
///
/// The signal that ends the child with its parent is sent when the *thread* ends that started it,
/// so that thread lives exactly as long as the child does.
#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    exit: Arc<Exit>,
}

#[derive(Debug, Default)]
struct Exit {
    /// How the child ended, once it is reaped. Signals are sent under this lock, so that none
    /// reaches a stranger who has been given the pid since.
    status: Mutex<Option<io::Result<ExitStatus>>>,
    reaped: Condvar,
}

impl Process {
    pub(super) fn spawn(mut command: Command) -> io::Result<Self> {
        let exit = Arc::new(Exit::default());
        let (started, start) = mpsc::channel();
        let theirs = exit.clone();
        thread::Builder::new()
            .name("postgres".into())
            .spawn(move || match command.spawn() {
                Ok(child) => {
                    started.send(Ok(child.id())).ok();
                    theirs.reap(child);
                }
                Err(error) => {
                    started.send(Err(error)).ok();
                }
            })?;
        let pid = start.recv().map_err(io::Error::other)??;
        Ok(Self { pid, exit })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// How the process ended, if it has.
    pub(super) fn ended(&self) -> Option<String> {
        self.exit.status().as_ref().map(|status| match status {
            Ok(status) => status.to_string(),
            Err(error) => format!("not known how: {error}"),
        })
    }

    /// Sends a signal, unless the process has ended.
    pub(super) fn signal(&self, signal: libc::c_int) {
        let status = self.exit.status();
        if status.is_none() {
            // SAFETY: kill has no preconditions. The pid is our child's, which is not reaped
            // while the lock is held.
            unsafe { libc::kill(self.pid.cast_signed(), signal) };
        }
    }

    /// Waits for the end; `false` if it has not come in time.
    pub(super) fn wait(&self, at_most: Duration) -> bool {
        let status = self.exit.status();
        let (status, _) = (self.exit.reaped)
            .wait_timeout_while(status, at_most, |status| status.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        status.is_some()
    }
}

impl Exit {
    fn status(&self) -> MutexGuard<'_, Option<io::Result<ExitStatus>>> {
        // A panic elsewhere leaves the value whole: it is set in one assignment.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reap(&self, mut child: Child) {
        loop {
            // SAFETY: siginfo_t is plain data, for which zeros are a value.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            // SAFETY: info outlives the call. WNOWAIT leaves the child, and so its pid, in place.
            let code = unsafe {
                libc::waitid(
                    libc::P_PID,
                    child.id(),
                    &mut info,
                    libc::WEXITED | libc::WNOWAIT,
                )
            };
            let again =
                code != 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
            if !again {
                break;
            }
        }
        let mut status = self.status();
        *status = Some(child.wait());
        drop(status);
        self.reaped.notify_all();
    }
}
