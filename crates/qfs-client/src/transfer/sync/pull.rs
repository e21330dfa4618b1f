//! The directory here as the side that is written to.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use qfs_core::body::{Stages, flush_bytes};
use qfs_core::model::RemotePath;
use qfs_core::observe::FileId;
use qfs_core::store::{CommitSpec, Condition as Holds, StoreError, WriteStore};
use qfs_core::wire::{RemoteError, StatusCode};
use qfs_store::blocking;
use tokio::sync::mpsc;

use super::copy::copy;
use super::request::SyncConfig;
use super::target::{Performed, Target, Transferred, Wanted};
use super::there::{still_listed, whole_name};
use crate::config::{DEFAULT_PARALLEL, FetchConfig};
use crate::error::{Failure, store_failure};
use crate::plan::RemoteMeta;
use crate::plan::sync::{Condition, Seen, Step};
use crate::session::Session;
use crate::transfer::delta::Means;
use crate::transfer::delta::library::Library;
use crate::transfer::job::{Context, Job};
use crate::transfer::outcome::{FileOutcome, Status};
use crate::transfer::planned_store::PlannedStore;
use crate::transfer::put::Tree;
use crate::transfer::scheduler::Scheduler;

/// Files that the scheduler is given at once.
const PAGE_FILES: usize = 512;

/// Pages that wait for the scheduler.
const PAGES_AHEAD: usize = 2;

/// See the module.
pub(super) struct Here {
    pub(super) sessions: Arc<[Session]>,
    pub(super) prefix: Option<RemotePath>,
    pub(super) tree: Tree,
    pub(super) config: SyncConfig,
    /// Files transferred so far, which numbers the next.
    pub(super) files: usize,
}

impl Target for Here {
    const AT_ONCE: usize = 8;

    async fn perform(&self, step: &Step) -> Result<Performed, Failure> {
        let (tree, step, config) = (Arc::clone(&self.tree), step.clone(), self.config);
        let performed = blocking(move || perform(&tree, &step, config)).await;
        performed.map_err(|error| changed_or(store_failure(&error), &error))
    }

    async fn transfer(&mut self, files: Vec<Wanted>, done: &mut (dyn FnMut(Transferred) + Send)) {
        let mut steps = HashMap::with_capacity(files.len());
        let mut names = HashMap::with_capacity(files.len());
        let mut jobs = Vec::with_capacity(files.len());
        let first = self.files;
        for Wanted { step, path, file, onto } in files {
            let name = match whole_name(self.prefix.as_ref(), &path) {
                Ok(name) => name,
                Err(error) => {
                    done(Transferred::failed(step, Failure::InvalidName(error)));
                    continue;
                }
            };
            let remote = RemoteMeta {
                size: file.size,
                modified: file.modified,
                executable: file.executable.unwrap_or_default(),
            };
            steps.insert(name.as_str().to_owned(), step);
            names.insert(name.clone(), (path, condition(&onto)));
            let id = FileId(first + jobs.len());
            let replaced = if let Condition::File(seen) = &onto { Some(seen.size) } else { None };
            let (remote, digest) = (Some(remote), file.sha256);
            jobs.push(Job { id, path: name, remote, digest, local: Ok(None), replaced, priority: 0 });
        }
        self.files += jobs.len();
        let context = self.context(names);
        let (sender, pages) = mpsc::channel(PAGES_AHEAD);
        let feeding = async move {
            for page in jobs.chunks(PAGE_FILES) {
                if sender.send(page.to_vec()).await.is_err() {
                    return;
                }
            }
        };
        let mut vanished = Vec::new();
        let mut told = |ended: &[&FileOutcome]| {
            for outcome in ended {
                let Some(step) = steps.remove(&outcome.name) else { continue };
                match Transferred::of(step, outcome, ending(outcome)) {
                    gone @ Transferred { ended: Err(Failure::Vanished), .. } => {
                        vanished.push((outcome.name.clone(), gone));
                    }
                    transferred => done(transferred),
                }
            }
        };
        let fetching = Scheduler::new(context, first, |_| false, &mut told).run(pages);
        tokio::join!(feeding, fetching);
        let prefix = self.prefix.as_ref();
        let listed = match &vanished[..] {
            [] => Ok(HashSet::new()),
            _ => still_listed(&self.sessions[0], prefix)
                .await
                .map(|listed| listed.keys().filter_map(|name| whole_name(prefix, name).ok()).collect::<HashSet<_>>()),
        };
        for (name, gone) in vanished {
            let is_there = |name: &RemotePath| listed.as_ref().map(|listed| listed.contains(name));
            let failure = match RemotePath::parse(&name).as_ref().map(is_there) {
                Ok(Ok(true)) => Failure::UnreadableThere,
                Ok(Ok(false)) | Err(_) => Failure::Vanished,
                // Whether it is gone cannot be told.
                Ok(Err(failure)) => failure.clone(),
            };
            done(Transferred { ended: Err(failure), ..gone });
        }
        // A download that ended without an outcome has no name.
        for step in steps.into_values() {
            done(Transferred::failed(step, Failure::Local("it ended without an outcome".to_owned())));
        }
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        if !self.config.durable {
            return Ok(());
        }
        let tree = Arc::clone(&self.tree);
        blocking(move || tree.store().sync_directories()).await.map_err(|error| store_failure(&error))
    }
}

impl Here {
    fn context(&self, names: HashMap<RemotePath, (RemotePath, Holds)>) -> Context {
        let parallel = self.config.parallel.unwrap_or(DEFAULT_PARALLEL);
        let config = FetchConfig {
            parallel: Some(parallel),
            connections: self.config.connections,
            // The store replaces what the plan names, and nothing else.
            overwrite: true,
            durable: self.config.durable,
            dense: self.config.dense,
            whole: self.config.whole,
            perms: self.config.perms,
            ..FetchConfig::default()
        };
        Context {
            sessions: Arc::clone(&self.sessions),
            store: Arc::new(PlannedStore::new(self.tree.store().clone(), names)) as Arc<dyn WriteStore>,
            config,
            flush: flush_bytes(NonZeroUsize::get(parallel).max(self.sessions.len())),
            stages: Arc::new(Stages::default()),
            fleet: None,
            singly: Arc::default(),
            delta: Arc::new(Means::new(Library::default())),
        }
    }
}

/// What must be here for a file to be put there.
fn condition(onto: &Condition) -> Holds {
    match onto {
        Condition::File(Seen { etag: Some(etag), .. }) => Holds::Matches(etag.clone()),
        // A link is never replaced by a file, and every file here has an etag.
        Condition::Absent | Condition::Link(_) | Condition::File(_) => Holds::Absent,
    }
}

fn ending(outcome: &FileOutcome) -> Result<(), Failure> {
    match &outcome.status {
        Status::Failed(Failure::Refused(RemoteError { code: StatusCode::NOT_FOUND, .. })) => Err(Failure::Vanished),
        Status::Failed(Failure::Exists) => Err(Failure::TargetChanged),
        Status::Failed(failure) => Err(failure.clone()),
        _ => Ok(()),
    }
}

/// What is reported of a step whose condition does not hold any more.
fn changed_or(failure: Failure, error: &StoreError) -> Failure {
    match error {
        StoreError::Conflict | StoreError::Exists | StoreError::NotFound | StoreError::Changed => {
            Failure::TargetChanged
        }
        _ => failure,
    }
}

fn perform(tree: &Tree, step: &Step, config: SyncConfig) -> Result<Performed, StoreError> {
    let (store, durable) = (tree.store(), config.durable);
    match step {
        Step::MakeDirectory { path } => store.make_directory(path, None, durable)?,
        Step::SetDirectoryTime { path, modified } => store.make_directory(path, Some(*modified), durable)?,
        Step::CopyOnTarget { from, seen, to, file } => {
            let executable = file.executable.filter(|executable| *executable && config.perms);
            let spec = CommitSpec { modified: file.modified, executable, condition: Holds::Absent, durable };
            copy(tree, from, seen.etag.as_ref(), to, file, &spec)?;
        }
        Step::MakeLink { path, text, onto } => {
            if let Condition::Link(old) = onto {
                store.remove_link(path, Some(old), durable)?;
            }
            store.make_link(path, text, durable)?;
        }
        Step::SetMetadata { path, seen, modified, executable } => {
            let version = seen.etag.as_ref().ok_or(StoreError::Conflict)?;
            store.set_metadata(path, Some(version), *modified, *executable)?;
        }
        Step::RemoveFile { path, seen } => {
            let etag = seen.etag.clone().ok_or(StoreError::Conflict)?;
            gone_is_fine(store.remove(path, &Holds::Matches(etag), durable))?;
        }
        Step::RemoveLink { path, text } => gone_is_fine(store.remove_link(path, Some(text), durable))?,
        Step::RemoveDirectory { path } => match gone_is_fine(store.remove_directory(path, durable)) {
            Err(StoreError::NotEmpty) => return Ok(Performed::Kept),
            removed => removed?,
        },
        Step::Transfer { .. } => return Err(StoreError::Unsupported),
    }
    Ok(Performed::Done)
}

/// What is to be removed may have been removed by somebody else.
fn gone_is_fine(removed: Result<(), StoreError>) -> Result<(), StoreError> {
    match removed {
        Err(StoreError::NotFound) => Ok(()),
        removed => removed,
    }
}
