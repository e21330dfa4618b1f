//! Where objects come from and where they go.
//!
//! This is the contract; `qfs-store` implements it. The server reads through [`Store`], the client writes through [`WriteStore`].
//! All methods **block**: the pump (`body`) decides which thread waits. Implementations never see the wire.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::model::{ETag, RemotePath};

mod digest_cache;
mod versions;

pub use digest_cache::DigestCache;
pub use versions::{BLOCK_BYTES, Version, Versions, Whole};

/// What a store knows of one version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub modified: Timestamp,
    /// Names this version; made of size, mtime, inode and ctime where there is a file behind it.
    pub etag: ETag,
    /// Whether a later change could leave `etag` as it is, because the file changed within the resolution of the
    /// file system's clock just now. Nothing is remembered of such a version.
    pub unsettled: bool,
}

/// One opened version of an object.
pub trait Object: Send + Sync {
    /// Its metadata when it was opened.
    fn meta(&self) -> &ObjectMeta;

    /// Exactly `length` bytes from `offset`, in a buffer of their own.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when the object ends before `offset + length`; what reading failed with otherwise.
    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError>;

    /// Checks that the object still is the version that was opened. Bytes read before this returned Ok are of that
    /// version.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when it is not.
    fn ensure_unchanged(&self) -> Result<(), StoreError>;
}

/// Receives a listing row by row; breaks to end it early.
pub type Visit<'a> = dyn FnMut(RemotePath, ObjectMeta) -> ControlFlow<()> + 'a;

/// A source of objects.
pub trait Store: Send + Sync + 'static {
    /// Opens the regular file named `path`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nothing readable is published there (missing, denied, a directory, a pipe, reached
    /// through a symbolic link, hidden); [`StoreError::Busy`] when descriptors ran out.
    fn open(&self, path: &RemotePath) -> Result<Arc<dyn Object>, StoreError>;

    /// Visits every published file in ascending byte order of their names.
    ///
    /// # Errors
    /// When the root itself cannot be read; [`StoreError::Busy`] when descriptors ran out on the way, because a listing that
    /// lacks files without a word is a wrong one. What else cannot be read below the root is left out.
    fn list(&self, visit: &mut Visit<'_>) -> Result<(), StoreError>;
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn open(&self, path: &RemotePath) -> Result<Arc<dyn Object>, StoreError> {
        (**self).open(path)
    }

    fn list(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        (**self).list(visit)
    }
}

/// What is about to be written.
#[derive(Debug, Clone)]
pub struct StageSpec {
    /// Size of the whole object in bytes.
    pub size: u64,
    /// The version; a partial file of another version is not continued.
    pub etag: ETag,
}

/// How a staged object becomes the target.
#[derive(Debug, Clone)]
pub struct CommitSpec {
    /// Modification time the target gets.
    pub modified: Timestamp,
    /// Whether an existing target is replaced; otherwise it stays and the commit fails with [`StoreError::Exists`].
    pub replace: bool,
    /// Whether the content is on stable storage before the target appears (fdatasync before rename). The directory entry
    /// is, once [`WriteStore::sync_directories`] has returned.
    pub durable: bool,
}

/// A destination of objects. Nothing appears under a target's name before its content was verified and committed.
pub trait WriteStore: Store {
    /// Size and modification time of the existing target, or None. Does not follow a symbolic link at the end.
    ///
    /// # Errors
    /// [`StoreError::NotRegular`] when something else than a regular file is there.
    fn existing(&self, path: &RemotePath) -> Result<Option<TargetMeta>, StoreError>;

    /// [`Self::existing`] of each of `paths`, in order.
    fn existing_all(&self, paths: &[&RemotePath]) -> Vec<Result<Option<TargetMeta>, StoreError>> {
        paths.iter().map(|path| self.existing(path)).collect()
    }

    /// Opens the partial file for this version of `path`, making directories as needed: the one a former run left, or
    /// a new one. A partial file that another process is writing is left alone and a private one used.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] before the first byte when the rest does not fit the free space; what creating failed
    /// with otherwise.
    fn stage(&self, path: &RemotePath, spec: &StageSpec) -> Result<Arc<dyn StagedObject>, StoreError>;

    /// Writes and commits a whole small object at once: [`Self::stage`], one write, [`StagedObject::commit`], in the fewest
    /// system calls. Leaves nothing behind when it fails.
    ///
    /// # Errors
    /// As the calls it stands for.
    fn put(&self, path: &RemotePath, content: &[Bytes], commit: &CommitSpec) -> Result<(), StoreError>;

    /// Sets an existing target's modification time.
    ///
    /// # Errors
    /// What the system call failed with.
    fn touch(&self, path: &RemotePath, modified: Timestamp) -> Result<(), StoreError>;

    /// Brings every directory that a durable commit changed to stable storage, each once.
    ///
    /// # Errors
    /// What fsync failed with.
    fn sync_directories(&self) -> Result<(), StoreError>;
}

/// A target that exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetMeta {
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub modified: Timestamp,
}

/// An object being written. Dropped without a commit, it stays on disk to be continued by a later run.
pub trait StagedObject: Send + Sync {
    /// Bytes from the start that a former run had recorded as written when this was opened. Never trusted unread.
    fn recorded_frontier(&self) -> u64;

    /// Writes `chunks`, one behind the other, from `offset`.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] on a full disk or quota; what the system call failed with otherwise.
    fn write_at(&self, offset: u64, chunks: &[Bytes]) -> Result<(), StoreError>;

    /// Reads back exactly `length` bytes from `offset`.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when they are not there.
    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError>;

    /// Records that all bytes before `frontier` were written, for a later run to continue from.
    ///
    /// # Errors
    /// What the system call failed with.
    fn record_frontier(&self, frontier: u64) -> Result<(), StoreError>;

    /// Makes the staged content the target by one rename. The caller has verified it.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is a target and `replace` is not set; the staged content is kept then.
    fn commit(&self, spec: &CommitSpec) -> Result<(), StoreError>;

    /// Removes the staged content: it is known to be wrong.
    ///
    /// # Errors
    /// What the system call failed with.
    fn discard(&self) -> Result<(), StoreError>;
}

/// Why a store could not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing readable is published under this name.
    #[error("no such file")]
    NotFound,
    /// There is a target already.
    #[error("the file exists")]
    Exists,
    /// Something other than a regular file, or a symbolic link on the way, is where the target would go.
    #[error("not a regular file, or a symbolic link on the way")]
    NotRegular,
    /// The object changed since it was opened.
    #[error("the file changed while it was read")]
    Changed,
    /// The disk or quota is full, or would be.
    #[error("no space left: {}", Space(*needed, *available))]
    NoSpace {
        /// Bytes that were to be written, when known.
        needed: Option<u64>,
        /// Bytes that are free, when known.
        available: Option<u64>,
    },
    /// File descriptors or memory ran out; later it may work.
    #[error("out of file descriptors or memory")]
    Busy,
    /// The operating system refused or failed.
    #[error("{0}")]
    Io(#[source] io::Error),
}

struct Space(Option<u64>, Option<u64>);

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(needed), Some(available)) => write!(f, "{needed} bytes needed, {available} free"),
            _ => f.write_str("the disk or quota is full"),
        }
    }
}
