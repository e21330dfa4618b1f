//! A whole run: what is asked for by name, then what turned out to be directories, and what came of all of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use qfs_core::body::{Stages, flush_bytes};
use qfs_core::observe::{Event, FileId, Observer};
use qfs_core::store::WriteStore;
use qfs_core::wire::StatusCode;
use qfs_store::blocking;
use tokio::sync::mpsc;

use crate::config::FetchConfig;
use crate::error::{Failure, store_failure};
use crate::insight::bottleneck::Measurements;
use crate::insight::gauge::Gauge;
use crate::mirrors::fleet::Fleet;
use crate::plan::nesting::parents;
use crate::plan::selection::Selection;
use crate::session::{Session, Wide};
use crate::transfer::delta::Means;
use crate::transfer::delta::library::Library;
use crate::transfer::job::Context;
use crate::transfer::outcome::{FileOutcome, RunOutcome, Status};
use crate::transfer::planner::{PLANNED_PAGES, Planner};
use crate::transfer::scheduler::{LOOK_AHEAD_FILES, Scheduler};

/// Fetches what `selection` means, tells `observer` of it, and `done` of the files as they end, those that end together together: in
/// order when one after another. What lies below names that turn out to be directories comes last.
///
/// # Errors
/// [`Failure`] when the listing cannot be had. Failures of single files are in the outcome.
pub async fn fetch(
    session: &Session,
    store: Arc<dyn WriteStore>,
    selection: Selection,
    config: FetchConfig,
    observer: Arc<dyn Observer>,
    done: &mut (dyn FnMut(&[&FileOutcome]) + Send),
) -> Result<RunOutcome, Failure> {
    fetch_with(session, store, Library::default(), selection, config, observer, done).await
}

/// As [`fetch`], where what is in the files of `library` need not be received.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_with(
    session: &Session,
    store: Arc<dyn WriteStore>,
    library: Library,
    selection: Selection,
    config: FetchConfig,
    observer: Arc<dyn Observer>,
    done: &mut (dyn FnMut(&[&FileOutcome]) + Send),
) -> Result<RunOutcome, Failure> {
    let session = session.observed_by(Arc::clone(&observer));
    let wide = session.widen(config.connections).await?;
    let fetching = Fetching { wide, fleet: None, store, library, config, observer };
    fetching.run(selection, done).await
}

/// As [`fetch_with`], from several servers. What patterns and directories mean, the first of them that was reached says.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_from(
    fleet: &Arc<Fleet>,
    store: Arc<dyn WriteStore>,
    library: Library,
    selection: Selection,
    config: FetchConfig,
    observer: Arc<dyn Observer>,
    done: &mut (dyn FnMut(&[&FileOutcome]) + Send),
) -> Result<RunOutcome, Failure> {
    let first = fleet.first().ok_or_else(|| Failure::ConnectionLost("no server is left".to_owned()))?;
    // What is measured is one connection's.
    let config = FetchConfig { measured: false, ..config };
    let fleet = Some(Arc::clone(fleet));
    Fetching { wide: Wide::one(first), fleet, store, library, config, observer }.run(selection, done).await
}

/// What a run is made with.
struct Fetching {
    wide: Wide,
    fleet: Option<Arc<Fleet>>,
    store: Arc<dyn WriteStore>,
    library: Library,
    config: FetchConfig,
    observer: Arc<dyn Observer>,
}

impl Fetching {
    async fn run(
        self,
        selection: Selection,
        done: &mut (dyn FnMut(&[&FileOutcome]) + Send),
    ) -> Result<RunOutcome, Failure> {
        let Self { wide, fleet, store, library, config, observer } = self;
        let begun = Instant::now();
        let streams = config.parallel.map_or(2, std::num::NonZero::get);
        let (sessions, stages) = (Arc::clone(wide.sessions()), Arc::<Stages>::default());
        let flush = flush_bytes(streams.max(sessions.len()));
        let context = Context {
            sessions: Arc::clone(&sessions),
            store: Arc::clone(&store),
            config,
            flush,
            stages: Arc::clone(&stages),
            delta: Arc::new(Means::new(library)),
            fleet,
            singly: Arc::default(),
        };
        let partial = AtomicBool::new(false);
        let work = Run { context, observer, done, partial: &partial }.all(&selection);
        let (gauge, files) = if config.measured {
            let mut gauge = Gauge::begin(&sessions).await;
            let files = gauge.watch(work).await;
            (Some(gauge), files)
        } else {
            (None, work.await)
        };
        let measured = match gauge {
            Some(gauge) => Some(gauge.end(stages.times()).await),
            None => None,
        };
        wide.close().await;
        let files = files?;
        if config.durable && files.iter().any(|file| !matches!(file.status, Status::Failed(_))) {
            blocking(move || store.sync_directories()).await.map_err(|e| store_failure(&e))?;
        }
        let elapsed = begun.elapsed();
        let server_is_partial = partial.into_inner();
        let mut outcome = RunOutcome { files, elapsed, measured: None, server_is_partial };
        outcome.measured = measured.map(|measured| Measurements {
            elapsed,
            bytes: outcome.received(),
            files: outcome.files.len() as u64,
            at_once: config.parallel.map_or(LOOK_AHEAD_FILES, std::num::NonZero::get) as u64,
            ..measured
        });
        Ok(outcome)
    }
}

struct Run<'a> {
    context: Context,
    observer: Arc<dyn Observer>,
    done: &'a mut (dyn FnMut(&[&FileOutcome]) + Send),
    /// Set when the server could not list everything.
    partial: &'a AtomicBool,
}

impl Run<'_> {
    async fn all(mut self, selection: &Selection) -> Result<Vec<FileOutcome>, Failure> {
        let untold = if selection.needs_listing() { |_: &FileOutcome| false } else { may_be_directory };
        let (mut files, failed) = self.round(selection, 0, 0, untold).await;
        let failed = failed?;
        (self.done)(&failed.iter().collect::<Vec<_>>());
        if selection.needs_listing() {
            return Ok(files.into_values().chain(failed).collect());
        }
        let mut below = self.directories(&mut files).await;
        // What lies below a directory stands in its place.
        let expand = |outcome: FileOutcome| below.remove(&outcome.name).unwrap_or_else(|| vec![outcome]);
        Ok(files.into_values().flat_map(expand).chain(failed).collect())
    }

    /// Fetches what lies below those of `files` that are directories, and returns it by their names. Others that might have been
    /// some have failed, and are told.
    async fn directories(&mut self, files: &mut BTreeMap<FileId, FileOutcome>) -> HashMap<String, Vec<FileOutcome>> {
        let doubtful: HashSet<FileId> =
            files.iter().filter(|(_, outcome)| may_be_directory(outcome)).map(|(file, _)| *file).collect();
        if doubtful.is_empty() {
            return HashMap::new();
        }
        doubtful.iter().for_each(|file| self.observer.event(Event::Expanded { file: *file }));
        let names: Vec<_> =
            files.iter().filter(|(file, _)| doubtful.contains(file)).map(|(_, file)| file.name.clone()).collect();
        let (next, before) = (files.len(), files.len() - names.len());
        let mut below: HashMap<_, Vec<_>> = names.iter().map(|name| (name.clone(), Vec::new())).collect();
        let selection = Selection::directories(names.into_iter());
        let (found, failed) = self.round(&selection, next, before, |_| false).await;
        for outcome in found.into_values() {
            let above = at_or_above(&outcome.name).find(|name| below.contains_key(*name)).map(str::to_owned);
            below.entry(above.unwrap_or_default()).or_default().push(outcome);
        }
        below.retain(|_, found| !found.is_empty());
        let wrong =
            files.iter_mut().filter(|(file, outcome)| doubtful.contains(file) && !below.contains_key(&outcome.name));
        let wrong = wrong.map(|(_, outcome)| {
            if let Err(failure) = &failed {
                outcome.status = Status::Failed(failure.clone());
            }
            &*outcome
        });
        (self.done)(&wrong.collect::<Vec<_>>());
        below
    }

    /// Fetches what `selection` means. The first file has the number `next`, and `files` have been planned before. Returns what
    /// became of files, told but for those that are `untold`, and what could not become one, not told.
    async fn round(
        &mut self,
        selection: &Selection,
        next: usize,
        files: usize,
        untold: fn(&FileOutcome) -> bool,
    ) -> (BTreeMap<FileId, FileOutcome>, Result<Vec<FileOutcome>, Failure>) {
        let (planned, jobs) = mpsc::channel(PLANNED_PAGES);
        let planner = Planner::new(
            &self.context.sessions[0],
            self.context.fleet.as_ref(),
            &self.context.store,
            &self.observer,
            self.partial,
            next,
            files,
        );
        let scheduler = Scheduler::new(self.context.clone(), next, untold, &mut *self.done);
        let (failed, files) = tokio::join!(planner.run(selection, planned), scheduler.run(jobs));
        (files, failed)
    }
}

/// `name` and the directories that it lies in, from the top.
fn at_or_above(name: &str) -> impl Iterator<Item = &str> {
    parents(name).chain([name])
}

/// Whether a name of which no more was known may be that of a directory: there is no such file, or here is no file.
fn may_be_directory(outcome: &FileOutcome) -> bool {
    match &outcome.status {
        Status::Failed(Failure::Refused(error)) => error.code == StatusCode::NOT_FOUND,
        Status::Failed(Failure::NotRegular) => true,
        _ => false,
    }
}
