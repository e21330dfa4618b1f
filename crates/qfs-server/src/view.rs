//! The published files as one request may see them: the only way from a door to the store.

use std::ops::ControlFlow;
use std::sync::Arc;

use qfs_core::body::{self, Opened};
use qfs_core::model::{Digest, RemotePath};
use qfs_core::store::{Entry, ListQuery, Store, StoreError, Versions, Whole};

use crate::gate::access::Access;

pub(crate) mod write;

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

    /// Opens `path`, as [`body::open`].
    ///
    /// # Errors
    /// [`StoreError::NotFound`] outside of the scope, whatever is there; as [`body::open`].
    pub(crate) async fn open(&self, path: RemotePath) -> Result<Opened, StoreError> {
        if !self.access.covers(&path) {
            return Err(StoreError::NotFound);
        }
        body::open(&self.versions, path).await
    }

    /// The whole of `path` if it is small, as [`Versions::read_whole`]. Blocks.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] outside of the scope, whatever is there; as [`Versions::read_whole`].
    pub(crate) fn read_whole(&self, path: &RemotePath, limit: u64) -> Result<Option<Whole>, StoreError> {
        if self.access.covers(path) { self.versions.read_whole(path, limit) } else { Err(StoreError::NotFound) }
    }

    /// Lists what lies in the scope, below `prefix` if there is one, with directories and links where a `tree` is wanted. Blocks.
    ///
    /// # Errors
    /// As [`Versions::list`].
    pub(crate) fn list(
        &self,
        prefix: Option<RemotePath>,
        tree: bool,
        visit: &mut dyn FnMut(RemotePath, Entry, Option<Digest>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let query = ListQuery { prefix, directories: tree, links: tree, ..ListQuery::default() };
        self.versions.list(&query, &mut |path, entry, digest| {
            if self.access.covers(&path) { visit(path, entry, digest) } else { ControlFlow::Continue(()) }
        })
    }
}
