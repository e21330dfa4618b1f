//! One pass of BLAKE3 over a version, by whoever reads its blocks, in any order.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use crate::model::{Digest, HashTree, Part, Scratch};

/// The pass. Blocks are hashed without a lock, several at once.
pub(super) struct TreePass {
    size: u64,
    /// Bytes of each block but the last.
    block_bytes: u64,
    state: Mutex<State>,
    advanced: Condvar,
    /// Set once the version was found unchanged behind the last block.
    pub(super) digest: OnceLock<Digest>,
}

struct State {
    tree: HashTree,
    /// Blocks that some thread is hashing.
    busy: Vec<u64>,
}

impl TreePass {
    /// Over an object of `size` bytes in blocks of `block_bytes`.
    pub(super) fn new(size: u64, block_bytes: u64) -> Self {
        let state = Mutex::new(State { tree: HashTree::new(size), busy: Vec::new() });
        Self { size, block_bytes, state, advanced: Condvar::new(), digest: OnceLock::new() }
    }

    /// Hashes block `index` unless that was done. Returns the digest with the last one.
    pub(super) fn hash(&self, index: u64, bytes: &Bytes) -> Option<Digest> {
        let offset = index * self.block_bytes;
        let mut state = self.lock();
        if self.digest.get().is_some() || state.busy.contains(&index) || state.tree.has(offset) {
            return None;
        }
        state.busy.push(index);
        drop(state);
        // A block is one piece, so nothing has to be put together.
        let part = Part::hash(self.size, offset, std::slice::from_ref(bytes), &mut Scratch::default());
        let mut state = self.lock();
        state.tree.add(part);
        state.busy.retain(|busy| *busy != index);
        let digest = state.tree.digest();
        drop(state);
        self.advanced.notify_all();
        digest
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first block that nobody has hashed, or the digest when there is none. Waits for a block that is being hashed.
    pub(super) fn missing(&self) -> Result<u64, Digest> {
        let mut state = self.lock();
        loop {
            if let Some(digest) = state.tree.digest() {
                return Err(digest);
            }
            let index = state.tree.frontier() / self.block_bytes;
            if !state.busy.contains(&index) {
                return Ok(index);
            }
            state = self.advanced.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
