//! A store on a directory of this machine: what the server publishes and where the client saves. Linux only.
//!
//! The only code that touches published or downloaded files. Everything is reached from one directory handle, by
//! `resolve`; no path is ever joined to another as text. Knows nothing of the wire.
//!
//! | module | owns |
//! |---|---|
//! | `resolve` | how a name becomes a handle without leaving the root |
//! | `stamp` | what fstat says, as etag and metadata |
//! | `read`, `list` | the reading half; `names` and `unlistable` help to list |
//! | `links` | where symbolic links end, for a store that follows them; `survey` what becomes of all of them |
//! | `directory`, `directories` | the handles of directories written to, and their fsync |
//! | `partial` | names of partial files and the frontier record |
//! | `leftovers` | removal of partial files nobody will continue |
//! | `stage`, `put` | the writing half: large objects, small objects |
//! | `commit` | how a finished file gets its name and a name loses its file, under a condition |
//! | `case` | whether names that differ in case only are one |
//! | `mode` | permission bits of new files |
//! | `shared`, `errors` | what all of it works on, and what failures of the system mean |

#![allow(clippy::disallowed_methods, reason = "this is the place the rule sends everybody to")]

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use qfs_core::model::{ETag, RemotePath};
use qfs_core::store::{
    CommitSpec, Condition, Entry, LeaveOut, ListQuery, Object, ObjectMeta, Space, StageSpec, StagedObject, Store,
    StoreError, TargetMeta, Visit, WriteStore,
};

mod case;
mod commit;
mod directories;
mod directory;
mod errors;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod leftovers;
mod links;
mod list;
mod mode;
mod names;
mod partial;
mod put;
mod read;
mod resolve;
mod shared;
mod stage;
mod stamp;
mod survey;
#[cfg(test)]
mod tests;
mod unlistable;
mod write;

pub use links::{FollowLinks, Hidden, LeftOut};
pub use survey::{LinkSurvey, Outside, Tally};

use directories::Directories;
use directory::Directory;
use errors::{io_error, write_error};
use links::Rules;
use shared::Shared;
use stamp::Stamp;

/// A [`Store`] and [`WriteStore`] on a directory. Cloning is cheap and gives the same store.
#[derive(Debug, Clone)]
pub struct LocalStore {
    shared: Arc<Shared>,
    rules: Rules,
    sparse: bool,
    warns: bool,
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
        let open = || retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()));
        let (root, second) = open().and_then(|root| Ok((root, open()?))).map_err(io_error)?;
        let shared = Shared {
            root,
            directories: Directories::new(second, levels_made),
            unlistable: unlistable::Unlistable::default(),
            put_method: AtomicU8::default(),
            conditional: Mutex::default(),
            umask: mode::umask(),
            #[cfg(test)]
            meanwhile: tests::Meanwhile::default(),
        };
        Ok(Self { shared: Arc::new(shared), rules: Rules::default(), sparse: true, warns: true })
    }

    /// The same store, with or without hidden names.
    #[must_use]
    pub fn hidden(mut self, hidden: Hidden) -> Self {
        self.rules.hidden = hidden;
        self
    }

    /// The same store, which leaves out runs of zeros of 64 KiB and more when it writes, as it does by default, or stores them.
    #[must_use]
    pub fn sparse(mut self, sparse: bool) -> Self {
        self.sparse = sparse;
        self
    }

    /// The same store, which does not log what its listings leave out: for whoever asks to be told
    /// ([`Store::list_telling`]).
    #[must_use]
    pub fn without_warnings(mut self) -> Self {
        self.warns = false;
        self
    }

    /// The same store, which says of a file that may not be read that the system refuses it ([`StoreError::Io`]), and not that there is none:
    /// for whoever reads files of their own. What is published tells strangers nothing of the machine.
    #[must_use]
    pub fn candid(mut self) -> Self {
        self.rules.candid = true;
        self
    }

    /// Whether names that differ in case only are one name in this store, as far as the system says.
    #[must_use]
    pub fn folds_case(&self) -> bool {
        case::folds_case(&self.shared.root)
    }

    /// The same store, with the symbolic links that `follow` says read as what they end at. Writing follows none in any case.
    #[must_use]
    pub fn follow_links(mut self, follow: FollowLinks) -> Self {
        self.rules.follow = follow;
        self
    }

    /// The same store, in which no symbolic link leads to one of `places`, to anything in one that is a directory, or through it.
    /// A place that is not there now is not known later.
    #[must_use]
    pub fn never_by_link(mut self, places: &[&Path]) -> Self {
        self.rules.never =
            places.iter().filter_map(|path| Some(links::id_of(&rustix::fs::stat(*path).ok()?))).collect();
        self
    }

    /// Whether this store has names like `path`: not where a component is hidden, nor where it names a partial file.
    fn admits(&self, path: &RemotePath) -> bool {
        path.components().all(|component| self.rules.admits(component.as_bytes()))
    }

    fn ensure_admitted(&self, path: &RemotePath) -> Result<(), StoreError> {
        if self.admits(path) { Ok(()) } else { Err(StoreError::Reserved) }
    }

    /// Runs `act` on the directory of `path`, made as needed; once more with a fresh handle when the directory turns out
    /// to have been removed.
    fn with_directory<T>(
        &self,
        path: &RemotePath,
        act: impl Fn(&Arc<Directory>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.ensure_admitted(path)?;
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

    /// The existing directory of `path`, resolved anew: what follows removes something.
    fn existing_directory(&self, path: &RemotePath) -> Result<Arc<Directory>, StoreError> {
        self.ensure_admitted(path)?;
        let parent = path.parent().unwrap_or("");
        self.shared.directories.forget(parent);
        self.shared.directories.find(parent)?.ok_or(StoreError::NotFound)
    }

    fn put_file(&self, path: &RemotePath, content: &[Bytes], commit: &CommitSpec) -> Result<OwnedFd, StoreError> {
        self.with_directory(path, |directory| {
            let file = put::put(&self.shared, directory, path.file_name(), content, commit, self.sparse)?;
            self.shared.committed(directory, path.file_name(), commit)?;
            Ok(file)
        })
    }
}

impl Store for LocalStore {
    fn open(&self, path: &RemotePath, first: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
        if !self.admits(path) {
            return Err(StoreError::NotFound);
        }
        let object = read::LocalObject::open(&self.shared.root, &self.rules, path)?;
        let content = match usize::try_from(object.meta().size) {
            Ok(size) if size <= first => object.read_at(0, size)?,
            _ => Bytes::new(),
        };
        Ok((Arc::new(object), content))
    }

    fn list(&self, query: &ListQuery, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.list_telling(query, visit, &mut |_, _| {})
    }

    fn list_telling(
        &self,
        query: &ListQuery,
        visit: &mut Visit<'_>,
        left_out: &mut LeaveOut<'_>,
    ) -> Result<(), StoreError> {
        if query.prefix.as_ref().is_some_and(|prefix| !self.admits(prefix)) {
            return Err(StoreError::NotFound);
        }
        let listing = list::Listing {
            root: &self.shared.root,
            rules: &self.rules,
            unlistable: self.warns.then_some(&self.shared.unlistable),
            query,
            met: &mut |name, met| self.tell_of(name, &met),
            left_out: &mut |name, why| left_out(name, why),
            names: u64::MAX,
        };
        listing.walk(Some(visit)).map(drop)
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
    Ok(Some(stamp.target()))
}

impl WriteStore for LocalStore {
    fn remove_abandoned(&self, age: Duration) -> Result<u64, StoreError> {
        let Some(before) = SystemTime::now().checked_sub(age) else { return Ok(0) };
        let sweep = |path: &str| match self.shared.directories.find(path) {
            Ok(Some(directory)) => leftovers::remove_older(&directory, before),
            // It has gone, or a link leads to it, through which nothing is written.
            _ => 0,
        };
        let mut removed = sweep("");
        self.list(&ListQuery { directories: true, ..ListQuery::default() }, &mut |path, entry| {
            if let Entry::Directory(_) = entry {
                removed += sweep(path.as_str());
            }
            ControlFlow::Continue(())
        })?;
        Ok(removed)
    }

    fn existing(&self, path: &RemotePath) -> Result<Option<TargetMeta>, StoreError> {
        self.ensure_admitted(path)?;
        existing_in(self.shared.directories.find(path.parent().unwrap_or(""))?.as_deref(), path.file_name())
    }

    /// Resolves a directory once for all names in it that follow each other, and one that is missing as well.
    fn existing_all(&self, paths: &[&RemotePath]) -> Vec<Result<Option<TargetMeta>, StoreError>> {
        let mut found: Option<(&str, Option<Arc<Directory>>)> = None;
        let existing = paths.iter().map(|path| {
            self.ensure_admitted(path)?;
            let parent = path.parent().unwrap_or("");
            let directory = match &found {
                Some((name, directory)) if *name == parent => directory,
                _ => &found.insert((parent, self.shared.directories.find(parent)?)).1,
            };
            existing_in(directory.as_deref(), path.file_name())
        });
        existing.collect()
    }

    fn stage_sparse(
        &self,
        path: &RemotePath,
        spec: &StageSpec,
        holes: u64,
    ) -> Result<Arc<dyn StagedObject>, StoreError> {
        self.with_directory(path, |directory| {
            let staged = stage::Staged::open(&self.shared, directory, path.file_name(), spec, self.sparse, holes)?;
            Ok(Arc::new(staged) as Arc<dyn StagedObject>)
        })
    }

    fn put(&self, path: &RemotePath, content: &[Bytes], commit: &CommitSpec) -> Result<(), StoreError> {
        self.put_file(path, content, commit).map(drop)
    }

    fn put_described(
        &self,
        path: &RemotePath,
        content: &[Bytes],
        commit: &CommitSpec,
    ) -> Result<ObjectMeta, StoreError> {
        Stamp::of_handle(self.put_file(path, content, commit)?).map(|stamp| stamp.meta())
    }

    fn touch(&self, path: &RemotePath, modified: Timestamp) -> Result<(), StoreError> {
        self.existing(path)?.ok_or(StoreError::NotFound)?;
        let directory = self.shared.directories.find(path.parent().unwrap_or(""))?.ok_or(StoreError::NotFound)?;
        // Should the target become a symbolic link just now, the link's own time is set: nothing is followed.
        let times = stamp::times(modified);
        rustix::fs::utimensat(directory.handle(), path.file_name(), &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(write_error)
    }

    fn set_executable(&self, path: &RemotePath, executable: bool) -> Result<(), StoreError> {
        self.set_metadata(path, None, None, Some(executable)).map(drop)
    }

    fn set_metadata(
        &self,
        path: &RemotePath,
        version: Option<&ETag>,
        modified: Option<Timestamp>,
        executable: Option<bool>,
    ) -> Result<ObjectMeta, StoreError> {
        self.ensure_admitted(path)?;
        let directory = self.shared.directories.find(path.parent().unwrap_or(""))?.ok_or(StoreError::NotFound)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = retry_on_intr(|| rustix::fs::openat(directory.handle(), path.file_name(), flags, Mode::empty()));
        let file = opened.map_err(write_error)?;
        let stat = rustix::fs::fstat(&file).map_err(write_error)?;
        let stamp = Stamp::regular(&stat).ok_or(StoreError::NotRegular)?;
        if version.is_some_and(|version| *version != stamp.etag()) {
            return Err(StoreError::Conflict);
        }
        if let Some(executable) = executable {
            let mode = mode::with_execute(stat.st_mode, executable, self.shared.umask);
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(write_error)?;
        }
        if let Some(modified) = modified {
            rustix::fs::futimens(&file, &stamp::times(modified)).map_err(write_error)?;
        }
        Stamp::of_handle(file).map(|stamp| stamp.meta())
    }

    fn space(&self) -> Result<Option<Space>, StoreError> {
        let found = retry_on_intr(|| rustix::fs::fstatvfs(&self.shared.root)).map_err(write_error)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Some(Space { free: bytes(found.f_bavail), total: bytes(found.f_blocks) }))
    }

    fn remove(&self, path: &RemotePath, condition: &Condition, durable: bool) -> Result<(), StoreError> {
        let directory = self.existing_directory(path)?;
        commit::remove(&self.shared, &directory, path.file_name(), condition)?;
        self.shared.changed(&directory, durable)
    }

    fn remove_link(&self, path: &RemotePath, text: Option<&str>, durable: bool) -> Result<(), StoreError> {
        let directory = self.existing_directory(path)?;
        commit::remove_link(&self.shared, &directory, path.file_name(), text)?;
        self.shared.changed(&directory, durable)
    }

    fn make_directory(&self, path: &RemotePath, modified: Option<Timestamp>, durable: bool) -> Result<(), StoreError> {
        self.ensure_admitted(path)?;
        self.shared.directories.forget(path.as_str());
        let directory = self.shared.directories.make(path.as_str())?;
        if let Some(modified) = modified {
            rustix::fs::futimens(directory.handle(), &stamp::times(modified)).map_err(write_error)?;
        }
        self.shared.changed(&directory, durable)
    }

    fn remove_directory(&self, path: &RemotePath, durable: bool) -> Result<(), StoreError> {
        let directory = self.existing_directory(path)?;
        self.shared.directories.forget(path.as_str());
        rustix::fs::unlinkat(directory.handle(), path.file_name(), AtFlags::REMOVEDIR).map_err(
            |error| match error {
                Errno::EXIST | Errno::NOTEMPTY => StoreError::NotEmpty,
                error => write_error(error),
            },
        )?;
        self.shared.changed(&directory, durable)
    }

    fn make_link(&self, path: &RemotePath, target: &str, durable: bool) -> Result<(), StoreError> {
        if !path.admits_link(target) {
            return Err(StoreError::Outside);
        }
        self.with_directory(path, |directory| {
            match rustix::fs::symlinkat(target, directory.handle(), path.file_name()) {
                Err(Errno::EXIST) => Err(commit::taken(directory, path.file_name())),
                made => made.map_err(write_error),
            }?;
            self.shared.changed(directory, durable)
        })
    }

    fn sync_directories(&self) -> Result<(), StoreError> {
        self.shared.directories.sync()
    }
}
