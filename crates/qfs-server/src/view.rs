//! The published files as one request may see them: the only way from a door to the store.

use std::ops::ControlFlow;
use std::sync::Arc;

use qfs_core::body::{self, Opened, Reservation, Share};
use qfs_core::model::{Digest, HashKind, RemotePath};
#[cfg(feature = "http")]
use qfs_core::store::ObjectMeta;
use qfs_core::store::{BLOCK_BYTES, Entry, ListQuery, Live, Omission, Store, StoreError, Versions, Whole};

use crate::gate::access::Access;
#[cfg(feature = "http")]
use crate::gate::rights::Right;

#[cfg(feature = "http")]
mod children;
pub(crate) mod write;

#[cfg(feature = "http")]
pub(crate) use children::Child;

/// The published files as far as one request reaches. Doors have no other way to them, so that none can forget the scope.
pub(crate) struct View<S> {
    versions: Arc<Versions<S>>,
    access: Access,
}

impl<S> Clone for View<S> {
    fn clone(&self) -> Self {
        Self { versions: Arc::clone(&self.versions), access: self.access.clone() }
    }
}

impl<S: Store> View<S> {
    pub(crate) fn new(versions: &Arc<Versions<S>>, access: Access) -> Self {
        Self { versions: Arc::clone(versions), access }
    }

    /// Opens `path` for its SHA-256, as [`body::open`].
    ///
    /// # Errors
    /// As [`Self::open_as`].
    pub(crate) async fn open(&self, path: RemotePath) -> Result<Opened, StoreError> {
        self.open_as(path, HashKind::Sha256).await
    }

    /// Opens `path` for its digest of `kind`, as [`body::open_as`].
    ///
    /// # Errors
    /// [`StoreError::NotFound`] outside of the scope, whatever is there; as [`body::open_as`].
    pub(crate) async fn open_as(&self, path: RemotePath, kind: HashKind) -> Result<Opened, StoreError> {
        if !self.access.covers(&path) {
            return Err(StoreError::NotFound);
        }
        body::open_as(&self.versions, path, kind).await
    }

    /// As [`Self::open_as`], once there is room for a block in `share` and it is its turn to read: opening reads a small file at
    /// once, and which is small shows only then. Returns the room, too.
    ///
    /// # Errors
    /// As [`Self::open_as`].
    pub(crate) async fn open_within(
        &self,
        share: &Share,
        path: RemotePath,
        kind: HashKind,
    ) -> Result<(Opened, Reservation), StoreError> {
        let room = share.reserve(BLOCK_BYTES as usize).await;
        let _turn = share.turn().await;
        Ok((self.open_as(path, kind).await?, room))
    }

    /// Opens `path` as long as it is now, as [`Versions::open_live`].
    ///
    /// # Errors
    /// [`StoreError::NotFound`] outside of the scope, whatever is there; as [`Versions::open_live`].
    pub(crate) async fn open_live(&self, path: RemotePath, kind: HashKind) -> Result<Live, StoreError> {
        if !self.access.covers(&path) {
            return Err(StoreError::NotFound);
        }
        let versions = Arc::clone(&self.versions);
        self.versions.threads().clone().run(move || versions.open_live(&path, kind)).await
    }

    /// The whole of `path` if it is small, as [`Versions::read_whole`]. Blocks.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] outside of the scope, whatever is there; as [`Versions::read_whole`].
    pub(crate) fn read_whole(
        &self,
        path: &RemotePath,
        limit: u64,
        kind: HashKind,
    ) -> Result<Option<Whole>, StoreError> {
        if self.access.covers(path) { self.versions.read_whole(path, limit, kind) } else { Err(StoreError::NotFound) }
    }

    /// As [`Self::read_whole`] of each of `paths`, in order, many under way at once where that suits the store. Blocks.
    pub(crate) fn read_all_whole(
        &self,
        paths: &[&RemotePath],
        limit: u64,
        kind: HashKind,
    ) -> Vec<Result<Option<Whole>, StoreError>> {
        if !paths.iter().all(|path| self.access.covers(path)) {
            return paths.iter().map(|path| self.read_whole(path, limit, kind)).collect();
        }
        self.versions.read_all_whole(paths, limit, kind)
    }

    /// How many small files are best read at once.
    pub(crate) fn openings_at_once(&self) -> usize {
        self.versions.store().openings_at_once().max(1)
    }

    /// Lists what lies in the scope, below `prefix` if there is one, with directories and links where a `tree` is wanted, and with
    /// digests of `kind`. Blocks.
    ///
    /// # Errors
    /// As [`Versions::list`].
    pub(crate) fn list(
        &self,
        prefix: Option<RemotePath>,
        tree: bool,
        kind: HashKind,
        visit: &mut dyn FnMut(RemotePath, Entry, Option<Digest>) -> ControlFlow<()>,
    ) -> Result<Completeness, StoreError> {
        let query = ListQuery { prefix, directories: tree, links: tree, ..ListQuery::default() };
        let mut completeness = Completeness::Whole;
        self.versions.list_telling(
            &query,
            kind,
            &mut |path, entry, digest| {
                if self.access.covers(&path) { visit(path, entry, digest) } else { ControlFlow::Continue(()) }
            },
            // What lies outside of the scope counts too: whether something in it is in there cannot be told.
            &mut |_, why| {
                if why == Omission::Unreadable {
                    completeness = Completeness::Partial;
                }
            },
        )?;
        Ok(completeness)
    }

    /// As [`Self::list`], of what lies below `directory` only; its own name is left off. Blocks.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when nothing of the scope is in there; as [`Self::list`].
    #[cfg(feature = "http")]
    pub(crate) fn list_below(
        &self,
        directory: Option<&RemotePath>,
        visit: &mut VisitBelow<'_>,
    ) -> Result<(), StoreError> {
        self.below(directory, false, &mut |name, entry, digest| match entry {
            Entry::File(meta) => visit(name, meta, digest),
            Entry::Directory(_) | Entry::Link(_) => ControlFlow::Continue(()),
        })
    }

    /// As [`Self::list_below`], with directories and links.
    ///
    /// # Errors
    /// As [`Self::list_below`]; of a directory that lies in the scope only where there is none.
    #[cfg(feature = "http")]
    pub(crate) fn tree_below(
        &self,
        directory: Option<&RemotePath>,
        visit: &mut dyn FnMut(&str, Entry) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.below(directory, true, &mut |name, entry, _| visit(name, entry))
    }

    #[cfg(feature = "http")]
    fn below(&self, directory: Option<&RemotePath>, tree: bool, visit: &mut VisitTree<'_>) -> Result<(), StoreError> {
        let prefix = directory.map_or(0, |directory| directory.as_str().len() + 1);
        // Where directories are rows, one without any is empty.
        let mut found = directory.is_none_or(|directory| tree && self.access.covers(directory));
        self.list(directory.cloned(), tree, HashKind::Sha256, &mut |path, entry, digest| {
            found = true;
            path.as_str().get(prefix..).map_or(ControlFlow::Continue(()), |name| visit(name, entry, digest))
        })?;
        if found { Ok(()) } else { Err(StoreError::NotFound) }
    }
}

#[cfg(feature = "http")]
impl<S: Store> View<S> {
    /// Whether the request may do `right` to `path`; hidden names are only read.
    pub(crate) fn allows(&self, right: Right, path: &RemotePath) -> bool {
        (right == Right::Read || !path.is_hidden()) && self.access.allow(right, path).is_ok()
    }
}

/// Whether a listing has all that there is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completeness {
    /// It has.
    Whole,
    /// Something could not be read.
    Partial,
}

/// As [`VisitBelow`], with directories and links.
#[cfg(feature = "http")]
type VisitTree<'a> = dyn FnMut(&str, Entry, Option<Digest>) -> ControlFlow<()> + 'a;

/// Receives what lies below a directory: its name from there on, and its digest where that is known. Breaks to end the walk.
#[cfg(feature = "http")]
pub(crate) type VisitBelow<'a> = dyn FnMut(&str, ObjectMeta, Option<Digest>) -> ControlFlow<()> + 'a;
