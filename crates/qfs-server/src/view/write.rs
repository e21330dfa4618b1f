//! Writing through a view: every step asks what the request may do before the store is touched.
//!
//! Everything here blocks.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use qfs_core::body;
use qfs_core::model::{Digest, HashKind, RemotePath};
use qfs_core::store::{CommitSpec, Condition, ObjectMeta, Space, StageSpec, StagedObject, StoreError, WriteStore};

use super::View;
use crate::error::HandlerError;
use crate::gate::rights::Right;

/// What a copy is made from and what becomes of it.
pub(crate) struct CopySpec {
    /// The original.
    pub(crate) from: RemotePath,
    /// The version of it that is meant.
    pub(crate) from_version: Option<qfs_core::model::ETag>,
    /// The time of the copy; None: that of the original.
    pub(crate) modified: Option<Timestamp>,
    /// Whether the copy may be executed; None: as the original.
    pub(crate) executable: Option<bool>,
    /// What must be under the name of the copy.
    pub(crate) condition: Condition,
    /// The digest that is made of it on the way.
    pub(crate) hash: HashKind,
}

impl<S: WriteStore> View<S> {
    /// Whether the request may do `right`, which changes something, to `path`. Hidden names are never changed, also where they are
    /// published: what is under them (`.git/hooks`, `.bashrc`) is run or believed by programs of this machine.
    ///
    /// # Errors
    /// [`HandlerError::Forbidden`], [`HandlerError::Hidden`].
    fn may_change(&self, right: Right, path: &RemotePath) -> Result<(), HandlerError> {
        self.access.allow(right, path)?;
        if path.is_hidden() { Err(HandlerError::Hidden) } else { Ok(()) }
    }

    /// The room that the store has.
    ///
    /// # Errors
    /// What asking failed with.
    pub(crate) fn space(&self) -> Result<Option<Space>, HandlerError> {
        Ok(self.versions.store().space()?)
    }

    /// Whether the request may write `path`, and `condition` holds there now. The commit checks it again.
    ///
    /// # Errors
    /// As [`Self::may_change`]; [`HandlerError::Exists`], [`HandlerError::Changed`].
    pub(crate) fn ensure_writable(&self, path: &RemotePath, condition: &Condition) -> Result<(), HandlerError> {
        self.may_change(Right::Write, path)?;
        match condition {
            Condition::Absent if self.versions.store().existing(path).map_err(refused)?.is_some() => {
                Err(HandlerError::Exists)
            }
            Condition::Matches(version) => match self.versions.store().object(path) {
                Ok(object) if object.meta().etag == *version => Ok(()),
                Ok(_) | Err(StoreError::NotFound) => Err(HandlerError::Changed),
                Err(error) => Err(refused(error)),
            },
            _ => Ok(()),
        }
    }

    /// What is under `path` now, for a request that may do `right` there; None where there is no file.
    ///
    /// # Errors
    /// As [`Self::may_change`]; what looking failed with.
    pub(crate) fn current(&self, right: Right, path: &RemotePath) -> Result<Option<ObjectMeta>, HandlerError> {
        self.may_change(right, path)?;
        match self.versions.store().object(path) {
            Ok(object) => Ok(Some(object.meta().clone())),
            Err(StoreError::NotFound | StoreError::NotRegular) => Ok(None),
            Err(error) => Err(refused(error)),
        }
    }

    /// Opens the stage of `path`, as [`WriteStore::stage`].
    ///
    /// # Errors
    /// As [`Self::may_change`]; as [`WriteStore::stage`].
    pub(crate) fn stage(&self, path: &RemotePath, spec: &StageSpec) -> Result<Arc<dyn StagedObject>, HandlerError> {
        self.stage_sparse(path, spec, 0)
    }

    /// As [`Self::stage`], of an object with so many bytes of holes.
    ///
    /// # Errors
    /// As [`Self::stage`].
    pub(crate) fn stage_sparse(
        &self,
        path: &RemotePath,
        spec: &StageSpec,
        holes: u64,
    ) -> Result<Arc<dyn StagedObject>, HandlerError> {
        self.may_change(Right::Write, path)?;
        self.versions.store().stage_sparse(path, spec, holes).map_err(refused)
    }

    /// As [`Self::stage`], of one that a former request left; None when there is none, and then nothing is left behind. Opening a stage
    /// makes the directories on the way to it, and what to look for outlasts directories that are missing: in a bucket there are none.
    ///
    /// # Errors
    /// As [`Self::stage`].
    #[cfg(feature = "http")]
    pub(crate) fn find_stage(
        &self,
        path: &RemotePath,
        spec: &StageSpec,
    ) -> Result<Option<Arc<dyn StagedObject>>, HandlerError> {
        self.access.allow(Right::Write, path)?;
        let missing = self.missing_directories(path)?;
        let stage = self.stage(path, spec)?;
        if stage.recorded_frontier() > 0 {
            return Ok(Some(stage));
        }
        // What is left is removed later by whoever writes into the same directory.
        let _ = stage.discard();
        drop(stage);
        let store = self.versions.store();
        // One that somebody else has put something into stays, and those around it.
        let _ = missing.iter().try_for_each(|directory| store.remove_directory(directory, false));
        Ok(None)
    }

    /// The directories on the way to `path` that are not there, the innermost first.
    #[cfg(feature = "http")]
    fn missing_directories(&self, path: &RemotePath) -> Result<Vec<RemotePath>, HandlerError> {
        let mut missing = Vec::new();
        let mut innermost = path.clone();
        while let Some(Ok(directory)) = innermost.parent().map(RemotePath::parse) {
            match self.versions.store().existing(&directory) {
                Ok(None) => missing.push(directory.clone()),
                Ok(Some(_)) | Err(StoreError::NotRegular) => break,
                Err(error) => return Err(refused(error)),
            }
            innermost = directory;
        }
        Ok(missing)
    }

    /// Makes what was staged the file, whose digest is `digest`, and remembers that.
    ///
    /// # Errors
    /// As [`StagedObject::commit`].
    pub(crate) fn commit(
        &self,
        stage: &dyn StagedObject,
        spec: &CommitSpec,
        digest: Digest,
    ) -> Result<ObjectMeta, HandlerError> {
        let meta = stage.commit_known(spec, digest).map_err(refused)?;
        if spec.durable {
            self.versions.store().sync_directories().map_err(refused)?;
        }
        self.remember(&meta, digest);
        Ok(meta)
    }

    /// Writes a whole small file, as [`WriteStore::put_described`], and remembers its digest. Not yet durable:
    /// [`Self::sync_directories`] is for many at once.
    ///
    /// # Errors
    /// As [`Self::may_change`]; as [`WriteStore::put_described`].
    pub(crate) fn put(
        &self,
        path: &RemotePath,
        content: &[Bytes],
        spec: &CommitSpec,
        digest: Digest,
    ) -> Result<ObjectMeta, HandlerError> {
        self.may_change(Right::Write, path)?;
        let meta = self.versions.store().put_known(path, content, spec, digest).map_err(refused)?;
        self.remember(&meta, digest);
        Ok(meta)
    }

    /// As [`WriteStore::sync_directories`].
    ///
    /// # Errors
    /// What it failed with.
    pub(crate) fn sync_directories(&self) -> Result<(), HandlerError> {
        self.versions.store().sync_directories().map_err(refused)
    }

    /// Makes `path` a copy of another file, if `promise` finds room for its size.
    ///
    /// # Errors
    /// [`HandlerError::NotFound`] and [`HandlerError::Changed`] as the original is; as [`Self::commit`].
    pub(crate) fn copy<P>(
        &self,
        path: &RemotePath,
        copy: CopySpec,
        promise: impl FnOnce(u64) -> Result<P, HandlerError>,
    ) -> Result<(ObjectMeta, Digest), HandlerError> {
        self.access.allow(Right::Read, &copy.from)?;
        self.ensure_writable(path, &copy.condition)?;
        let original = self.versions.open_as(&copy.from, copy.hash)?;
        let meta = original.meta().clone();
        if copy.from_version.is_some_and(|version| version != meta.etag) {
            return Err(HandlerError::Changed);
        }
        let _promise = promise(meta.size)?;
        if let Some(digest) = original.known_digest() {
            let spec = CommitSpec {
                modified: copy.modified.unwrap_or(meta.modified),
                executable: Some(copy.executable.unwrap_or(meta.executable)),
                condition: copy.condition.clone(),
                durable: false,
            };
            if let Some(copied) =
                self.versions.store().copy_within(&copy.from, &meta.etag, path, &spec).map_err(refused)?
            {
                self.remember(&copied, digest);
                return Ok((copied, digest));
            }
        }
        let stage = self.stage(path, &StageSpec { size: None, etag: meta.etag.clone() })?;
        let copied = (|| {
            let digest = body::copy(&original, &*stage, copy.hash)?;
            let modified = copy.modified.unwrap_or(meta.modified);
            let executable = Some(copy.executable.unwrap_or(meta.executable));
            let spec = CommitSpec { modified, executable, condition: copy.condition, durable: false };
            Ok((self.commit(&*stage, &spec, digest)?, digest))
        })();
        if copied.is_err() {
            // What is left of it is of use to nobody.
            let _ = stage.discard();
        }
        copied
    }

    /// Removes a file or a link, if `condition` holds.
    ///
    /// # Errors
    /// As [`Self::may_change`]; as [`WriteStore::remove`].
    pub(crate) fn remove(&self, path: &RemotePath, condition: &Condition) -> Result<(), HandlerError> {
        self.may_change(Right::Delete, path)?;
        self.versions.store().remove(path, condition, false).map_err(missing)
    }

    /// Removes a symbolic link, wherever it leads.
    ///
    /// # Errors
    /// As [`Self::may_change`]; as [`WriteStore::remove_link`].
    pub(crate) fn remove_link(&self, path: &RemotePath) -> Result<(), HandlerError> {
        self.may_change(Right::Delete, path)?;
        self.versions.store().remove_link(path, None, false).map_err(missing)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As [`Self::may_change`]; as [`WriteStore::remove_directory`].
    pub(crate) fn remove_directory(&self, path: &RemotePath) -> Result<(), HandlerError> {
        self.may_change(Right::Delete, path)?;
        self.versions.store().remove_directory(path, false).map_err(missing)
    }

    /// Makes a directory, as [`WriteStore::make_directory`].
    ///
    /// # Errors
    /// As [`Self::may_change`]; as [`WriteStore::make_directory`].
    pub(crate) fn make_directory(&self, path: &RemotePath, modified: Option<Timestamp>) -> Result<(), HandlerError> {
        self.may_change(Right::Write, path)?;
        self.versions.store().make_directory(path, modified, false).map_err(refused)
    }

    /// Makes a symbolic link, as [`WriteStore::make_link`].
    ///
    /// # Errors
    /// As [`Self::may_change`]; as [`WriteStore::make_link`].
    pub(crate) fn make_link(&self, path: &RemotePath, target: &str) -> Result<(), HandlerError> {
        self.may_change(Right::Write, path)?;
        self.versions.store().make_link(path, target, false).map_err(refused)
    }

    /// Sets a file's time and whether it may be executed, if it is `version`.
    ///
    /// # Errors
    /// As [`Self::may_change`]; [`HandlerError::NotFound`], [`HandlerError::Changed`].
    pub(crate) fn set_metadata(
        &self,
        path: &RemotePath,
        version: Option<qfs_core::model::ETag>,
        modified: Option<Timestamp>,
        executable: Option<bool>,
    ) -> Result<(ObjectMeta, Option<Digest>), HandlerError> {
        self.may_change(Right::Write, path)?;
        let store = self.versions.store();
        let before = match version {
            Some(version) => version,
            None => store.object(path).map_err(missing)?.meta().etag.clone(),
        };
        let meta = store.set_metadata(path, Some(&before), modified, executable).map_err(missing)?;
        // Neither changes the content: what was known of it still holds.
        let known = self.versions.digests().recall(&before, HashKind::Sha256);
        Ok((meta, known))
    }

    fn remember(&self, meta: &ObjectMeta, digest: Digest) {
        if !meta.unsettled {
            self.versions.digests().remember(&meta.etag, digest);
        }
    }
}

/// What a store's refusal to write means to whoever asked.
fn refused(error: StoreError) -> HandlerError {
    match error {
        StoreError::Exists | StoreError::NotRegular => HandlerError::Exists,
        StoreError::Conflict => HandlerError::Changed,
        StoreError::NotEmpty => HandlerError::NotEmpty,
        StoreError::Reserved => HandlerError::Hidden,
        StoreError::Outside => HandlerError::BadRequest("the link leads outside of what is published"),
        StoreError::Unsupported => HandlerError::BadRequest("this server's store has no such thing"),
        StoreError::NoSpace { .. } => HandlerError::NoSpace("the server's disk is full"),
        other => other.into(),
    }
}

/// As [`refused`], where something has to be there: something else there is as good as nothing.
fn missing(error: StoreError) -> HandlerError {
    match error {
        StoreError::NotRegular | StoreError::Reserved => HandlerError::NotFound,
        other => refused(other),
    }
}
