//! Open versions, shared: however many clients fetch a file, it is read and hashed once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;

use super::{DigestCache, Entry, LeaveOut, ListQuery, Object, ObjectMeta, Store, StoreError, Visit};
use crate::model::{Digest, ETag, Holes, RemotePath};
use crate::offload::Threads;

mod shared;

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

    /// Opens `path`. Blocks.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(&self, path: &RemotePath) -> Result<Version, StoreError> {
        let (object, first) = self.store.open(path, BLOCK_BYTES as usize)?;
        let meta = object.meta();
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

    /// The whole of `path` with its digest, in one go, if it has no more than `limit` bytes; None when it has more. Blocks.
    ///
    /// # Errors
    /// As [`Store::open`] and [`Object::ensure_unchanged`].
    pub fn read_whole(&self, path: &RemotePath, limit: u64) -> Result<Option<Whole>, StoreError> {
        let (object, content) = self.store.open(path, usize::try_from(limit).unwrap_or(usize::MAX))?;
        let ObjectMeta { size, modified, ref etag, unsettled, executable } = *object.meta();
        if size > limit {
            return Ok(None);
        }
        object.ensure_unchanged()?;
        let known = self.digests.recall(etag);
        let sha256 = known.unwrap_or_else(|| Digest::of(&content));
        if known.is_none() && !unsettled {
            self.digests.remember(etag, sha256);
        }
        Ok(Some(Whole { modified, executable, sha256, content }))
    }

    /// Visits what `query` asks for, each file with its digest where that is known. Blocks.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub fn list(
        &self,
        query: &ListQuery,
        visit: &mut dyn FnMut(RemotePath, Entry, Option<Digest>) -> std::ops::ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.list_telling(query, visit, &mut |_, _| {})
    }

    /// As [`Self::list`], and tells what is left out, as [`Store::list_telling`]. Blocks.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub fn list_telling(
        &self,
        query: &ListQuery,
        visit: &mut dyn FnMut(RemotePath, Entry, Option<Digest>) -> std::ops::ControlFlow<()>,
        left_out: &mut LeaveOut<'_>,
    ) -> Result<(), StoreError> {
        let visit: &mut Visit<'_> = &mut |path, entry| {
            let digest = match &entry {
                Entry::File(meta) => self.digests.recall(&meta.etag),
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
    pub sha256: Digest,
    /// Its bytes.
    pub content: Bytes,
}

/// One reader's hold on an open version.
pub struct Version {
    shared: Arc<Shared>,
    threads: Threads,
}

impl Version {
    fn new(shared: Arc<Shared>, threads: Threads) -> Self {
        shared.readers.fetch_add(1, Ordering::Relaxed);
        Self { shared, threads }
    }

    /// One of an object that nobody shares.
    pub(super) fn alone(object: Arc<dyn Object>, threads: Threads) -> Self {
        Self::new(Arc::new(Shared::new(object, Bytes::new(), &Arc::default(), &Arc::default())), threads)
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
        self.shared.digest.get().copied()
    }

    /// Block number `index`, [`BLOCK_BYTES`] long or up to the end. Blocks.
    ///
    /// # Errors
    /// As [`Object::read_at`].
    pub fn block(&self, index: u64) -> Result<Bytes, StoreError> {
        self.shared.block(index)
    }

    /// The digest of the whole, hashing what nobody has hashed yet. Blocks for as long as that takes.
    ///
    /// # Errors
    /// As [`Object::read_at`] and [`Object::ensure_unchanged`].
    pub fn digest(&self) -> Result<Digest, StoreError> {
        self.shared.compute_digest()
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
mod tests {
    use super::shared::{KEPT_BLOCKS, RECENT_BLOCKS};
    use super::*;
    use std::sync::atomic::AtomicU64;

    struct Counted {
        content: Vec<u8>,
        meta: ObjectMeta,
        reads: AtomicU64,
        changed: std::sync::atomic::AtomicBool,
    }

    impl Object for Counted {
        fn meta(&self) -> &ObjectMeta {
            &self.meta
        }

        fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let start = usize::try_from(offset).unwrap();
            Ok(Bytes::copy_from_slice(&self.content[start..start + length]))
        }

        fn ensure_unchanged(&self) -> Result<(), StoreError> {
            if self.changed.load(Ordering::Relaxed) { Err(StoreError::Changed) } else { Ok(()) }
        }
    }

    /// Every call of these tests blocks.
    struct Unused;

    impl crate::offload::Offload for Unused {
        fn run(&self, _: Box<dyn FnOnce() + Send>) {
            unreachable!("nothing here is asynchronous")
        }
    }

    /// Holds one object under every name.
    struct One(Arc<Counted>);

    impl Store for One {
        fn open(&self, _: &RemotePath, first: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
            let length = self.0.content.len();
            let content = if length <= first { self.0.read_at(0, length)? } else { Bytes::new() };
            Ok((self.0.clone(), content))
        }

        fn list(&self, _: &ListQuery, _: &mut Visit<'_>) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn versions(blocks: u64) -> (Versions<One>, Arc<Counted>, RemotePath) {
        let content: Vec<u8> = (0..blocks * BLOCK_BYTES - 5).map(|i| (i % 251) as u8).collect();
        let meta = ObjectMeta {
            size: content.len() as u64,
            modified: jiff::Timestamp::UNIX_EPOCH,
            etag: "v1".parse().unwrap(),
            unsettled: false,
            executable: false,
        };
        let object = Arc::new(Counted { content, meta, reads: AtomicU64::new(0), changed: false.into() });
        let versions = Versions::new(One(Arc::clone(&object)), Arc::default(), Threads::new(Unused));
        (versions, object, RemotePath::parse("x").unwrap())
    }

    #[test]
    fn readers_side_by_side_share_one_read_and_one_hash() {
        let (versions, object, path) = versions(20);
        let readers: Vec<_> = (0..10).map(|_| versions.open(&path).unwrap()).collect();
        for index in 0..20 {
            std::thread::scope(|scope| {
                for reader in &readers {
                    scope.spawn(move || reader.block(index).unwrap());
                }
            });
        }
        assert_eq!(object.reads.load(Ordering::Relaxed), 20);
        assert_eq!(readers[9].known_digest(), Some(Digest::of(&object.content)));
    }

    // Fails when readers that drift apart read again, when more is kept than is allowed, or what is forgotten stays counted.
    #[test]
    fn readers_that_drift_apart_share_reads_within_what_is_kept() {
        let (versions, object, path) = versions(KEPT_BLOCKS as u64 + 20);
        let (first, second) = (versions.open(&path).unwrap(), versions.open(&path).unwrap());
        (0..KEPT_BLOCKS as u64).for_each(|index| drop(first.block(index).unwrap()));
        (0..KEPT_BLOCKS as u64).for_each(|index| drop(second.block(index).unwrap()));
        assert_eq!(object.reads.load(Ordering::Relaxed), KEPT_BLOCKS as u64);
        (KEPT_BLOCKS as u64..).take(20).for_each(|index| drop(first.block(index).unwrap()));
        assert_eq!(
            (versions.kept.load(Ordering::Relaxed), lock(&first.shared.blocks).recent.len()),
            (KEPT_BLOCKS, KEPT_BLOCKS)
        );
        drop(second);
        assert_eq!(versions.kept.load(Ordering::Relaxed), 0);
        drop(first);
        // When others keep all that may be kept, a version still has its few.
        versions.kept.store(KEPT_BLOCKS, Ordering::Relaxed);
        let (first, second) = (versions.open(&path).unwrap(), versions.open(&path).unwrap());
        (0..20).for_each(|index| drop(first.block(index).unwrap()));
        assert_eq!(lock(&first.shared.blocks).recent.len(), RECENT_BLOCKS);
        drop((first, second));
        assert_eq!(versions.kept.load(Ordering::Relaxed), KEPT_BLOCKS);
    }

    #[test]
    fn a_digest_asked_for_early_is_finished_by_whoever_needs_it() {
        let (versions, object, path) = versions(12);
        let reader = versions.open(&path).unwrap();
        reader.block(0).unwrap();
        reader.block(5).unwrap();
        reader.block(1).unwrap();
        assert_eq!(reader.known_digest(), None);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(reader.digest().unwrap(), Digest::of(&object.content)));
            }
        });
    }

    #[test]
    fn a_remembered_digest_needs_no_pass() {
        let (versions, object, path) = versions(3);
        let digest = versions.open(&path).unwrap().digest().unwrap();
        let reads = object.reads.load(Ordering::Relaxed);
        assert_eq!(versions.open(&path).unwrap().digest().unwrap(), digest);
        assert_eq!(object.reads.load(Ordering::Relaxed), reads);
    }

    // Fails when a file above the limit is read, a digest is computed twice, or one of a changed file is kept.
    #[test]
    fn a_small_file_is_read_whole_and_hashed_once() {
        let (versions, object, path) = versions(1);
        let size = object.meta.size;
        assert_eq!(versions.read_whole(&path, size - 1).unwrap(), None);
        assert_eq!(object.reads.load(Ordering::Relaxed), 0);
        let whole = versions.read_whole(&path, size).unwrap().unwrap();
        assert_eq!((&whole.content[..], whole.sha256), (&object.content[..], Digest::of(&object.content)));
        assert_eq!(versions.digests().recall(&object.meta.etag), Some(whole.sha256));
        let other = Digest::of(b"remembered");
        versions.digests().remember(&object.meta.etag, other);
        assert_eq!(versions.read_whole(&path, size).unwrap().unwrap().sha256, other);
        object.changed.store(true, Ordering::Relaxed);
        assert!(matches!(versions.read_whole(&path, size), Err(StoreError::Changed)));
    }

    #[test]
    fn a_change_leaves_no_digest() {
        let (versions, object, path) = versions(3);
        let reader = versions.open(&path).unwrap();
        object.changed.store(true, Ordering::Relaxed);
        assert!(matches!(reader.digest(), Err(StoreError::Changed)));
        assert_eq!(reader.known_digest(), None);
        assert_eq!(versions.digests().recall(&object.meta.etag), None);
    }

    #[test]
    fn a_lone_reader_keeps_no_blocks() {
        let (versions, object, path) = versions(4);
        let reader = versions.open(&path).unwrap();
        reader.block(3).unwrap();
        assert!(lock(&reader.shared.blocks).recent.is_empty());
        let second = versions.open(&path).unwrap();
        reader.block(3).unwrap();
        second.block(3).unwrap();
        assert_eq!(object.reads.load(Ordering::Relaxed), 2);
        drop(second);
        assert!(lock(&reader.shared.blocks).recent.is_empty());
    }
}
