//! Runs a batch of commands at once and says how each ended.
//!
//! This module owns the clock of every measurement. It must not know what is measured.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{RwLock, mpsc};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::{Ended, Invocation, ProcessError, Supervisor, capture, forget_own_peak};

/// How much of a command's standard output is read back, in bytes. Longer output is cut.
const MAX_STDOUT_BYTES: u64 = 64 * 1024 * 1024;
/// How much of its standard error is read back, in bytes from its end.
const MAX_STDERR_BYTES: u64 = 64 * 1024;
/// How long after SIGTERM a command that overran its limit is killed.
const GRACE: Duration = Duration::from_secs(3);
/// Stack of a thread that only starts one process and waits for it.
const WAITER_STACK_BYTES: usize = 256 * 1024;

/// Something that can run commands.
pub trait Runner {
    /// Starts all commands of `batch` as close together as possible, and waits for all of them.
    ///
    /// # Errors
    /// When the bench itself fails or was told to stop. A command that fails, or cannot be started, is a result.
    fn run(&self, batch: &[Invocation], limit: Limit) -> Result<Batch, ProcessError>;
}

/// When a command is ended, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// It may take this long. Then it is asked to end by SIGTERM, and killed soon after.
    Within(Duration),
    /// It is killed at this time, which simulates a crash.
    KilledAfter(Duration),
}

/// How a batch went.
#[derive(Debug, Clone)]
pub struct Batch {
    /// From the first start to the last end.
    pub elapsed: Duration,
    /// In the order of the commands.
    pub processes: Vec<Finished>,
    /// The memory of the bench itself, bytes. A process that held less shows about this much as its peak.
    pub memory_floor: u64,
}

/// How one command went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// From its own start to its own end.
    pub elapsed: Duration,
    /// CPU time of it and the children it waited for.
    pub cpu: Duration,
    /// Peak resident memory, bytes, of its largest process.
    pub peak_rss: u64,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// The end of what it wrote to standard error.
    pub stderr: String,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// By the bench, because its time was over.
    TimedOut,
    /// It never ran.
    NotStarted(String),
}

impl Exit {
    /// Whether it ended by itself with code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Self::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::TimedOut => f.write_str("time-out"),
            Self::NotStarted(reason) => write!(f, "not started: {reason}"),
        }
    }
}

impl Finished {
    /// Why it failed, with its own message if there was one; `None` when it did not fail.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if self.exit.is_success() {
            return None;
        }
        let said = self.stderr.lines().rev().find(|line| line.starts_with("error:"));
        let said = said.or_else(|| self.stderr.lines().rev().find(|line| !line.trim().is_empty()));
        Some(match said {
            Some(words) => format!("{}: {}", self.exit, words.trim_start_matches("error: ")),
            None => self.exit.to_string(),
        })
    }
}

/// The runner that starts real processes.
#[derive(Debug, Clone)]
pub struct Processes {
    supervisor: Supervisor,
}

impl Processes {
    /// A runner whose children `supervisor` watches.
    #[must_use]
    pub fn new(supervisor: Supervisor) -> Self {
        Self { supervisor }
    }

    /// Starts one command when the gate opens, reports its process number and waits for it.
    fn run_one(&self, invocation: &Invocation, gate: &RwLock<bool>, ids: &mpsc::Sender<u32>) -> Timed {
        let prepared = tempfile::tempfile().and_then(|out| Ok((out, tempfile::tempfile()?)));
        let mut command = invocation.command();
        let files = prepared.and_then(|(out, err)| {
            command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
            Ok((out, err))
        });
        let open = gate.read().is_ok_and(|open| *open);
        let begun = Instant::now();
        let ended = files.and_then(|(out, err)| {
            if !open {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            let mut child: Child = self.supervisor.spawn(&mut command)?;
            let _ = ids.send(child.id());
            Ok((self.supervisor.wait(&mut child)?, out, err))
        });
        let done = ended.as_ref().map_or_else(|_| Instant::now(), |(ended, ..)| ended.at);
        let finished = match ended {
            Ok((ended, out, err)) => Finished {
                elapsed: done - begun,
                stdout: capture::head(&out, MAX_STDOUT_BYTES),
                stderr: String::from_utf8_lossy(&capture::tail(&err, MAX_STDERR_BYTES)).into_owned(),
                ..Finished::of(&ended)
            },
            Err(error) => Finished::not_started(format!("{}: {error}", invocation.program().display())),
        };
        Timed { begun, done, finished }
    }
}

struct Timed {
    begun: Instant,
    done: Instant,
    finished: Finished,
}

impl Finished {
    fn of(ended: &Ended) -> Self {
        Self {
            exit: exit_of(ended.status),
            cpu: ended.cpu,
            peak_rss: ended.peak_rss,
            ..Self::not_started(String::new())
        }
    }

    fn not_started(reason: String) -> Self {
        let (elapsed, cpu) = (Duration::ZERO, Duration::ZERO);
        Self { exit: Exit::NotStarted(reason), elapsed, cpu, peak_rss: 0, stdout: Vec::new(), stderr: String::new() }
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}

impl Runner for Processes {
    fn run(&self, batch: &[Invocation], limit: Limit) -> Result<Batch, ProcessError> {
        let gate = RwLock::new(false);
        let memory_floor = forget_own_peak();
        let (timed, overran) = std::thread::scope(|scope| -> Result<_, ProcessError> {
            // If a thread fails to start, the gate opens with `false`, and the others end without running anything.
            let mut closed = gate.write().map_err(|_| ProcessError::Interrupted)?;
            let (ids, started) = mpsc::channel();
            let mut waiters = Vec::with_capacity(batch.len());
            for invocation in batch {
                let (ids, gate) = (ids.clone(), &gate);
                let waiter = std::thread::Builder::new().stack_size(WAITER_STACK_BYTES);
                waiters.push(waiter.spawn_scoped(scope, move || self.run_one(invocation, gate, &ids))?);
            }
            drop(ids);
            *closed = true;
            drop(closed);
            let overran = self.enforce(limit, &started);
            let timed = waiters.into_iter().filter_map(|waiter| waiter.join().ok()).collect::<Vec<_>>();
            Ok((timed, overran))
        })?;
        if self.supervisor.stopped() {
            return Err(ProcessError::Interrupted);
        }
        let begun = timed.iter().map(|t| t.begun).min();
        let done = timed.iter().map(|t| t.done).max();
        let elapsed = begun.zip(done).map_or(Duration::ZERO, |(begun, done)| done - begun);
        let processes = timed.into_iter().map(|t| t.outcome(overran)).collect();
        Ok(Batch { elapsed, processes, memory_floor })
    }
}

impl Processes {
    /// Collects the numbers of the processes until all have ended. At the limit it ends them, and returns when that
    /// was.
    fn enforce(&self, limit: Limit, started: &mpsc::Receiver<u32>) -> Option<Instant> {
        let (time, first) = match limit {
            Limit::Within(time) => (time, Signal::TERM),
            Limit::KilledAfter(time) => (time, Signal::KILL),
        };
        let mut ids = Vec::new();
        // The channel closes when the last process has ended.
        if drain(started, time, &mut ids) {
            return None;
        }
        let over = Instant::now();
        for &id in &ids {
            self.supervisor.signal(id, first);
        }
        if !drain(started, GRACE, &mut ids) {
            for &id in &ids {
                self.supervisor.signal(id, Signal::KILL);
            }
        }
        Some(over)
    }
}

/// Receives numbers until the channel closes (true) or `time` has passed (false).
fn drain(started: &mpsc::Receiver<u32>, time: Duration, ids: &mut Vec<u32>) -> bool {
    let deadline = Instant::now() + time;
    loop {
        match started.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(id) => ids.push(id),
            Err(mpsc::RecvTimeoutError::Disconnected) => return true,
            Err(mpsc::RecvTimeoutError::Timeout) => return false,
        }
    }
}

impl Timed {
    /// A process that ended only after it was told to has overrun its time, whatever exit code it returned for the
    /// signal.
    fn outcome(mut self, over: Option<Instant>) -> Finished {
        let ran = !matches!(self.finished.exit, Exit::NotStarted(_));
        if ran && over.is_some_and(|over| self.done >= over) {
            self.finished.exit = Exit::TimedOut;
        }
        self.finished
    }
}

/// A runner that plays a script instead, for the tests of everything above it.
pub struct Mock {
    script: RefCell<VecDeque<Batch>>,
    /// Every batch it was asked to run.
    pub asked: RefCell<Vec<Vec<Invocation>>>,
    #[allow(clippy::type_complexity, reason = "used once")]
    effect: Box<dyn Fn(&Invocation)>,
}

impl Mock {
    /// Answers with `script`, batch by batch, and runs `effect` for every command, for instance to write its file.
    pub fn new(script: impl IntoIterator<Item = Batch>, effect: impl Fn(&Invocation) + 'static) -> Self {
        Self { script: RefCell::new(script.into_iter().collect()), asked: RefCell::default(), effect: Box::new(effect) }
    }

    /// A command that succeeded in `milliseconds` and wrote `stdout`.
    #[must_use]
    pub fn success(milliseconds: u64, stdout: &str) -> Finished {
        Finished {
            exit: Exit::Code(0),
            elapsed: Duration::from_millis(milliseconds),
            cpu: Duration::from_millis(milliseconds / 2),
            peak_rss: 8 * 1024 * 1024,
            stdout: stdout.as_bytes().to_vec(),
            stderr: String::new(),
        }
    }
}

impl std::fmt::Debug for Mock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mock").field("script", &self.script).finish_non_exhaustive()
    }
}

impl Runner for Mock {
    fn run(&self, batch: &[Invocation], _limit: Limit) -> Result<Batch, ProcessError> {
        batch.iter().for_each(&self.effect);
        self.asked.borrow_mut().push(batch.to_vec());
        self.script.borrow_mut().pop_front().ok_or(ProcessError::Interrupted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Invocation {
        Invocation::new("sh").args(["-c", script])
    }

    #[test]
    fn each_command_is_told_apart() {
        let runner = Processes::new(Supervisor::default());
        let batch = [shell("echo a"), shell("echo 'error: b' >&2; exit 3"), Invocation::new("/nowhere/at-all")];
        let done = runner.run(&batch, Limit::Within(Duration::from_secs(60))).unwrap();
        assert_eq!(done.processes[0].stdout, b"a\n");
        assert!(done.processes[0].failure().is_none());
        assert_eq!(done.processes[1].failure().unwrap(), "exit code 3: b");
        assert!(matches!(&done.processes[2].exit, Exit::NotStarted(why) if why.contains("/nowhere/at-all")));
        assert!(done.elapsed >= done.processes[0].elapsed);
    }

    #[test]
    fn what_overruns_is_ended_with_its_children() {
        let runner = Processes::new(Supervisor::default());
        let batch = [shell("sleep 600 & wait"), shell("true")];
        for limit in [Limit::Within(Duration::from_millis(50)), Limit::KilledAfter(Duration::from_millis(50))] {
            let done = runner.run(&batch, limit).unwrap();
            assert_eq!(done.processes[0].exit, Exit::TimedOut);
            assert_eq!(done.processes[1].exit, Exit::Code(0));
            assert!(done.elapsed < Duration::from_secs(60));
        }
    }
}
