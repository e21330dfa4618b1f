//! From the selection to jobs: what is meant, what the listing says of it, and what is there already.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use qfs_core::model::{EntryMeta, RemotePath};
use qfs_core::observe::{Event, FileId, Observer};
use qfs_core::store::WriteStore;
use qfs_store::blocking;
use tokio::sync::mpsc;

use crate::error::{Failure, store_failure};
use crate::mirrors::fleet::Fleet;
use crate::mirrors::listing;
use crate::plan::RemoteMeta;
use crate::plan::nesting;
use crate::plan::selection::Selection;
use crate::plan::sieve::Sieve;
use crate::session::Session;
use crate::session::exchange;
use crate::transfer::job::Job;
use crate::transfer::outcome::FileOutcome;

/// Names looked up on disk in one step.
const LOOKED_UP_FILES: usize = 512;

/// Pages of jobs that wait between planning and fetching; a page of the listing has some 500 rows.
pub(crate) const PLANNED_PAGES: usize = 4;

/// A file that is meant.
struct Row {
    path: RemotePath,
    /// What the listing says, when there is one.
    meta: Option<EntryMeta>,
    /// Another file that is meant, below which this one would have to lie.
    above: Option<RemotePath>,
}

/// Turns the selection into jobs, while the first of them are being fetched.
pub(crate) struct Planner<'a> {
    session: &'a Session,
    /// The servers, where there are several.
    fleet: Option<&'a Arc<Fleet>>,
    store: &'a Arc<dyn WriteStore>,
    observer: &'a Arc<dyn Observer>,
    /// Set when the server could not list everything.
    partial: &'a AtomicBool,
    next: usize,
    files: usize,
    bytes: u64,
}

impl<'a> Planner<'a> {
    /// Numbers files from `next` on, after `files` of the run were planned before.
    pub(crate) fn new(
        session: &'a Session,
        fleet: Option<&'a Arc<Fleet>>,
        store: &'a Arc<dyn WriteStore>,
        observer: &'a Arc<dyn Observer>,
        partial: &'a AtomicBool,
        next: usize,
        files: usize,
    ) -> Self {
        Self { session, fleet, store, observer, partial, next, files, bytes: 0 }
    }

    /// Returns the outcomes of what could not become a job.
    pub(crate) async fn run(
        mut self,
        selection: &Selection,
        planned: mpsc::Sender<Vec<Job>>,
    ) -> Result<Vec<FileOutcome>, Failure> {
        if selection.needs_listing() {
            self.plan_listed(selection, planned).await
        } else {
            self.plan_named(selection, planned).await
        }
    }

    async fn plan_named(
        &mut self,
        selection: &Selection,
        planned: mpsc::Sender<Vec<Job>>,
    ) -> Result<Vec<FileOutcome>, Failure> {
        let mut failed = Vec::new();
        for names in selection.items().chunks(LOOKED_UP_FILES) {
            let mut rows = Vec::with_capacity(names.len());
            for item in names {
                match RemotePath::parse(&item.text) {
                    Ok(path) => rows.push(Row { above: None, path, meta: None }),
                    Err(error) => failed.push(FileOutcome::failed(&item.text, Failure::InvalidName(error))),
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
        let mut sieve = Sieve::new(selection);
        let listing_them = async {
            // Moved in, so that the channel ends with the listing.
            let pages = pages;
            let mut on_page = |page: Vec<(RemotePath, EntryMeta)>| {
                if pages.send(sieve.offer(page)).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            let listed = match self.fleet {
                Some(fleet) => listing::list(fleet, &mut on_page).await,
                None => exchange::list_telling(self.session, &mut on_page).await.map(|listed| listed.is_partial),
            };
            if let Ok(is_partial) = &listed {
                self.partial.fetch_or(*is_partial, Ordering::Relaxed);
                // Nobody receives any more only when the run is being given up.
                let _ = pages.send(sieve.end());
            }
            listed
        };
        let mut planner = Planner { next: self.next, files: self.files, bytes: self.bytes, ..*self };
        let planning = async {
            let mut nesting = nesting::Listed::default();
            while let Some(page) = rows.recv().await {
                let row = |(path, meta)| Row { above: nesting.above(&path), path, meta: Some(meta) };
                planner.plan(page.into_iter().map(row).collect(), &planned).await;
            }
        };
        let (listed, ()) = tokio::join!(listing_them, planning);
        listed?;
        Ok(sieve.unmatched().map(|item| FileOutcome::failed(&item.text, Failure::NoMatch)).collect())
    }

    /// Looks up what is there already of a batch, in one step on a blocking thread, and passes the jobs on.
    async fn plan(&mut self, rows: Vec<Row>, planned: &mpsc::Sender<Vec<Job>>) {
        if rows.is_empty() {
            return;
        }
        let first = self.next;
        self.next += rows.len();
        self.files += rows.len();
        // The sizes are what the server says.
        let sizes = rows.iter().filter_map(|row| row.meta.as_ref()).map(|meta| meta.size);
        self.bytes = sizes.fold(self.bytes, u64::saturating_add);
        self.observer.event(Event::Planned { files: self.files, bytes: self.bytes });
        let store = Arc::clone(self.store);
        let looked_up = blocking(move || {
            let existing = store.existing_all(&rows.iter().map(|row| &row.path).collect::<Vec<_>>());
            let jobs = rows.into_iter().zip(existing).enumerate().map(|(i, (Row { path, meta, above }, existing))| {
                let local = match above {
                    Some(above) => Err(Failure::BelowFile(above)),
                    None => existing.map_err(|e| store_failure(&e)),
                };
                let remote =
                    meta.as_ref().map(|m| RemoteMeta { size: m.size, modified: m.modified, executable: m.executable });
                let digest = meta.and_then(|m| m.digest);
                Job { id: FileId(first + i), path, remote, digest, local, replaced: None, priority: 0 }
            });
            Ok(jobs.collect::<Vec<_>>())
        });
        if let Ok(jobs) = looked_up.await {
            // Nobody receives any more only when the run is being given up.
            let _ = planned.send(jobs).await;
        }
    }
}
