//! What the readers of one version share: its blocks while they are near each other, and one pass of hashing.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use super::tree_pass::TreePass;
use super::{DigestCache, Object, StoreError};
use crate::model::{Digest, HashKind, Hasher, Holes};

/// Bytes read at once, and the unit that is shared. Large enough that a read costs little beside its copying, small enough
/// that two of them for each of a thousand readers fit in memory.
pub const BLOCK_BYTES: u64 = 256 << 10;

/// Blocks kept, of all versions together, while more than one reader has them open: 32 MiB. Readers that run within that of
/// each other share their reads; twenty that start together drift some 10 MiB apart.
pub(super) const KEPT_BLOCKS: usize = 128;

/// Blocks that a version may keep even when others keep all of [`KEPT_BLOCKS`].
pub(super) const RECENT_BLOCKS: usize = 8;

/// Blocks without anything stored that are hashed beside one that was read: 16 MiB of zeros, some 10 ms. A reader does not wait for
/// more than that; whoever wants the digest hashes the rest.
const HOLES_AT_ONCE: usize = 64;

/// What a block reads as that nothing is stored for.
static ZEROS: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];

/// Blocks that may wait, read but not yet hashed, because an earlier one is still being read.
const PENDING_BLOCKS: u64 = 8;

/// What the readers of a version share.
pub(super) struct Shared {
    pub(super) object: Arc<dyn Object>,
    /// Block 0, where opening read it, until somebody asks for it.
    first: Mutex<Option<Bytes>>,
    digests: Arc<DigestCache>,
    /// Known once somebody has asked.
    holes: OnceLock<Holes>,
    /// Blocks kept by all versions.
    kept: Arc<AtomicUsize>,
    pub(super) readers: AtomicUsize,
    pub(super) blocks: Mutex<Blocks>,
    block_arrived: Condvar,
    /// Whether anybody wants the SHA-256.
    chained: AtomicBool,
    hashing: Mutex<Hashing>,
    hash_advanced: Condvar,
    /// The SHA-256.
    digest: OnceLock<Digest>,
    /// The BLAKE3, once anybody wants it.
    tree: OnceLock<TreePass>,
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
        Self {
            object,
            first: Mutex::new(is_block.then_some(first)),
            digests: Arc::clone(digests),
            holes: OnceLock::new(),
            kept: Arc::clone(kept),
            readers: AtomicUsize::new(0),
            blocks: Mutex::default(),
            block_arrived: Condvar::new(),
            hashing: Mutex::new(Hashing { idle: Some(Hasher::new()), ..Hashing::default() }),
            hash_advanced: Condvar::new(),
            chained: AtomicBool::new(false),
            digest: OnceLock::new(),
            tree: OnceLock::new(),
        }
    }

    /// From now on, what is read is hashed for a digest of `kind`, unless that is known.
    pub(super) fn want(&self, kind: HashKind) {
        match kind {
            HashKind::Sha256 => {
                if !self.chained.swap(true, Ordering::Relaxed)
                    && let Some(known) = self.remembered(kind)
                {
                    let _ = self.digest.set(known);
                }
            }
            HashKind::Blake3 => drop(self.tree()),
        }
    }

    /// The pass for the BLAKE3, from now on.
    fn tree(&self) -> &TreePass {
        self.tree.get_or_init(|| {
            let pass = TreePass::new(self.object.meta().size, BLOCK_BYTES);
            if let Some(known) = self.remembered(HashKind::Blake3) {
                let _ = pass.digest.set(known);
            }
            pass
        })
    }

    fn remembered(&self, kind: HashKind) -> Option<Digest> {
        self.digests.recall(&self.object.meta().etag, kind)
    }

    /// The digest of `kind`, if somebody has made it.
    pub(super) fn known(&self, kind: HashKind) -> Option<Digest> {
        match kind {
            HashKind::Sha256 => self.digest.get().copied(),
            HashKind::Blake3 => self.tree.get()?.digest.get().copied(),
        }
    }

    /// Parts that nothing is stored for.
    pub(super) fn holes(&self) -> Result<&Holes, StoreError> {
        if let Some(holes) = self.holes.get() {
            return Ok(holes);
        }
        let found = self.object.holes()?;
        // Two may ask at once; either answer is right.
        Ok(self.holes.get_or_init(|| found))
    }

    fn span(&self, index: u64) -> Range<u64> {
        let start = index * BLOCK_BYTES;
        start..self.object.meta().size.min(start.saturating_add(BLOCK_BYTES))
    }

    /// Whether nothing is stored of a block, as far as is known.
    fn is_hole(&self, index: u64) -> bool {
        self.holes.get().is_some_and(|holes| holes.cover(&self.span(index)))
    }

    /// Blocks between `next` and `index` of which something is stored.
    fn blocks_between(&self, next: u64, index: u64) -> u64 {
        let spared = self.holes.get().map_or(0, |holes| {
            let between = next * BLOCK_BYTES..index * BLOCK_BYTES;
            let whole = |hole: &Range<u64>| (hole.end / BLOCK_BYTES).saturating_sub(hole.start.div_ceil(BLOCK_BYTES));
            holes.clipped(&between).iter().map(whole).sum()
        });
        index - next - spared
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

    pub(super) fn part(&self, index: u64, place: Range<usize>) -> Result<Bytes, StoreError> {
        let is_at_hand = lock(&self.blocks).recent.iter().any(|(i, _)| *i == index);
        let span = self.span(index);
        let start = span.start.saturating_add(place.start as u64);
        // What is being hashed needs whole blocks; a hole has no bytes to read.
        if is_at_hand || self.digest.get().is_none() || self.is_hole(index) {
            let block = self.block(index)?;
            return block.get(place).map(Bytes::copy_from_slice).ok_or(StoreError::Changed);
        }
        if place.is_empty() {
            return Ok(Bytes::new());
        }
        self.object.read_at(start, place.len())
    }

    fn read(&self, index: u64) -> Result<Bytes, StoreError> {
        if index == 0
            && let Some(first) = lock(&self.first).take()
        {
            return Ok(first);
        }
        let span = self.span(index);
        let length = usize::try_from(span.end.saturating_sub(span.start)).map_err(|_| StoreError::Changed)?;
        if length > 0 && self.is_hole(index) {
            return Ok(Bytes::from_static(&ZEROS[..length]));
        }
        self.object.read_at(span.start, length)
    }

    pub(super) fn forget_blocks(&self) {
        let mut blocks = lock(&self.blocks);
        self.kept.fetch_sub(blocks.recent.len(), Ordering::Relaxed);
        blocks.recent.clear();
    }

    /// Hashes `bytes` for every digest that is wanted.
    fn hash(&self, index: u64, bytes: &Bytes) -> Result<(), StoreError> {
        if let Some(tree) = self.tree.get()
            && let Some(digest) = tree.hash(index, bytes)
        {
            self.settle(digest, &tree.digest)?;
        }
        if self.chained.load(Ordering::Relaxed) { self.hash_in_turn(index, bytes) } else { Ok(()) }
    }

    /// Hashes `bytes` if it is their turn, whatever waited behind them, and blocks without anything stored in between.
    fn hash_in_turn(&self, index: u64, bytes: &Bytes) -> Result<(), StoreError> {
        if self.digest.get().is_some() {
            return Ok(());
        }
        let mut hashing = lock(&self.hashing);
        let mut offered = Some(bytes.clone()).filter(|_| index >= hashing.next);
        let Some(mut hasher) = hashing.idle.take_if(|_| offered.is_some()) else {
            self.keep_waiting(&mut hashing, index, offered);
            return Ok(());
        };
        let mut holes = 0;
        loop {
            let next = hashing.next;
            let bytes =
                match (next == index).then(|| offered.take()).flatten().or_else(|| hashing.pending.remove(&next)) {
                    Some(bytes) => bytes,
                    None if holes < HOLES_AT_ONCE && next < self.block_count() && self.is_hole(next) => {
                        holes += 1;
                        let span = self.span(next);
                        // A block's length at most.
                        Bytes::from_static(&ZEROS[..(span.end - span.start) as usize])
                    }
                    None => break,
                };
            drop(hashing);
            hasher.update(&bytes);
            hashing = lock(&self.hashing);
            hashing.next += 1;
        }
        self.keep_waiting(&mut hashing, index, offered);
        // A second copy of a block that was being hashed may have been left here.
        let next = hashing.next;
        hashing.pending.retain(|index, _| *index >= next);
        let complete = next == self.block_count();
        hashing.idle = Some(hasher.clone());
        drop(hashing);
        let result = if complete { self.settle(hasher.finish(), &self.digest) } else { Ok(()) };
        self.hash_advanced.notify_all();
        result
    }

    /// Keeps a block whose turn has not come, unless it is too far ahead.
    fn keep_waiting(&self, hashing: &mut Hashing, index: u64, offered: Option<Bytes>) {
        if let Some(bytes) = offered
            && index >= hashing.next
            && self.blocks_between(hashing.next, index) < PENDING_BLOCKS
        {
            hashing.pending.insert(index, bytes);
        }
    }

    /// Remembers the digest, if what was hashed is one version from beginning to end.
    fn settle(&self, digest: Digest, slot: &OnceLock<Digest>) -> Result<(), StoreError> {
        self.object.ensure_unchanged()?;
        let _ = slot.set(digest);
        if !self.object.meta().unsettled {
            self.digests.remember(&self.object.meta().etag, digest);
        }
        Ok(())
    }

    pub(super) fn compute_digest(&self, kind: HashKind) -> Result<Digest, StoreError> {
        match kind {
            HashKind::Sha256 => self.finish_chain(),
            HashKind::Blake3 => self.finish_tree(),
        }
    }

    fn finish_tree(&self) -> Result<Digest, StoreError> {
        let tree = self.tree();
        loop {
            if let Some(digest) = tree.digest.get() {
                return Ok(*digest);
            }
            match tree.missing() {
                Ok(index) => {
                    let bytes = self.block(index)?;
                    // Unless it was among the recent ones, it is hashed by now.
                    self.hash(index, &bytes)?;
                }
                Err(digest) => self.settle(digest, &tree.digest)?,
            }
        }
    }

    fn finish_chain(&self) -> Result<Digest, StoreError> {
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
                self.settle(hasher.finish(), &self.digest)?;
                continue;
            }
            drop(hashing);
            // A block among the recent ones was hashed by whoever read it, unless it came too early: offer it again.
            let bytes = self.block(next)?;
            self.hash_in_turn(next, &bytes)?;
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
