//! An object that is being appended to, as long as it was when it was opened.
//!
//! Such an object has no version: its etag is another one at every look. What is read of it is read twice instead. Every first read
//! comes before every second one, so what is the same both times was there, all of it, at the moment in between.

use std::sync::Arc;

use bytes::Bytes;

use super::{BLOCK_BYTES, Object, ObjectMeta, Store, StoreError, Version, Versions};
use crate::model::{Digest, HashKind, Hasher, RemotePath};

/// Bytes read in one step of the second pass: enough that a step costs little beside its reading, few enough that nobody waits long
/// for it to end.
const STEP_BYTES: u64 = 16 * BLOCK_BYTES;

/// An open object of which the first bytes, as many as it had, count.
pub struct Live {
    version: Arc<Version>,
    object: Arc<dyn Object>,
}

impl<S: Store> Versions<S> {
    /// Opens `path` as long as it is now, for its digest of `kind`. It is shared with nobody, and its digest is not remembered. Blocks.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_live(&self, path: &RemotePath, kind: HashKind) -> Result<Live, StoreError> {
        let object = self.store().object(path)?;
        let prefix = Arc::new(Prefix(Arc::clone(&object)));
        Ok(Live { version: Arc::new(Version::alone(prefix, self.threads().clone(), kind)), object })
    }
}

impl Live {
    /// What is served, as a version of which nothing more is checked than that it has not become shorter.
    #[must_use]
    pub fn version(&self) -> &Arc<Version> {
        &self.version
    }

    /// Whether the object still is what was opened, so that nothing has to be read twice. Blocks.
    ///
    /// # Errors
    /// What asking failed with.
    pub fn is_unchanged(&self) -> Result<bool, StoreError> {
        match self.object.ensure_unchanged() {
            Ok(()) => Ok(true),
            Err(StoreError::Changed) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A second pass, to be taken when the first one is at its end.
    #[must_use]
    pub fn second_pass(self: &Arc<Self>) -> SecondPass {
        SecondPass { live: Arc::clone(self), hasher: Hasher::of_kind(self.version.kind()), position: 0 }
    }
}

/// The second reading of a [`Live`] object.
pub struct SecondPass {
    live: Arc<Live>,
    hasher: Hasher,
    position: u64,
}

impl SecondPass {
    /// Reads on; returns the digest when it has come to the end, or what is left to do. Blocks, not for long.
    ///
    /// # Errors
    /// [`StoreError::Changed`] when the object has become shorter; what reading failed with otherwise.
    pub fn step(mut self) -> Result<Result<Digest, Self>, StoreError> {
        let size = self.live.object.meta().size;
        let end = size.min(self.position + STEP_BYTES);
        while self.position < end {
            let length = BLOCK_BYTES.min(end - self.position);
            // At most a block, so it fits.
            self.hasher.update(&self.live.object.read_at(self.position, length as usize)?);
            self.position += length;
        }
        if self.position < size {
            return Ok(Err(self));
        }
        self.live.object.ensure_not_shorter()?;
        Ok(Ok(self.hasher.finish()))
    }
}

/// The object as what is served of it: it may grow.
struct Prefix(Arc<dyn Object>);

impl Object for Prefix {
    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        self.0.read_at(offset, length)
    }

    fn ensure_unchanged(&self) -> Result<(), StoreError> {
        self.0.ensure_not_shorter()
    }
}
