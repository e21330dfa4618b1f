//! A server that runs beside the measurements.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::supervisor::GRACE;
use super::usage::tree;
use super::{Invocation, ProcessError, Supervisor, Usage, capture, forget_peaks, tree_usage};

/// Lines kept between a daemon's standard output and whoever waits for them.
const LINE_QUEUE: usize = 64;
/// How much of a daemon's standard error is read, in bytes from its end.
const MAX_STDERR_BYTES: u64 = 64 * 1024;

/// A process that serves until it is stopped or dropped.
#[derive(Debug)]
pub struct Daemon {
    program: String,
    supervisor: Supervisor,
    child: Option<Child>,
    id: u32,
    lines: Receiver<String>,
    stderr: File,
}

impl Daemon {
    /// Starts it. Its standard output is read line by line, and its standard error is kept for [`Self::stderr`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(supervisor: &Supervisor, invocation: &Invocation) -> Result<Self, ProcessError> {
        let program = invocation.program().display().to_string();
        let stderr = tempfile::tempfile()?;
        let mut command = invocation.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr.try_clone()?);
        let mut child = supervisor.spawn(&mut command).map_err(|source| match source.kind() {
            io::ErrorKind::Interrupted => ProcessError::Interrupted,
            _ => ProcessError::Start { program: program.clone(), source },
        })?;
        let (sender, lines) = mpsc::sync_channel(LINE_QUEUE);
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                // This reads on when nobody listens any more, because a full pipe must not stop the daemon.
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let _ = sender.try_send(line);
                }
            });
        }
        Ok(Self { program, supervisor: supervisor.clone(), id: child.id(), child: Some(child), lines, stderr })
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What it and its children have used since [`Self::forget_peaks`] (memory) or the start (CPU).
    #[must_use]
    pub fn usage(&self) -> Usage {
        tree_usage(self.id)
    }

    /// Restarts the measurement of its memory peak.
    pub fn forget_peaks(&self) {
        forget_peaks(self.id);
    }

    /// The lines of its standard output up to the first that `last` accepts.
    ///
    /// # Errors
    /// When it ends, or `limit` passes, before such a line.
    pub fn lines_until(&mut self, limit: Duration, last: impl Fn(&str) -> bool) -> Result<Vec<String>, ProcessError> {
        let deadline = Instant::now() + limit;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let done = last(&line);
                    seen.push(line);
                    if done {
                        return Ok(seen);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let reason = format!("not ready within {} s", limit.as_secs());
                    return Err(self.not_ready(reason, None));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended_early()),
            }
        }
    }

    /// Waits until `ready` returns true, for daemons that print nothing.
    ///
    /// # Errors
    /// When it ends, or `limit` passes, before that.
    pub fn wait_until(&mut self, limit: Duration, ready: impl Fn() -> bool) -> Result<(), ProcessError> {
        let deadline = Instant::now() + limit;
        while !ready() {
            if self.has_ended() {
                return Err(self.ended_early());
            }
            if Instant::now() >= deadline {
                return Err(self.not_ready(format!("not ready within {} s", limit.as_secs()), None));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Closes its standard input and waits up to `limit` for it to end by itself. Returns how it ended, or `None` if it
    /// did not.
    pub fn finish(&mut self, limit: Duration) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        drop(child.stdin.take());
        let ended = self.supervisor.wait_for(child, limit).ok()??;
        self.child = None;
        Some(ended.status)
    }

    /// The end of what it wrote to its standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&capture::tail(&self.stderr, MAX_STDERR_BYTES)).into_owned()
    }

    /// Ends it with SIGTERM and, after a grace period, with SIGKILL to its whole tree.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let family = tree(self.id);
        self.supervisor.signal(self.id, Signal::TERM);
        if !matches!(self.supervisor.wait_for(&mut child, GRACE), Ok(Some(_))) {
            // Sessions that left the group (as those of sshd) end with it. It has not been reaped yet, so the process
            // numbers are still valid.
            let now = tree(self.id);
            for &id in family.iter().skip(1).filter(|id| now.contains(id)) {
                if let Some(pid) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw) {
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
            }
            self.supervisor.signal(self.id, Signal::KILL);
            let _ = self.supervisor.wait(&mut child);
        }
    }

    fn has_ended(&mut self) -> bool {
        let Some(child) = &mut self.child else { return true };
        let ended = matches!(self.supervisor.wait_for(child, Duration::ZERO), Ok(Some(_)) | Err(_));
        if ended {
            self.child = None;
        }
        ended
    }

    fn ended_early(&mut self) -> ProcessError {
        if self.supervisor.stopped() {
            return ProcessError::Interrupted;
        }
        let mut code = None;
        if let Some(child) = &mut self.child
            && let Ok(Some(ended)) = self.supervisor.wait_for(child, Duration::from_secs(1))
        {
            code = ended.status.code();
            self.child = None;
        }
        self.stop();
        let stderr = self.stderr();
        let words = stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or("it ended without a word");
        self.not_ready(words.trim_start_matches("error: ").to_owned(), code)
    }

    fn not_ready(&self, reason: String, code: Option<i32>) -> ProcessError {
        if self.supervisor.stopped() {
            return ProcessError::Interrupted;
        }
        ProcessError::NotReady { program: self.program.clone(), reason, code }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Daemon {
        Daemon::start(&Supervisor::default(), &Invocation::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn lines_up_to_readiness() {
        let mut daemon = shell("echo one; echo ready; sleep 60");
        let lines = daemon.lines_until(Duration::from_secs(10), |line| line == "ready").unwrap();
        assert_eq!(lines, ["one", "ready"]);
        assert!(daemon.usage().peak_rss > 0);
        daemon.stop();
        assert_eq!(daemon.usage(), Usage::default());
    }

    #[test]
    fn one_that_ends_early_is_quoted() {
        let mut daemon = shell("echo 'error: no: such luck' >&2; exit 2");
        let error = daemon.lines_until(Duration::from_secs(10), |_| true).unwrap_err();
        assert!(matches!(error, ProcessError::NotReady { reason, code: Some(2), .. } if reason == "no: such luck"));
    }

    #[test]
    fn closing_its_input_lets_it_finish() {
        let mut daemon = shell("read line; echo bye >&2");
        assert!(daemon.finish(Duration::from_secs(10)).is_some_and(|status| status.success()));
        assert_eq!(daemon.stderr().trim(), "bye");
    }
}
