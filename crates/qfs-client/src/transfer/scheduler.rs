//! Which files are under way at once, and in which order their ends are told.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::Ordering;

use qfs_core::observe::FileId;
use tokio::sync::mpsc;
use tokio::task::{self, JoinSet};

use crate::error::Failure;
use crate::mirrors;
use crate::transfer::batch::{self, Batch, Ended, MAX_BATCHES};
use crate::transfer::download;
use crate::transfer::job::{self, Context, Job};
use crate::transfer::outcome::FileOutcome;

/// In sequential mode the next requests are under way already, so that the link never idles; the server sends them in order.
/// Most files of that look-ahead.
pub(crate) const LOOK_AHEAD_FILES: usize = 64;

/// Most bytes of that look-ahead beyond the file being received, as far as sizes are known.
const LOOK_AHEAD_BYTES: u64 = 4 << 20;

/// What a file of unknown size counts for in the look-ahead, in bytes.
const UNKNOWN_SIZE_BYTES: u64 = 256 << 10;

/// What is asked for on one stream.
enum Unit {
    One(Job),
    Many(Batch),
}

impl Unit {
    fn first(&self) -> Option<&Job> {
        match self {
            Self::One(job) => Some(job),
            Self::Many(batch) => batch.jobs.first(),
        }
    }

    /// What it counts for in the look-ahead, in bytes.
    fn weight(&self) -> u64 {
        match self {
            Self::One(job) => job.remote.map_or(UNKNOWN_SIZE_BYTES, |remote| remote.size),
            Self::Many(batch) => batch.bytes,
        }
    }
}

/// A unit that is under way.
struct Task {
    first: FileId,
    weight: u64,
    is_batch: bool,
}

/// Keeps the right number of downloads under way.
pub(crate) struct Scheduler<'a> {
    context: Context,
    done: &'a mut (dyn FnMut(&[&FileOutcome]) + Send),
    /// Of which outcomes nothing is told yet: more is going to be found out about them.
    untold: fn(&FileOutcome) -> bool,
    running: JoinSet<Ended>,
    /// What is known of each task that runs.
    tasks: HashMap<task::Id, Task>,
    /// Bytes in flight, as far as sizes are known.
    in_flight: u64,
    /// Tasks that fetch a batch.
    batches: usize,
    queue: VecDeque<Unit>,
    finished: BTreeMap<FileId, FileOutcome>,
    /// In sequential mode, the next file whose end is told.
    next_told: usize,
}

impl<'a> Scheduler<'a> {
    /// Tells `done` of the files as they end, but for those that are `untold`. The first of them has the number `first`.
    pub(crate) fn new(
        context: Context,
        first: usize,
        untold: fn(&FileOutcome) -> bool,
        done: &'a mut (dyn FnMut(&[&FileOutcome]) + Send),
    ) -> Self {
        Self {
            context,
            done,
            untold,
            running: JoinSet::new(),
            tasks: HashMap::new(),
            in_flight: 0,
            batches: 0,
            queue: VecDeque::new(),
            finished: BTreeMap::new(),
            next_told: first,
        }
    }

    /// Runs until all jobs are done; returns their outcomes in order.
    pub(crate) async fn run(mut self, mut jobs: mpsc::Receiver<Vec<Job>>) -> BTreeMap<FileId, FileOutcome> {
        let mut planning = true;
        loop {
            while self.may_start()
                && let Some(unit) = self.queue.pop_front()
            {
                self.start(unit);
            }
            if !planning && self.running.is_empty() && self.queue.is_empty() {
                break;
            }
            tokio::select! {
                jobs = jobs.recv(), if planning && self.queue.is_empty() => match jobs {
                    Some(jobs) => self.arrange(jobs),
                    None => planning = false,
                },
                Some(joined) = self.running.join_next_with_id() => self.end(joined),
            }
        }
        self.finished
    }

    /// Queues `jobs`, small files in batches, and tells the end of those that need no request.
    fn arrange(&mut self, jobs: Vec<Job>) {
        let config = self.context.config;
        // A batch stands where its first file would.
        let mut open: Option<usize> = None;
        let mut settled = Vec::new();
        for mut job in jobs {
            if let Some(outcome) = job::settled(&self.context, &job) {
                settled.push((job.id, outcome));
                continue;
            }
            if config.parallel.is_none() {
                job.priority = i32::try_from(job.id.0).map_or(i32::MIN, |n| -n);
            }
            if self.context.singly.load(Ordering::Relaxed) || !Batch::takes(&job, &config, self.context.fleet.is_some())
            {
                self.queue.push_back(Unit::One(job));
                continue;
            }
            let at = *open.get_or_insert_with(|| {
                self.queue.push_back(Unit::Many(Batch::default()));
                self.queue.len() - 1
            });
            if let Some(Unit::Many(batch)) = self.queue.get_mut(at) {
                batch.push(job);
                if batch.is_full(&config) {
                    open = None;
                }
            }
        }
        self.tell(settled);
    }

    fn may_start(&self) -> bool {
        let running = self.running.len();
        let is_batch = matches!(self.queue.front(), Some(Unit::Many(_)));
        let is_allowed = match self.context.config.parallel {
            // A batch that has come is still written for a while: one more is under way, so that the link does not stand still.
            Some(parallel) => running < parallel.get() + usize::from(is_batch),
            // One more than the file being received is always under way.
            None => running < 2 || (running < LOOK_AHEAD_FILES && self.in_flight < LOOK_AHEAD_BYTES),
        };
        // Batches that wait for the disk are small, and the more of them wait at once the better.
        is_allowed && (!is_batch || self.batches < MAX_BATCHES || self.context.config.durable)
    }

    fn start(&mut self, unit: Unit) {
        let Some(job) = unit.first() else { return };
        let (first, lane) = (job.id, self.context.session(job).lane().cloned());
        // More than holds back the next one counts for nothing, and sizes are what the server says.
        let (weight, context) = (unit.weight().min(LOOK_AHEAD_BYTES), self.context.clone());
        let is_batch = matches!(unit, Unit::Many(_));
        let work = async move {
            match (unit, context.fleet.clone()) {
                (Unit::Many(batch), _) => batch::run(context, batch).await,
                (Unit::One(job), fleet) => {
                    let outcome = match fleet {
                        Some(fleet) => mirrors::file::run(context, fleet, job).await,
                        None => job::told(&context, &job, download::attempt(&context, &job).await),
                    };
                    Ended { outcomes: vec![(first, outcome)], alone: Vec::new() }
                }
            }
        };
        // Where its connection is driven.
        let started = match lane {
            Some(lane) => self.running.spawn_on(work, &lane),
            None => self.running.spawn(work),
        };
        self.in_flight += weight;
        self.batches += usize::from(is_batch);
        self.tasks.insert(started.id(), Task { first, weight, is_batch });
    }

    fn end(&mut self, joined: Result<(task::Id, Ended), task::JoinError>) {
        let id = joined.as_ref().map_or_else(task::JoinError::id, |(id, _)| *id);
        let Some(Task { first, weight, is_batch }) = self.tasks.remove(&id) else { return };
        self.in_flight -= weight;
        self.batches -= usize::from(is_batch);
        let ended = joined.map(|(_, ended)| ended).unwrap_or_else(|error| {
            // A bug in a download; its file cannot be named any more, the others go on.
            tracing::error!("a download ended without an outcome: {error}");
            let outcome = FileOutcome::failed("?", Failure::Local(error.to_string()));
            Ended { outcomes: vec![(first, outcome)], alone: Vec::new() }
        });
        ended.alone.into_iter().rev().for_each(|job| self.queue.push_front(Unit::One(job)));
        self.tell(ended.outcomes);
    }

    /// Tells how files ended: at once, or in sequential mode when their turn has come.
    fn tell(&mut self, ended: Vec<(FileId, FileOutcome)>) {
        let is_told = |outcome: &&FileOutcome| !(self.untold)(outcome);
        if self.context.config.parallel.is_some() {
            (self.done)(&ended.iter().map(|(_, outcome)| outcome).filter(is_told).collect::<Vec<_>>());
        }
        self.finished.extend(ended);
        if self.context.config.parallel.is_none() {
            let due: Vec<_> = (self.next_told..).map_while(|n| self.finished.get(&FileId(n))).collect();
            self.next_told += due.len();
            (self.done)(&due.into_iter().filter(is_told).collect::<Vec<_>>());
        }
    }
}
