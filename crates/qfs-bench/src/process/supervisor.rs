//! Watches over every child: none is forgotten, none outlives the bench, and each is accounted for separately.

use std::collections::BTreeSet;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use wait4::Wait4 as _;

/// How long a process group may take to end after SIGTERM before it is killed.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// The living children, by process group. Cheap to clone; all clones share one list.
#[derive(Debug, Clone, Default)]
pub struct Supervisor(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    groups: BTreeSet<u32>,
    stopping: bool,
}

/// How a child ended and what it used, descendants it waited for included.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// When it ended.
    pub at: Instant,
    /// CPU time, user and system together.
    pub cpu: Duration,
    /// Peak resident memory of its largest process, bytes.
    pub peak_rss: u64,
}

impl Supervisor {
    /// On SIGINT, SIGTERM and SIGHUP, ends all children and makes [`Self::stopped`] true. A second signal kills them.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn stop_on_signals(&self) -> io::Result<()> {
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let supervisor = self.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for _ in signals.forever() {
                if supervisor.stopped() {
                    supervisor.signal_all(Signal::KILL);
                } else {
                    supervisor.lock().stopping = true;
                    let again = supervisor.clone();
                    // On a thread of its own, so that a second signal is noticed during the grace period.
                    std::thread::spawn(move || again.end_all());
                }
            }
        })?;
        Ok(())
    }

    /// Whether the bench was told to stop. No child is started any more then.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.lock().stopping
    }

    /// Starts a child as the leader of a group of its own.
    ///
    /// # Errors
    /// What the system says; `Interrupted` when the bench is stopping.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        if self.stopped() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let child = command.spawn()?;
        let mut state = self.lock();
        state.groups.insert(child.id());
        if state.stopping {
            // The signal came while the child was being started and was not on the list yet.
            send(child.id(), Signal::TERM);
        }
        Ok(child)
    }

    /// Waits until the child ends, and ends what it left behind in its group.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn wait(&self, child: &mut Child) -> io::Result<Ended> {
        self.watch(child, WaitIdOptions::EXITED)?;
        self.reap(child, Instant::now())
    }

    /// As [`Self::wait`], but gives up after `limit`.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn wait_for(&self, child: &mut Child, limit: Duration) -> io::Result<Option<Ended>> {
        let deadline = Instant::now() + limit;
        loop {
            if self.watch(child, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)? {
                return self.reap(child, Instant::now()).map(Some);
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends `signal` to the group of a child, if it has not been reaped.
    pub(crate) fn signal(&self, id: u32, signal: Signal) {
        let state = self.lock();
        if state.groups.contains(&id) {
            send(id, signal);
        }
    }

    /// True when the child has ended; it stays a zombie, so that its number cannot be taken by another process.
    fn watch(&self, child: &Child, options: WaitIdOptions) -> io::Result<bool> {
        let pid = pid(child.id()).ok_or(io::ErrorKind::InvalidInput)?;
        loop {
            match waitid(WaitId::Pid(pid), options | WaitIdOptions::NOWAIT) {
                Ok(status) => return Ok(status.is_some()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn reap(&self, child: &mut Child, at: Instant) -> io::Result<Ended> {
        {
            let mut state = self.lock();
            send(child.id(), Signal::KILL);
            state.groups.remove(&child.id());
        }
        self.0.changed.notify_all();
        let used = child.wait4()?;
        let cpu = used.rusage.utime + used.rusage.stime;
        Ok(Ended { status: used.status, at, cpu, peak_rss: used.rusage.maxrss })
    }

    fn end_all(&self) {
        self.signal_all(Signal::TERM);
        let alive = |state: &mut State| !state.groups.is_empty();
        let waited = self.0.changed.wait_timeout_while(self.lock(), GRACE, alive);
        drop(waited);
        self.signal_all(Signal::KILL);
    }

    fn signal_all(&self, signal: Signal) {
        for &id in &self.lock().groups {
            send(id, signal);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pid(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

fn send(id: u32, signal: Signal) {
    if let Some(pid) = pid(id) {
        // It may have ended a moment ago.
        let _ = kill_process_group(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0);
        command
    }

    #[test]
    fn accounts_for_each_child() {
        let supervisor = Supervisor::default();
        let mut child = supervisor.spawn(&mut shell("exit 7")).unwrap();
        let ended = supervisor.wait(&mut child).unwrap();
        assert_eq!(ended.status.code(), Some(7));
        assert!(ended.peak_rss > 100_000);
    }

    #[test]
    fn a_wait_with_a_limit_gives_up() {
        let supervisor = Supervisor::default();
        let mut child = supervisor.spawn(&mut shell("sleep 60")).unwrap();
        assert!(supervisor.wait_for(&mut child, Duration::from_millis(20)).unwrap().is_none());
        supervisor.signal(child.id(), Signal::KILL);
        assert!(supervisor.wait(&mut child).unwrap().status.code().is_none());
    }

    #[test]
    fn stopping_ends_the_living_and_starts_nothing() {
        let supervisor = Supervisor::default();
        let mut child = supervisor.spawn(&mut shell("sleep 60 & wait")).unwrap();
        supervisor.lock().stopping = true;
        let again = supervisor.clone();
        let end = std::thread::spawn(move || again.end_all());
        assert!(!supervisor.wait(&mut child).unwrap().status.success());
        end.join().unwrap();
        assert!(supervisor.spawn(&mut shell("true")).is_err());
    }
}
