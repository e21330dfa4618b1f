//! One contender's run: its commands, its destination, what it used, and whether it did its work.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::watch::watch;
use super::{Bench, Turn};
use crate::BenchError;
use crate::dataset::DataSet;
use crate::older;
use crate::peers::Job;
use crate::process::{Daemon, Invocation};
use crate::results::Sample;
use crate::runner::{Batch, Exit, Finished, Limit};
use crate::scenario::{Scenario, Task};
use crate::verify::{count_tree, disk_usage};

/// The most files of a copy that is observed while it grows. Observing more takes too long.
const WATCHED_FILES: u32 = 16;
/// How often cutting off a fetch is tried.
const MAX_CUTS: u32 = 6;
/// How long a server may continue to work after its clients have ended. What it does then is counted as theirs.
const SETTLE_LIMIT: Duration = Duration::from_millis(500);

impl Bench<'_> {
    /// One run that does not count. Returns why the contender cannot continue, if it cannot.
    pub(super) fn warm_up(
        &self,
        scenario: &Scenario,
        data: &DataSet,
        turn: &mut Turn,
    ) -> Result<Option<String>, BenchError> {
        // Some tasks need something that is there already. Into an empty place, `resume` is a whole fetch and shows how long that
        // takes.
        let task = scenario.task.first();
        let dests = make_dests(&turn.copies, scenario.processes)?;
        plant(scenario, data, &dests)?;
        let batch = self.go(scenario, task, data, turn, &dests)?;
        turn.whole = batch.elapsed;
        turn.command = turn.peer.command(&Job { task: scenario.task, data, dest: Path::new("WORK") }).to_string();
        let cut_off = batch.processes.iter().any(|process| process.exit == Exit::TimedOut);
        let mut wrong = if cut_off { None } else { batch.processes.iter().find_map(Finished::failure) };
        if !cut_off && task != Task::List {
            for dest in &dests {
                if wrong.is_some() {
                    break;
                }
                wrong = self.difference(data, dest)?;
            }
        }
        if !scenario.task.needs_copy() {
            remove(&turn.copies)?;
        }
        Ok(wrong)
    }

    /// One run that counts.
    pub(super) fn sample(&self, scenario: &Scenario, data: &DataSet, turn: &Turn) -> Result<Sample, BenchError> {
        let dests = match scenario.task {
            task if task.needs_copy() => vec![turn.copies.join("1")],
            _ => make_dests(&turn.copies, scenario.processes)?,
        };
        plant(scenario, data, &dests)?;
        let kept_bytes = match scenario.task {
            Task::Resume => match self.cut_off(data, turn, &dests[0])? {
                None => return Ok(Sample::failed("it was too fast to be cut off".to_owned())),
                kept => kept,
            },
            _ => None,
        };
        if scenario.task.begins_with_changes() {
            data.change(&dests[0]).map_err(BenchError::local("change", &dests[0]))?;
        }
        let before = turn.peer.daemon().map(settled_cpu);
        if let Some(daemon) = turn.peer.daemon() {
            daemon.forget_peaks();
        }
        let is_watched = scenario.bytes() > 0 && scenario.processes == 1 && scenario.shape.files <= WATCHED_FILES;
        let dest = is_watched.then(|| &*dests[0]);
        let (batch, seen) = watch(turn.peer.daemon(), dest, || self.go(scenario, scenario.task, data, turn, &dests))?;
        let after = turn.peer.daemon().map(settled_cpu);
        let cut_off = batch.processes.iter().any(|process| process.exit == Exit::TimedOut);
        let sample = Sample {
            seconds: batch.elapsed.as_secs_f64(),
            cut_off,
            client_cpu_seconds: batch.processes.iter().map(|p| p.cpu.as_secs_f64()).sum(),
            server_cpu_seconds: before.zip(after).map(|(before, after)| after.saturating_sub(before).as_secs_f64()),
            client_peak_bytes: batch.processes.iter().map(|process| process.peak_rss).max().unwrap_or_default(),
            server_peak_bytes: seen.server_peak,
            memory_floor_bytes: batch.memory_floor,
            kept_bytes,
            progress: seen.progress,
            error: if cut_off { None } else { self.wrong(scenario, data, &batch, &dests)? },
        };
        if !scenario.task.needs_copy() {
            remove(&turn.copies)?;
        }
        Ok(sample)
    }

    /// Kills a fetch half-way and returns how many bytes are on disk; `None` when it was always too fast.
    fn cut_off(&self, data: &DataSet, turn: &Turn, dest: &Path) -> Result<Option<u64>, BenchError> {
        let mut after = turn.whole / 2;
        for _ in 0..MAX_CUTS {
            let job = Job { task: Task::Resume, data, dest };
            let batch = self.runner.run(&[turn.peer.command(&job)], Limit::KilledAfter(after))?;
            let caught = batch.processes.iter().all(|process| process.exit == Exit::TimedOut);
            if caught {
                return disk_usage(dest).map(Some).map_err(BenchError::local("read", dest));
            }
            // The warm-up was slower than this run: try again from nothing, and sooner.
            after = batch.elapsed.min(after) / 2;
            remove(dest)?;
            fs::create_dir_all(dest).map_err(BenchError::local("create", dest))?;
        }
        Ok(None)
    }

    fn go(
        &self,
        scenario: &Scenario,
        task: Task,
        data: &DataSet,
        turn: &Turn,
        dests: &[PathBuf],
    ) -> Result<Batch, BenchError> {
        let commands: Vec<Invocation> = dests.iter().map(|dest| turn.peer.command(&Job { task, data, dest })).collect();
        tracing::debug!(command = %commands[0], processes = commands.len(), "run");
        Ok(self.runner.run(&commands, Limit::Within(scenario.limit))?)
    }

    /// What is wrong with a run; `None` when it did its work.
    fn wrong(
        &self,
        scenario: &Scenario,
        data: &DataSet,
        batch: &Batch,
        dests: &[PathBuf],
    ) -> Result<Option<String>, BenchError> {
        if let Some(failure) = batch.processes.iter().find_map(Finished::failure) {
            return Ok(Some(failure));
        }
        if scenario.task == Task::List {
            let last = data.shape.name(data.shape.files - 1);
            let listed = batch.processes.iter().all(|p| String::from_utf8_lossy(&p.stdout).contains(&last));
            return Ok((!listed).then(|| format!("{last} is not listed")));
        }
        for dest in dests {
            // What was there before has as many bytes.
            let differs = matches!(scenario.task, Task::Resume | Task::Update(_));
            let wrong = if differs || scenario.task.begins_with_changes() {
                self.difference(data, dest)?
            } else {
                let expected = (u64::from(data.shape.files), data.shape.bytes());
                let found = count_tree(dest).map_err(BenchError::local("read", dest))?;
                (found != expected).then(|| format!("{} files of {} bytes in all", found.0, found.1))
            };
            if wrong.is_some() {
                return Ok(wrong);
            }
        }
        Ok(None)
    }

    fn difference(&self, data: &DataSet, dest: &Path) -> Result<Option<String>, BenchError> {
        data.difference(dest, &|| self.supervisor.stopped()).map_err(BenchError::local("read", dest))
    }
}

fn make_dests(copies: &Path, processes: usize) -> Result<Vec<PathBuf>, BenchError> {
    let dests: Vec<PathBuf> = (1..=processes).map(|n| copies.join(n.to_string())).collect();
    for dest in &dests {
        fs::create_dir_all(dest).map_err(BenchError::local("create", dest))?;
    }
    Ok(dests)
}

/// Puts an older version where there is to be one.
fn plant(scenario: &Scenario, data: &DataSet, dests: &[PathBuf]) -> Result<(), BenchError> {
    let Task::Update(change) = scenario.task else { return Ok(()) };
    dests.iter().try_for_each(|dest| older::plant(data, change, dest).map_err(BenchError::local("write", dest)))
}

fn remove(copies: &Path) -> Result<(), BenchError> {
    fs::remove_dir_all(copies).map_err(BenchError::local("remove", copies))
}

/// The server's CPU time once it has stopped changing.
fn settled_cpu(daemon: &Daemon) -> Duration {
    const PAUSE: Duration = Duration::from_millis(25);
    let mut cpu = daemon.usage().cpu;
    for _ in 0..SETTLE_LIMIT.as_millis() / PAUSE.as_millis() {
        std::thread::sleep(PAUSE);
        let now = daemon.usage().cpu;
        if now == cpu {
            break;
        }
        cpu = now;
    }
    cpu
}
