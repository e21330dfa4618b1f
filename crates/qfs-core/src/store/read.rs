//! The reading half of the contract: opening, reading, listing.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::StoreError;
use crate::model::{Digest, ETag, HashKind, Holes, RemotePath};

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
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// What a store knows of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryMeta {
    /// Modification time: when an entry in it last came or went.
    pub modified: Timestamp,
}

/// What a store knows of a symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkMeta {
    /// Where it leads, as it stands in the link: a stranger's text, relative or absolute, that may lead anywhere.
    pub target: String,
    /// Modification time of the link itself.
    pub modified: Timestamp,
}

/// One row of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// An object that can be opened.
    File(ObjectMeta),
    /// A directory. A store without directories of its own has none.
    Directory(DirectoryMeta),
    /// A symbolic link that is not followed.
    Link(LinkMeta),
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

    /// Parts that are zeros and that nothing is stored for, as far as the store knows any, in the state of now: what
    /// [`Self::ensure_unchanged`] says of bytes read it also says of these. Bounded, and cheap where there are none.
    ///
    /// # Errors
    /// What asking for them failed with.
    fn holes(&self) -> Result<Holes, StoreError> {
        Ok(Holes::default())
    }

    /// Checks that the object still is the version that was opened. Bytes read before this returned Ok are of that
    /// version.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when it is not.
    fn ensure_unchanged(&self) -> Result<(), StoreError>;

    /// Checks that the object still has at least the bytes that it had when it was opened. Whether these are the same is not said.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when it has become shorter, or where objects of this store do not grow and it is another.
    fn ensure_not_shorter(&self) -> Result<(), StoreError> {
        self.ensure_unchanged()
    }
}

/// An object that was opened, and its first bytes.
pub type Opened = (Arc<dyn Object>, Bytes);

/// What a listing is to contain. By default: every file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only names below this directory, which is entered at once. It is no row itself.
    pub prefix: Option<RemotePath>,
    /// Only names behind this one in byte order, to continue where an earlier listing ended. Need not exist.
    pub after: Option<RemotePath>,
    /// Whether directories are rows too.
    pub directories: bool,
    /// Whether symbolic links that are not followed are rows too.
    pub links: bool,
    /// Only what is directly in the directory that is listed. No other directory is entered.
    pub shallow: bool,
}

/// Receives a listing row by row; breaks to end it early.
pub type Visit<'a> = dyn FnMut(RemotePath, Entry) -> ControlFlow<()> + 'a;

/// Why something is there and no row of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Omission {
    /// It cannot be read, or lies too deep. Where it is a directory, nobody knows what is in it.
    Unreadable,
    /// No [`RemotePath`] can be its name.
    Unnameable,
    /// It is neither file, directory nor link, or a link to what is no UTF-8.
    Special,
}

/// Told what a listing leaves out, with names that are not safe to print: `/` between components, U+FFFD for what is no UTF-8.
pub type LeaveOut<'a> = dyn FnMut(&str, Omission) + 'a;

/// A source of objects.
pub trait Store: Send + Sync + 'static {
    /// Opens the regular file named `path`, and reads all of it in the same step if it has no more than `first` bytes.
    ///
    /// Of a larger one come as many of its first bytes as the step gives without further cost: none from a disk, at most
    /// `first` from elsewhere.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nothing readable is published there (missing, denied, a directory, a pipe, reached
    /// through a symbolic link, hidden); [`StoreError::Busy`] when descriptors ran out; as [`Object::read_at`].
    fn open(&self, path: &RemotePath, first: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError>;

    /// Opens the regular file named `path` and reads nothing.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn object(&self, path: &RemotePath) -> Result<Arc<dyn Object>, StoreError> {
        self.open(path, 0).map(|(object, _)| object)
    }

    /// Visits what `query` asks for, in ascending byte order of the names.
    ///
    /// # Errors
    /// When the root itself cannot be read; [`StoreError::NotFound`] when there is no directory `query.prefix` to be read;
    /// [`StoreError::Busy`] when descriptors ran out on the way, because a listing that lacks files without a word is a wrong
    /// one. What else cannot be read below the root is left out.
    fn list(&self, query: &ListQuery, visit: &mut Visit<'_>) -> Result<(), StoreError>;

    /// As [`Self::list`], and tells `left_out` what is there and no row, hidden names and the store's own aside. A store that can
    /// read all it has leaves nothing out.
    ///
    /// # Errors
    /// As [`Self::list`].
    fn list_telling(
        &self,
        query: &ListQuery,
        visit: &mut Visit<'_>,
        left_out: &mut LeaveOut<'_>,
    ) -> Result<(), StoreError> {
        let _ = left_out;
        self.list(query, visit)
    }

    /// The digest of `kind` of this version, where the store was told one along with what it has opened or listed. Like every
    /// digest it is somebody's word until the bytes have been hashed. Asks nobody.
    fn known_digest(&self, etag: &ETag, kind: HashKind) -> Option<Digest> {
        let _ = (etag, kind);
        None
    }

    /// Opens several small objects, each with its first bytes, in order. Where each opening is a round trip, many are under way at
    /// once.
    fn open_all(&self, paths: &[&RemotePath], first: usize) -> Vec<Result<Opened, StoreError>> {
        paths.iter().map(|path| self.open(path, first)).collect()
    }

    /// How many openings of small objects are best under way at once; 1 where the next one costs as much as the first.
    fn openings_at_once(&self) -> usize {
        1
    }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn open(&self, path: &RemotePath, first: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
        (**self).open(path, first)
    }

    fn list(&self, query: &ListQuery, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        (**self).list(query, visit)
    }

    fn list_telling(
        &self,
        query: &ListQuery,
        visit: &mut Visit<'_>,
        left_out: &mut LeaveOut<'_>,
    ) -> Result<(), StoreError> {
        (**self).list_telling(query, visit, left_out)
    }

    fn known_digest(&self, etag: &ETag, kind: HashKind) -> Option<Digest> {
        (**self).known_digest(etag, kind)
    }

    fn open_all(&self, paths: &[&RemotePath], first: usize) -> Vec<Result<Opened, StoreError>> {
        (**self).open_all(paths, first)
    }

    fn openings_at_once(&self) -> usize {
        (**self).openings_at_once()
    }
}
