//! The published files as one request may see them: the only way from a door to the store.

use std::ops::ControlFlow;
use std::sync::Arc;

use qfs_core::body::{self, Opened};
use qfs_core::model::{Digest, RemotePath};
use qfs_core::store::{ObjectMeta, Store, StoreError, Versions, Whole};

use crate::gate::access::Access;

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

    /// Lists what lies in the scope, as [`Versions::list`]. Blocks.
    ///
    /// # Errors
    /// As [`Versions::list`].
    pub(crate) fn list(
        &self,
        visit: &mut dyn FnMut(RemotePath, ObjectMeta, Option<Digest>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.versions.list(&mut |path, meta, digest| {
            if self.access.covers(&path) { visit(path, meta, digest) } else { ControlFlow::Continue(()) }
        })
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
        let Some(directory) = directory else {
            return self.list(&mut |path, meta, digest| visit(path.as_str(), meta, digest));
        };
        let prefix = format!("{}/", directory.as_str());
        let mut found = false;
        self.list(&mut |path, meta, digest| match path.as_str().strip_prefix(&prefix) {
            Some(name) => {
                found = true;
                visit(name, meta, digest)
            }
            // They come in ascending order, so that none follows behind the first that is greater.
            None if path.as_str() > prefix.as_str() => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        })?;
        if found { Ok(()) } else { Err(StoreError::NotFound) }
    }

    /// What is directly in `directory`: files, and the names of directories that something of the scope is in. Blocks.
    ///
    /// # Errors
    /// As [`Self::list_below`].
    #[cfg(feature = "http")]
    pub(crate) fn children(
        &self,
        directory: Option<&RemotePath>,
        visit: &mut dyn FnMut(&str, Child) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut last = String::new();
        self.list_below(directory, &mut |name, meta, digest| match name.split_once('/') {
            None => visit(name, Child::File(meta, digest)),
            Some((child, _)) if child == last => ControlFlow::Continue(()),
            Some((child, _)) => {
                child.clone_into(&mut last);
                visit(child, Child::Directory)
            }
        })
    }
}

/// Receives what lies below a directory: its name from there on, and its digest where that is known. Breaks to end the walk.
#[cfg(feature = "http")]
pub(crate) type VisitBelow<'a> = dyn FnMut(&str, ObjectMeta, Option<Digest>) -> ControlFlow<()> + 'a;

/// What is directly in a directory.
#[cfg(feature = "http")]
#[derive(Debug, Clone)]
pub(crate) enum Child {
    /// A file, with its digest where that is known.
    File(ObjectMeta, Option<Digest>),
    /// A directory.
    Directory,
}
