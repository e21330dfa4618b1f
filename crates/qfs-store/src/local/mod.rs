//! A store on a directory of this machine: what the server publishes and where the client saves. Linux only.
//!
//! The only code that touches published or downloaded files. Everything is reached from one directory handle, by
//! `resolve`; no path is ever joined to another as text. Knows nothing of the wire.
//!
//! | module | owns |
//! |---|---|
//! | `resolve` | how a name becomes a handle without leaving the root |
//! | `stamp` | what fstat says, as etag and metadata |
//! | `read`, `list` | the reading half |
//! | `directory`, `directories` | the handles of directories written to, and their fsync |
//! | `partial` | names of partial files and the frontier record |
//! | `leftovers` | removal of partial files nobody will continue |
//! | `stage`, `put`, `rename` | the writing half: large objects, small objects, and their final names |
//! | `shared` | what all of it works on |
//! | `errors` | what failures of the system mean |

#![allow(clippy::disallowed_methods, reason = "this is the place the rule sends everybody to")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use bytes::Bytes;
use jiff::Timestamp;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use qfs_core::model::RemotePath;
use qfs_core::store::{CommitSpec, Object, StageSpec, StagedObject, Store, StoreError, TargetMeta, Visit, WriteStore};

mod directories;
mod directory;
mod errors;
mod leftovers;
mod list;
mod partial;
mod put;
mod read;
mod rename;
mod resolve;
mod shared;
mod stage;
mod stamp;
#[cfg(test)]
mod tests;
mod write;

use directories::Directories;
use directory::Directory;
use errors::{io_error, write_error};
pub use list::Hidden;
use shared::Shared;
use stamp::Stamp;

/// A [`Store`] and [`WriteStore`] on a directory. Cloning is cheap and gives the same store.
#[derive(Debug, Clone)]
pub struct LocalStore {
    shared: Arc<Shared>,
    hidden: Hidden,
}

impl LocalStore {
    /// The store on the existing directory `path`. `path` itself may go through symbolic links; nothing below it may.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be opened as a directory.
    pub fn open_root(path: &Path) -> Result<Self, StoreError> {
        Self::with_root(path, 0)
    }

    /// As [`Self::open_root`], after making the directory and its parents where they are missing.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be made or opened.
    pub fn create_root(path: &Path) -> Result<Self, StoreError> {
        let made = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).count();
        std::fs::create_dir_all(path).map_err(StoreError::Io)?;
        Self::with_root(path, made)
    }

    fn with_root(path: &Path, levels_made: usize) -> Result<Self, StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()));
        let (root, second) = open().and_then(|root| Ok((root, open()?))).map_err(io_error)?;
        let shared = Shared {
            root,
            directories: Directories::new(second, levels_made),
            unlistable: list::Unlistable::default(),
            put_method: AtomicU8::default(),
        };
        Ok(Self { shared: Arc::new(shared), hidden: Hidden::default() })
    }

    /// The same store, with or without hidden names.
    #[must_use]
    pub fn hidden(mut self, hidden: Hidden) -> Self {
        self.hidden = hidden;
        self
    }

    /// Runs `act` on the directory of `path`, made as needed; once more with a fresh handle when the directory turns out
    /// to have been removed.
    fn with_directory<T>(
        &self,
        path: &RemotePath,
        act: impl Fn(&Arc<Directory>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let parent = path.parent().unwrap_or("");
        match self.shared.directories.make(parent).and_then(|directory| act(&directory)) {
            Err(StoreError::NotFound) => self.shared.directories.forget(parent),
            done => return done,
        }
        match self.shared.directories.make(parent).and_then(|directory| act(&directory)) {
            Err(StoreError::NotFound) => Err(io_error(Errno::NOENT)),
            done => done,
        }
    }
}

impl Store for LocalStore {
    fn open(&self, path: &RemotePath) -> Result<Arc<dyn Object>, StoreError> {
        if self.hidden == Hidden::Excluded && path.is_hidden() {
            return Err(StoreError::NotFound);
        }
        Ok(Arc::new(read::LocalObject::open(&self.shared.root, path)?))
    }

    fn list(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        list::list(&self.shared.root, self.hidden, &self.shared.unlistable, visit)
    }
}

fn existing_in(directory: Option<&Directory>, name: &str) -> Result<Option<TargetMeta>, StoreError> {
    let Some(directory) = directory else { return Ok(None) };
    let stat = match rustix::fs::statat(directory.handle(), name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(write_error(error)),
    };
    let stamp = Stamp::regular(&stat).ok_or(StoreError::NotRegular)?;
    Ok(Some(TargetMeta { size: stamp.size, modified: stamp.modified() }))
}

impl WriteStore for LocalStore {
    fn existing(&self, path: &RemotePath) -> Result<Option<TargetMeta>, StoreError> {
        existing_in(self.shared.directories.find(path.parent().unwrap_or(""))?.as_deref(), path.file_name())
    }

    /// Resolves a directory once for all names in it that follow each other, and one that is missing as well.
    fn existing_all(&self, paths: &[&RemotePath]) -> Vec<Result<Option<TargetMeta>, StoreError>> {
        let mut found: Option<(&str, Option<Arc<Directory>>)> = None;
        let existing = paths.iter().map(|path| {
            let parent = path.parent().unwrap_or("");
            let directory = match &found {
                Some((name, directory)) if *name == parent => directory,
                _ => &found.insert((parent, self.shared.directories.find(parent)?)).1,
            };
            existing_in(directory.as_deref(), path.file_name())
        });
        existing.collect()
    }

    fn stage(&self, path: &RemotePath, spec: &StageSpec) -> Result<Arc<dyn StagedObject>, StoreError> {
        self.with_directory(path, |directory| {
            let staged = stage::Staged::open(&self.shared, directory, path.file_name(), spec)?;
            Ok(Arc::new(staged) as Arc<dyn StagedObject>)
        })
    }

    fn put(&self, path: &RemotePath, content: &[Bytes], commit: &CommitSpec) -> Result<(), StoreError> {
        self.with_directory(path, |directory| {
            put::put(&self.shared, directory, path.file_name(), content, commit)?;
            self.shared.committed(directory, path.file_name(), commit)
        })
    }

    fn touch(&self, path: &RemotePath, modified: Timestamp) -> Result<(), StoreError> {
        self.existing(path)?.ok_or(StoreError::NotFound)?;
        let directory = self.shared.directories.find(path.parent().unwrap_or(""))?.ok_or(StoreError::NotFound)?;
        // Should the target become a symbolic link just now, the link's own time is set: nothing is followed.
        let times = stamp::times(modified);
        rustix::fs::utimensat(directory.handle(), path.file_name(), &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(write_error)
    }

    fn sync_directories(&self) -> Result<(), StoreError> {
        self.shared.directories.sync()
    }
}
