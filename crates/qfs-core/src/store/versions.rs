//! Open versions, shared: however many clients fetch a file, it is read and hashed once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;

use super::{DigestCache, Entry, LeaveOut, ListQuery, Object, ObjectMeta, Opened, Store, StoreError, Visit};
use crate::model::{Digest, ETag, HashKind, Holes, RemotePath};
use crate::offload::Threads;

mod shared;
mod tree_pass;

pub use shared::BLOCK_BYTES;
use shared::{Shared, lock};

/// A store whose open versions are shared and whose digests are remembered.
pub struct Versions<S> {
    store: S,
    digests: Arc<DigestCache>,
    open: Mutex<HashMap<ETag, Weak<Shared>>>,
    /// Blocks kept by all of them.
    kept: Arc<AtomicUsize>,
    threads: Threads,
}

impl<S: Store> Versions<S> {
    /// Shares the versions of `store`, which are read and hashed on `threads`; `digests` may be filled from an earlier run.
    pub fn new(store: S, digests: Arc<DigestCache>, threads: Threads) -> Self {
        Self { store, digests, open: Mutex::default(), kept: Arc::default(), threads }
    }

    /// The store whose versions these are.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The digests remembered.
    #[must_use]
    pub fn digests(&self) -> &Arc<DigestCache> {
        &self.digests
    }

    /// Where its versions are read and hashed.
    #[must_use]
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Opens `path`, for its SHA-256. Blocks.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(&self, path: &RemotePath) -> Result<Version, StoreError> {
        self.open_as(path, HashKind::Sha256)
    }

    /// Opens `path`, for its digest of `kind`. Blocks.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_as(&self, path: &RemotePath, kind: HashKind) -> Result<Version, StoreError> {
        Ok(self.open_bare(path)?.of_kind(kind))
    }

    /// Opens `path`, for no digest yet.
    fn open_bare(&self, path: &RemotePath) -> Result<Version, StoreError> {
        let (object, first) = self.store.open(path, BLOCK_BYTES as usize)?;
        let meta = object.meta();
        for told in HashKind::ALL.into_iter().filter_map(|kind| self.store.known_digest(&meta.etag, kind)) {
            self.digests.remember(&meta.etag, told);
        }
        // A file of one block is read in one go: there is nothing to share, and small files are many.
        if meta.size <= BLOCK_BYTES {
            let shared = Shared::new(object, first, &self.digests, &self.kept);
            return Ok(Version::new(Arc::new(shared), self.threads.clone()));
        }
        let mut open = lock(&self.open);
        if let Some(shared) = open.get(&meta.etag).and_then(Weak::upgrade) {
            return Ok(Version::new(shared, self.threads.clone()));
        }
        // Swept when it has doubled, so that forgotten entries never outnumber live ones for long.
        if open.len() == open.capacity() {
            open.retain(|_, shared| shared.strong_count() > 0);
        }
        let etag = meta.etag.clone();
        let shared = Arc::new(Shared::new(object, first, &self.digests, &self.kept));
        open.insert(etag, Arc::downgrade(&shared));
        Ok(Version::new(shared, self.threads.clone()))
    }

    /// The digest of this version, if it is remembered, or the store was told it.
    fn digest_of(&self, meta: &ObjectMeta, kind: HashKind) -> Option<Digest> {
        self.digests.recall(&meta.etag, kind).or_else(|| {
            let told = self.store.known_digest(&meta.etag, kind).filter(|_| !meta.unsettled)?;
            self.digests.remember(&meta.etag, told);
            Some(told)
        })
    }

    /// The whole of `path` with its digest of `kind`, in one go, if it has no more than `limit` bytes; None when it has more. Blocks.
    ///
    /// # Errors
    /// As [`Store::open`] and [`Object::ensure_unchanged`]; [`StoreError::Changed`] when less than all of it came.
    pub fn read_whole(&self, path: &RemotePath, limit: u64, kind: HashKind) -> Result<Option<Whole>, StoreError> {
        let opened = self.store.open(path, usize::try_from(limit).unwrap_or(usize::MAX))?;
        self.whole(opened, limit, kind)
    }

    /// As [`Self::read_whole`] of each of `paths`, in order; as many at once as suits the store. Blocks.
    pub fn read_all_whole(
        &self,
        paths: &[&RemotePath],
        limit: u64,
        kind: HashKind,
    ) -> Vec<Result<Option<Whole>, StoreError>> {
        let opened = self.store.open_all(paths, usize::try_from(limit).unwrap_or(usize::MAX));
        opened.into_iter().map(|opened| self.whole(opened?, limit, kind)).collect()
    }

    fn whole(&self, (object, content): Opened, limit: u64, kind: HashKind) -> Result<Option<Whole>, StoreError> {
        let ObjectMeta { size, modified, ref etag, unsettled, executable } = *object.meta();
        if size > limit {
            return Ok(None);
        }
        // The digest that is remembered here is that of the version: part of it must not pass for it.
        if content.len() as u64 != size {
            return Err(StoreError::Changed);
        }
        object.ensure_unchanged()?;
        let known = self.digests.recall(etag, kind);
        let digest = known.unwrap_or_else(|| Digest::of_kind(kind, &content));
        if known.is_none() && !unsettled {
            self.digests.remember(etag, digest);
        }
        Ok(Some(Whole { modified, executable, digest, content }))
    }

    /// Visits what `query` asks for, each file with its digest of `kind` where that is known. Blocks.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub fn list(
        &self,
        query: &ListQuery,
        kind: HashKind,
        visit: &mut dyn FnMut(RemotePath, Entry, Option<Digest>) -> std::ops::ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.list_telling(query, kind, visit, &mut |_, _| {})
    }

    /// As [`Self::list`], and tells what is left out, as [`Store::list_telling`]. Blocks.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub fn list_telling(
        &self,
        query: &ListQuery,
        kind: HashKind,
        visit: &mut dyn FnMut(RemotePath, Entry, Option<Digest>) -> std::ops::ControlFlow<()>,
        left_out: &mut LeaveOut<'_>,
    ) -> Result<(), StoreError> {
        let visit: &mut Visit<'_> = &mut |path, entry| {
            let digest = match &entry {
                Entry::File(meta) => self.digest_of(meta, kind),
                Entry::Directory(_) | Entry::Link(_) => None,
            };
            visit(path, entry, digest)
        };
        self.store.list_telling(query, visit, left_out)
    }
}

/// All of a small file, of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Modification time.
    pub modified: jiff::Timestamp,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// Digest of `content`.
    pub digest: Digest,
    /// Its bytes.
    pub content: Bytes,
}

/// One reader's hold on an open version.
pub struct Version {
    shared: Arc<Shared>,
    threads: Threads,
    kind: HashKind,
}

impl Version {
    fn new(shared: Arc<Shared>, threads: Threads) -> Self {
        shared.readers.fetch_add(1, Ordering::Relaxed);
        Self { shared, threads, kind: HashKind::default() }
    }

    /// One of an object that nobody shares.
    pub(super) fn alone(object: Arc<dyn Object>, threads: Threads, kind: HashKind) -> Self {
        let shared = Shared::new(object, Bytes::new(), &Arc::default(), &Arc::default());
        Self::new(Arc::new(shared), threads).of_kind(kind)
    }

    /// The same, for its digest of `kind`: from now on, what is read of it is hashed for that.
    #[must_use]
    pub fn of_kind(mut self, kind: HashKind) -> Self {
        self.kind = kind;
        self.shared.want(kind);
        self
    }

    /// What its digest is made with.
    #[must_use]
    pub fn kind(&self) -> HashKind {
        self.kind
    }

    /// Where it is read and hashed.
    #[must_use]
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// The version's metadata.
    #[must_use]
    pub fn meta(&self) -> &ObjectMeta {
        self.shared.object.meta()
    }

    /// The digest of the whole, if somebody has hashed it already.
    #[must_use]
    pub fn known_digest(&self) -> Option<Digest> {
        self.shared.known(self.kind)
    }

    /// Block number `index`, [`BLOCK_BYTES`] long or up to the end. Blocks.
    ///
    /// # Errors
    /// As [`Object::read_at`].
    pub fn block(&self, index: u64) -> Result<Bytes, StoreError> {
        self.shared.block(index)
    }

    /// A short part of block number `index`, in a buffer of its own. The rest of the block is read only where it is needed to hash
    /// it. Blocks.
    ///
    /// # Errors
    /// As [`Object::read_at`]; [`StoreError::Changed`] when the block ends before the part does.
    pub fn part(&self, index: u64, place: Range<usize>) -> Result<Bytes, StoreError> {
        self.shared.part(index, place)
    }

    /// The digest of the whole, hashing what nobody has hashed yet. Blocks for as long as that takes.
    ///
    /// # Errors
    /// As [`Object::read_at`] and [`Object::ensure_unchanged`].
    pub fn digest(&self) -> Result<Digest, StoreError> {
        self.shared.compute_digest(self.kind)
    }

    /// Parts of `range` of at least `least` bytes that are zeros and that nothing is stored for: the `count` largest. Blocks.
    ///
    /// # Errors
    /// As [`Object::holes`].
    pub fn holes(&self, range: &Range<u64>, least: u64, count: usize) -> Result<Holes, StoreError> {
        Ok(self.shared.holes()?.clipped(range).largest(count, least))
    }

    /// As [`Object::ensure_unchanged`]. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Changed`].
    pub fn ensure_unchanged(&self) -> Result<(), StoreError> {
        self.shared.object.ensure_unchanged()
    }
}

impl Drop for Version {
    fn drop(&mut self) {
        if self.shared.readers.fetch_sub(1, Ordering::Relaxed) == 2 {
            self.shared.forget_blocks();
        }
    }
}

#[cfg(test)]
mod tests;
