//! Handles of the directories that files are written to, and which of them await an fsync.
//!
//! Writing 10,000 files into 100 directories resolves 100 paths, not 10,000.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::directory::{Directory, DirectoryId, identify};
use super::errors::{io_error, write_error};
use super::leftovers::Leftovers;
use super::resolve;
use crate::sync::lock;
use qfs_core::store::StoreError;

/// Handles kept: one file descriptor each.
const MAX_RECENT: usize = 32;

/// Directories that wait for [`Directories::sync`], one file descriptor each. One more is synced at once.
const MAX_CHANGED: usize = 128;

/// A handle is used this long before its path is resolved anew, so that a directory renamed or replaced meanwhile does
/// not go on receiving files.
const REVALIDATE_AFTER: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Directories {
    root: OwnedFd,
    /// How many directories, the root and upwards, were made for this store.
    levels_made: usize,
    /// Most recently used first.
    recent: Mutex<Vec<Recent>>,
    changed: Mutex<HashMap<DirectoryId, Arc<Directory>>>,
    leftovers: Leftovers,
}

#[derive(Debug)]
struct Recent {
    path: Box<str>,
    directory: Arc<Directory>,
    resolved: Instant,
}

impl Directories {
    pub(super) fn new(root: OwnedFd, levels_made: usize) -> Self {
        Self { root, levels_made, recent: Mutex::default(), changed: Mutex::default(), leftovers: Leftovers::default() }
    }

    pub(super) fn leftovers(&self) -> &Leftovers {
        &self.leftovers
    }

    /// The directory `path`, empty for the root; None when there is none.
    pub(super) fn find(&self, path: &str) -> Result<Option<Arc<Directory>>, StoreError> {
        match self.resolve(path, |root, path| resolve::open_directory(root, path)) {
            Err(StoreError::NotFound) => Ok(None),
            found => found.map(Some),
        }
    }

    /// The directory `path`, empty for the root, made where it is missing.
    pub(super) fn make(&self, path: &str) -> Result<Arc<Directory>, StoreError> {
        self.resolve(path, |root, path| resolve::make_directory(root, path))
    }

    /// Lets the next use of `path`, or of anything in it, resolve it anew.
    pub(super) fn forget(&self, path: &str) {
        let is_in = |name: &str| name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        lock(&self.recent).retain(|recent| !is_in(&recent.path));
    }

    fn resolve(
        &self,
        path: &str,
        open: impl Fn(&OwnedFd, &str) -> Result<OwnedFd, Errno>,
    ) -> Result<Arc<Directory>, StoreError> {
        if let Some(directory) = self.recall(path) {
            return Ok(directory);
        }
        let handle = open(&self.root, path).map_err(write_error)?;
        let depth = if path.is_empty() { 0 } else { path.split('/').count() };
        Ok(self.remember(path, Directory::new(handle, depth)?))
    }

    fn recall(&self, path: &str) -> Option<Arc<Directory>> {
        let mut recent = lock(&self.recent);
        let at = recent.iter().position(|recent| *recent.path == *path)?;
        if recent[at].resolved.elapsed() > REVALIDATE_AFTER {
            return None;
        }
        recent[..=at].rotate_right(1);
        Some(Arc::clone(&recent[0].directory))
    }

    fn remember(&self, path: &str, directory: Directory) -> Arc<Directory> {
        let mut recent = lock(&self.recent);
        let directory = Arc::new(directory);
        recent.retain(|recent| *recent.path != *path);
        recent.truncate(MAX_RECENT - 1);
        recent.insert(0, Recent { path: path.into(), directory: Arc::clone(&directory), resolved: Instant::now() });
        directory
    }

    /// Notes that `directory` has a new entry that [`Self::sync`] shall make durable.
    pub(super) fn mark_changed(&self, directory: &Arc<Directory>) -> Result<(), StoreError> {
        {
            let mut changed = lock(&self.changed);
            if changed.contains_key(&directory.id()) {
                return Ok(());
            }
            if changed.len() < MAX_CHANGED {
                changed.insert(directory.id(), Arc::clone(directory));
                return Ok(());
            }
        }
        self.sync_upwards(directory, &mut HashSet::new())
    }

    /// Brings every changed directory, and the directories it is in, to stable storage.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let changed = std::mem::take(&mut *lock(&self.changed));
        let mut synced = HashSet::new();
        let mut result = Ok(());
        for directory in changed.values() {
            result = result.and(self.sync_upwards(directory, &mut synced));
        }
        result
    }

    /// Syncs `directory` and its parents up to the root, or above it where those were made for it: an entry is only as
    /// durable as the way to it, and a former run may have made the way without syncing it.
    fn sync_upwards(&self, directory: &Directory, synced: &mut HashSet<DirectoryId>) -> Result<(), StoreError> {
        if !synced.insert(directory.id()) {
            return Ok(());
        }
        sync_one(directory.handle())?;
        let mut parent: Option<OwnedFd> = None;
        for _ in 0..directory.depth() + self.levels_made {
            let below = parent.as_ref().map_or(directory.handle(), AsFd::as_fd);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let handle = retry_on_intr(|| rustix::fs::openat(below, "..", flags, Mode::empty())).map_err(io_error)?;
            if !synced.insert(identify(&handle)?) {
                break;
            }
            sync_one(handle.as_fd())?;
            parent = Some(handle);
        }
        Ok(())
    }
}

fn sync_one(handle: BorrowedFd<'_>) -> Result<(), StoreError> {
    match retry_on_intr(|| rustix::fs::fsync(handle)) {
        // Some network and FUSE file systems have no fsync for directories: entries are as durable as they get.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(write_error(error)),
    }
}
