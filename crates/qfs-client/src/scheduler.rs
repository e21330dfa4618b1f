//! Which files are under way at once, and in which order their ends are told.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qfs_core::body::{Stages, blocking, flush_bytes};
use qfs_core::model::{EntryMeta, RemotePath};
use qfs_core::observe::{Event, FileId, Observer};
use qfs_core::store::WriteStore;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::bottleneck::Measurements;
use crate::config::FetchConfig;
use crate::download::{self, Context, Job};
use crate::error::{Failure, store_failure};
use crate::exchange;
use crate::gauge::Gauge;
use crate::nesting;
use crate::outcome::{FileOutcome, RunOutcome, Status};
use crate::plan::RemoteMeta;
use crate::selection::Selection;
use crate::session::Session;

/// In sequential mode the next requests are under way already, so that the link never idles; the server sends them in order.
/// Most files of that look-ahead.
const LOOK_AHEAD_FILES: usize = 64;

/// Most bytes of that look-ahead beyond the file being received, as far as sizes are known.
const LOOK_AHEAD_BYTES: u64 = 4 << 20;

/// What a file of unknown size counts for in the look-ahead, in bytes.
const UNKNOWN_SIZE_BYTES: u64 = 256 << 10;

/// Batches of jobs that wait between planning and fetching. A batch is a page of the listing, some 500 rows.
const PLANNED_BATCHES: usize = 4;

/// Names looked up on disk in one step.
const BATCH_FILES: usize = 512;

/// Fetches what `selection` means, and tells `done` of each file: in order when one after another, as they end when in parallel.
///
/// # Errors
/// [`Failure`] when the listing cannot be had. Failures of single files are in the outcome.
pub async fn fetch(
    session: &Session,
    store: Arc<dyn WriteStore>,
    selection: Selection,
    config: FetchConfig,
    observer: Arc<dyn Observer>,
    done: &mut dyn FnMut(&FileOutcome),
) -> Result<RunOutcome, Failure> {
    let begun = Instant::now();
    let (planned, jobs) = mpsc::channel(PLANNED_BATCHES);
    let planner = Planner { session, store: &store, observer: &observer, next: 0, bytes: 0 };
    let streams = config.parallel.map_or(2, std::num::NonZero::get);
    let sessions = session.widen(config.connections).await?;
    let flush = flush_bytes(streams.max(sessions.len()));
    let (sessions, stages): (Arc<[Session]>, Arc<Stages>) = (sessions.into(), Arc::default());
    let context = Context {
        sessions: Arc::clone(&sessions),
        store: Arc::clone(&store),
        config,
        flush,
        stages: Arc::clone(&stages),
    };
    let scheduler = Scheduler::new(context, &mut *done);
    let work = async { tokio::join!(planner.run(selection, planned), scheduler.run(jobs)) };
    let (gauge, (plan, mut files)) = if config.measured {
        let mut gauge = Gauge::begin(&sessions);
        let done = gauge.watch(work).await;
        (Some(gauge), done)
    } else {
        (None, work.await)
    };
    let measured = gauge.map(|gauge| gauge.end(stages.times()));
    for session in sessions[1..].iter().cloned() {
        session.close().await;
    }
    for outcome in plan? {
        done(&outcome);
        files.push(outcome);
    }
    if config.durable && files.iter().any(|file| !matches!(file.status, Status::Failed(_))) {
        blocking(move || store.sync_directories()).await.map_err(|e| store_failure(&e))?;
    }
    let elapsed = begun.elapsed();
    let mut outcome = RunOutcome { files, elapsed, measured: None };
    outcome.measured = measured.map(|measured| Measurements {
        elapsed,
        bytes: outcome.received(),
        files: outcome.files.len() as u64,
        at_once: config.parallel.map_or(LOOK_AHEAD_FILES, std::num::NonZero::get) as u64,
        ..measured
    });
    Ok(outcome)
}

/// A file that is meant.
struct Row {
    path: RemotePath,
    /// What the listing says, when there is one.
    meta: Option<EntryMeta>,
    /// Another file that is meant, below which this one would have to lie.
    above: Option<RemotePath>,
}

/// Turns the selection into jobs, while the first of them are being fetched.
struct Planner<'a> {
    session: &'a Session,
    store: &'a Arc<dyn WriteStore>,
    observer: &'a Arc<dyn Observer>,
    next: usize,
    bytes: u64,
}

impl Planner<'_> {
    /// Returns the outcomes of what could not become a job.
    async fn run(mut self, selection: Selection, planned: mpsc::Sender<Vec<Job>>) -> Result<Vec<FileOutcome>, Failure> {
        if selection.needs_listing() {
            self.plan_listed(&selection, planned).await
        } else {
            self.plan_named(&selection, planned).await
        }
    }

    async fn plan_named(
        &mut self,
        selection: &Selection,
        planned: mpsc::Sender<Vec<Job>>,
    ) -> Result<Vec<FileOutcome>, Failure> {
        let mut failed = Vec::new();
        let nesting = nesting::Named::new(selection.items().iter().map(|item| item.text.as_str()));
        for names in selection.items().chunks(BATCH_FILES) {
            let mut rows = Vec::with_capacity(names.len());
            for item in names {
                match RemotePath::parse(&item.text) {
                    Ok(path) => rows.push(Row { above: nesting.above(&path), path, meta: None }),
                    Err(error) => failed.push(failed_outcome(&item.text, Failure::InvalidName(error))),
                }
            }
            self.plan(rows, &planned).await;
        }
        Ok(failed)
    }

    async fn plan_listed(
        &mut self,
        selection: &Selection,
        planned: mpsc::Sender<Vec<Job>>,
    ) -> Result<Vec<FileOutcome>, Failure> {
        let (pages, mut rows) = mpsc::unbounded_channel();
        let mut matched = vec![false; selection.items().len()];
        let listing = async {
            // Moved in, so that the channel ends with the listing.
            let pages = pages;
            let mut on_page = |page: Vec<(RemotePath, EntryMeta)>| {
                let wanted: Vec<_> =
                    page.into_iter().filter(|(path, _)| is_wanted(selection, path, &mut matched)).collect();
                if pages.send(wanted).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            exchange::list(self.session, &mut on_page).await
        };
        let mut planner = Planner { next: self.next, bytes: self.bytes, ..*self };
        let planning = async {
            let mut nesting = nesting::Listed::default();
            while let Some(page) = rows.recv().await {
                let row = |(path, meta)| Row { above: nesting.above(&path), path, meta: Some(meta) };
                planner.plan(page.into_iter().map(row).collect(), &planned).await;
            }
        };
        let (listed, ()) = tokio::join!(listing, planning);
        listed?;
        let unmatched = selection.items().iter().zip(matched).filter(|(_, matched)| !matched);
        Ok(unmatched.map(|(item, _)| failed_outcome(&item.text, Failure::NoMatch)).collect())
    }

    /// Looks up what is there already of a batch, in one step on a blocking thread, and passes the jobs on.
    async fn plan(&mut self, rows: Vec<Row>, planned: &mpsc::Sender<Vec<Job>>) {
        if rows.is_empty() {
            return;
        }
        let first = self.next;
        self.next += rows.len();
        self.bytes += rows.iter().filter_map(|row| row.meta.as_ref()).map(|meta| meta.size).sum::<u64>();
        self.observer.event(Event::Planned { files: self.next, bytes: self.bytes });
        let store = Arc::clone(self.store);
        let looked_up = blocking(move || {
            let jobs = rows.into_iter().enumerate().map(|(i, Row { path, meta, above })| {
                let local = match above {
                    Some(above) => Err(Failure::BelowFile(above)),
                    None => store.existing(&path).map_err(|e| store_failure(&e)),
                };
                let remote = meta.as_ref().map(|m| RemoteMeta { size: m.size, modified: m.modified });
                let digest = meta.and_then(|m| m.sha256);
                Job { id: FileId(first + i), path, remote, digest, local, priority: 0 }
            });
            Ok(jobs.collect::<Vec<_>>())
        });
        if let Ok(jobs) = looked_up.await {
            // Nobody receives any more only when the run is being given up.
            let _ = planned.send(jobs).await;
        }
    }
}

fn is_wanted(selection: &Selection, path: &RemotePath, matched: &mut [bool]) -> bool {
    let mut wanted = selection.is_everything();
    for (item, matched) in selection.items().iter().zip(matched) {
        if item.matches(path) {
            *matched = true;
            wanted = true;
        }
    }
    wanted
}

fn failed_outcome(name: &str, failure: Failure) -> FileOutcome {
    FileOutcome {
        name: name.to_owned(),
        size: None,
        sha256: None,
        status: Status::Failed(failure),
        received: 0,
        elapsed: Duration::ZERO,
    }
}

/// Keeps the right number of downloads under way.
struct Scheduler<'a> {
    context: Context,
    done: &'a mut dyn FnMut(&FileOutcome),
    running: JoinSet<(FileId, FileOutcome)>,
    /// What each running file counts for in the look-ahead.
    weights: HashMap<FileId, u64>,
    in_flight: u64,
    queue: VecDeque<Job>,
    finished: BTreeMap<FileId, FileOutcome>,
    /// In sequential mode, the next file whose end is told.
    next_told: usize,
}

impl<'a> Scheduler<'a> {
    fn new(context: Context, done: &'a mut dyn FnMut(&FileOutcome)) -> Self {
        Self {
            context,
            done,
            running: JoinSet::new(),
            weights: HashMap::new(),
            in_flight: 0,
            queue: VecDeque::new(),
            finished: BTreeMap::new(),
            next_told: 0,
        }
    }

    /// Runs until all jobs are done; returns their outcomes in order.
    async fn run(mut self, mut jobs: mpsc::Receiver<Vec<Job>>) -> Vec<FileOutcome> {
        let mut planning = true;
        loop {
            while self.may_start()
                && let Some(job) = self.queue.pop_front()
            {
                self.start(job);
            }
            if !planning && self.running.is_empty() && self.queue.is_empty() {
                break;
            }
            tokio::select! {
                batch = jobs.recv(), if planning && self.queue.is_empty() => match batch {
                    Some(batch) => self.queue.extend(batch),
                    None => planning = false,
                },
                Some(joined) = self.running.join_next() => self.end(joined),
            }
        }
        self.finished.into_values().collect()
    }

    fn may_start(&self) -> bool {
        match self.context.config.parallel {
            Some(parallel) => self.running.len() < parallel.get(),
            // One more than the file being received is always under way.
            None => {
                self.running.len() < 2 || (self.running.len() < LOOK_AHEAD_FILES && self.in_flight < LOOK_AHEAD_BYTES)
            }
        }
    }

    fn start(&mut self, mut job: Job) {
        let weight = job.remote.map_or(UNKNOWN_SIZE_BYTES, |remote| remote.size);
        self.weights.insert(job.id, weight);
        self.in_flight += weight;
        if self.context.config.parallel.is_none() {
            job.priority = i32::try_from(job.id.0).map_or(i32::MIN, |n| -n);
        }
        let context = self.context.clone();
        self.running.spawn(async move { (job.id, download::run(context, job).await) });
    }

    fn end(&mut self, joined: Result<(FileId, FileOutcome), tokio::task::JoinError>) {
        let (id, outcome) = match joined {
            Ok(ended) => ended,
            // A bug in a download; its file cannot be named any more, the others go on.
            Err(error) => {
                tracing::error!(%error, "a download ended without an outcome");
                let id = FileId(usize::MAX - self.running.len());
                (id, failed_outcome("?", Failure::Local(error.to_string())))
            }
        };
        self.in_flight -= self.weights.remove(&id).unwrap_or_default();
        if self.context.config.parallel.is_some() {
            (self.done)(&outcome);
        }
        self.finished.insert(id, outcome);
        if self.context.config.parallel.is_none() {
            while let Some(outcome) = self.finished.get(&FileId(self.next_told)) {
                (self.done)(outcome);
                self.next_told += 1;
            }
        }
    }
}
