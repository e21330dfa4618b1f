//! What the readers of one version share: its blocks while they are near each other, and one pass of hashing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use super::{DigestCache, Object, StoreError};
use crate::model::{Digest, Hasher};

/// Bytes read at once, and the unit that is shared. Large enough that a read costs little beside its copying, small enough
/// that two of them for each of a thousand readers fit in memory.
pub const BLOCK_BYTES: u64 = 256 << 10;

/// Blocks kept, of all versions together, while more than one reader has them open: 32 MiB. Readers that run within that of
/// each other share their reads; twenty that start together drift some 10 MiB apart.
pub(super) const KEPT_BLOCKS: usize = 128;

/// Blocks that a version may keep even when others keep all of [`KEPT_BLOCKS`].
pub(super) const RECENT_BLOCKS: usize = 8;

/// Blocks that may wait, read but not yet hashed, because an earlier one is still being read.
const PENDING_BLOCKS: u64 = 8;

/// What the readers of a version share.
pub(super) struct Shared {
    pub(super) object: Arc<dyn Object>,
    /// Block 0, where opening read it, until somebody asks for it.
    first: Mutex<Option<Bytes>>,
    digests: Arc<DigestCache>,
    /// Blocks kept by all versions.
    kept: Arc<AtomicUsize>,
    pub(super) readers: AtomicUsize,
    pub(super) blocks: Mutex<Blocks>,
    block_arrived: Condvar,
    hashing: Mutex<Hashing>,
    hash_advanced: Condvar,
    pub(super) digest: OnceLock<Digest>,
}

#[derive(Default)]
pub(super) struct Blocks {
    /// Newest last.
    pub(super) recent: VecDeque<(u64, Bytes)>,
    /// Being read by some thread.
    loading: Vec<u64>,
}

#[derive(Default)]
pub(super) struct Hashing {
    /// The first block not yet hashed.
    next: u64,
    /// None while a thread is hashing.
    idle: Option<Hasher>,
    pending: BTreeMap<u64, Bytes>,
}

impl Shared {
    /// `first` are the first bytes of `object`, as far as opening read them.
    pub(super) fn new(
        object: Arc<dyn Object>,
        first: Bytes,
        digests: &Arc<DigestCache>,
        kept: &Arc<AtomicUsize>,
    ) -> Self {
        let is_block = !first.is_empty() && (object.meta().size <= BLOCK_BYTES || first.len() as u64 == BLOCK_BYTES);
        let digest = OnceLock::new();
        if let Some(known) = digests.recall(&object.meta().etag) {
            let _ = digest.set(known);
        }
        Self {
            object,
            first: Mutex::new(is_block.then_some(first)),
            digests: Arc::clone(digests),
            kept: Arc::clone(kept),
            readers: AtomicUsize::new(0),
            blocks: Mutex::default(),
            block_arrived: Condvar::new(),
            hashing: Mutex::new(Hashing { idle: Some(Hasher::new()), ..Hashing::default() }),
            hash_advanced: Condvar::new(),
            digest,
        }
    }

    fn block_count(&self) -> u64 {
        self.object.meta().size.div_ceil(BLOCK_BYTES)
    }

    pub(super) fn block(&self, index: u64) -> Result<Bytes, StoreError> {
        let mut blocks = lock(&self.blocks);
        loop {
            if let Some((_, bytes)) = blocks.recent.iter().find(|(i, _)| *i == index) {
                return Ok(bytes.clone());
            }
            if !blocks.loading.contains(&index) {
                break;
            }
            blocks = self.block_arrived.wait(blocks).unwrap_or_else(PoisonError::into_inner);
        }
        blocks.loading.push(index);
        drop(blocks);

        let read = self.read(index);

        let mut blocks = lock(&self.blocks);
        blocks.loading.retain(|i| *i != index);
        if let Ok(bytes) = &read
            && self.readers.load(Ordering::Relaxed) > 1
        {
            // Exact enough: who comes at the same time may keep one too many.
            let is_full = self.kept.load(Ordering::Relaxed) >= KEPT_BLOCKS;
            let forgotten =
                if is_full && blocks.recent.len() >= RECENT_BLOCKS { blocks.recent.pop_front() } else { None };
            if forgotten.is_none() {
                self.kept.fetch_add(1, Ordering::Relaxed);
            }
            blocks.recent.push_back((index, bytes.clone()));
        }
        drop(blocks);
        // Whoever waited finds it among the recent ones, or reads it itself.
        self.block_arrived.notify_all();
        let bytes = read?;
        self.hash(index, &bytes)?;
        Ok(bytes)
    }

    fn read(&self, index: u64) -> Result<Bytes, StoreError> {
        if index == 0
            && let Some(first) = lock(&self.first).take()
        {
            return Ok(first);
        }
        let offset = index * BLOCK_BYTES;
        let length = BLOCK_BYTES.min(self.object.meta().size.saturating_sub(offset));
        self.object.read_at(offset, usize::try_from(length).map_err(|_| StoreError::Changed)?)
    }

    pub(super) fn forget_blocks(&self) {
        let mut blocks = lock(&self.blocks);
        self.kept.fetch_sub(blocks.recent.len(), Ordering::Relaxed);
        blocks.recent.clear();
    }

    /// Hashes `bytes` if it is their turn, and whatever waited behind them.
    fn hash(&self, index: u64, bytes: &Bytes) -> Result<(), StoreError> {
        if self.digest.get().is_some() {
            return Ok(());
        }
        let mut hashing = lock(&self.hashing);
        if index > hashing.next || hashing.idle.is_none() {
            if index >= hashing.next && index - hashing.next < PENDING_BLOCKS {
                hashing.pending.insert(index, bytes.clone());
            }
            return Ok(());
        }
        if index < hashing.next {
            return Ok(());
        }
        let Some(mut hasher) = hashing.idle.take() else { return Ok(()) };
        let mut bytes = bytes.clone();
        loop {
            drop(hashing);
            hasher.update(&bytes);
            hashing = lock(&self.hashing);
            hashing.next += 1;
            let next = hashing.next;
            match hashing.pending.remove(&next) {
                Some(waiting) => bytes = waiting,
                None => break,
            }
        }
        // A second copy of a block that was being hashed may have been left here.
        let next = hashing.next;
        hashing.pending.retain(|index, _| *index > next);
        let complete = next == self.block_count();
        hashing.idle = Some(hasher.clone());
        drop(hashing);
        let result = if complete { self.settle(hasher) } else { Ok(()) };
        self.hash_advanced.notify_all();
        result
    }

    /// Remembers the digest, if what was hashed is one version from beginning to end.
    fn settle(&self, hasher: Hasher) -> Result<(), StoreError> {
        self.object.ensure_unchanged()?;
        let digest = hasher.finish();
        let _ = self.digest.set(digest);
        if !self.object.meta().unsettled {
            self.digests.remember(&self.object.meta().etag, digest);
        }
        Ok(())
    }

    pub(super) fn compute_digest(&self) -> Result<Digest, StoreError> {
        loop {
            if let Some(digest) = self.digest.get() {
                return Ok(*digest);
            }
            let mut hashing = lock(&self.hashing);
            while hashing.idle.is_none() {
                hashing = self.hash_advanced.wait(hashing).unwrap_or_else(PoisonError::into_inner);
            }
            let next = hashing.next;
            if next == self.block_count() {
                let hasher = hashing.idle.clone().unwrap_or_default();
                drop(hashing);
                self.settle(hasher)?;
                continue;
            }
            drop(hashing);
            // A block among the recent ones was hashed by whoever read it, unless it came too early: offer it again.
            let bytes = self.block(next)?;
            self.hash(next, &bytes)?;
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.forget_blocks();
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
