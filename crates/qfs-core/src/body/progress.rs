//! How far an assembly has come: what is there, what of it is hashed, and the digest that is made.

use std::ops::Range;

use bytes::Bytes;

use super::coverage::{Coverage, Kind};
use crate::model::{Digest, HashKind, HashTree, Hasher, Part, Scratch};
use crate::store::{StagedObject, StoreError};

/// Bytes read back at once: to hash what arrived early, and what a former run left.
const READ_BACK_BYTES: u64 = 256 << 10;

pub(super) struct Progress {
    running: Running,
    /// All bytes before this are written and hashed.
    pub(super) frontier: u64,
    /// What is there beyond the frontier.
    pub(super) beyond: Coverage,
    /// The frontier last recorded on disk.
    pub(super) recorded: u64,
}

/// A digest that is being made.
enum Running {
    /// Of bytes in their order.
    Chain(Hasher),
    /// Of parts in any order; what the frontier passes is put together in the scratch.
    Tree(HashTree, Scratch),
}

impl Running {
    fn new(kind: HashKind, size: u64) -> Self {
        match kind {
            HashKind::Sha256 => Self::Chain(Hasher::new()),
            HashKind::Blake3 => Self::Tree(HashTree::new(size), Scratch::default()),
        }
    }
}

impl Progress {
    pub(super) fn new(kind: HashKind, size: u64, recorded: u64) -> Self {
        Self { running: Running::new(kind, size), frontier: 0, beyond: Coverage::default(), recorded }
    }

    pub(super) fn kind(&self) -> HashKind {
        match self.running {
            Running::Chain(_) => HashKind::Sha256,
            Running::Tree(..) => HashKind::Blake3,
        }
    }

    /// Begins another digest. Everything that was hashed is to be hashed from where it is stored.
    pub(super) fn start_over(&mut self, kind: HashKind, size: u64) {
        self.running = Running::new(kind, size);
        self.beyond.unhash();
        self.beyond.add(0..self.frontier, Kind::Stored);
        self.frontier = 0;
    }

    /// Whether parts may be hashed apart, wherever they belong.
    pub(super) fn takes_parts(&self) -> bool {
        matches!(&self.running, Running::Tree(tree, _) if tree.has_room())
    }

    /// Adds a part that was hashed apart. False when it is of no use: there is no room for it any more, or another digest was begun.
    pub(super) fn add(&mut self, part: Part) -> bool {
        match &mut self.running {
            Running::Tree(tree, _) if tree.has_room() => {
                tree.add(part);
                true
            }
            _ => false,
        }
    }

    /// Hashes `bytes`, which are written, at the frontier and moves it behind them.
    pub(super) fn append(&mut self, bytes: &[Bytes]) {
        match &mut self.running {
            Running::Chain(hasher) => bytes.iter().for_each(|piece| hasher.update(piece)),
            Running::Tree(tree, scratch) => tree.add(Part::hash(tree.size(), self.frontier, bytes, scratch)),
        }
        self.frontier += bytes.iter().map(|piece| piece.len() as u64).sum::<u64>();
    }

    fn append_zeros(&mut self, count: u64) {
        match &mut self.running {
            Running::Chain(hasher) => hasher.update_zeros(count),
            Running::Tree(tree, _) => {
                tree.add(Part::zeros(tree.size(), self.frontier..self.frontier + count));
            }
        }
        self.frontier += count;
    }

    /// The digest, when everything was hashed.
    pub(super) fn digest(&self) -> Option<Digest> {
        match &self.running {
            Running::Chain(hasher) => Some(hasher.clone().finish()),
            Running::Tree(tree, _) => tree.digest(),
        }
    }

    /// What of `range` is neither behind the frontier nor there beyond it.
    pub(super) fn missing_in(&self, range: Range<u64>) -> Vec<Range<u64>> {
        self.beyond.gaps(&(range.start.max(self.frontier)..range.end))
    }

    /// Hashes what adjoins the frontier and moves it: what arrived early from the file (the page cache is the buffer for it), and
    /// up to `zeros` bytes of holes.
    pub(super) fn hash_adjoining(&mut self, stage: &dyn StagedObject, mut zeros: u64) -> Result<(), StoreError> {
        while let Some((start, end, kind)) = self.beyond.first() {
            if start != self.frontier || (kind == Kind::Zeros && zeros == 0) {
                break;
            }
            match kind {
                Kind::Stored => self.hash_stored(stage, end)?,
                Kind::Hashed => self.frontier = end,
                Kind::Zeros => {
                    let step = zeros.min(end - start);
                    self.append_zeros(step);
                    zeros -= step;
                }
            }
            self.beyond.forget_before(self.frontier);
        }
        Ok(())
    }

    /// Hashes what is stored from the frontier up to `end` and moves the frontier there.
    pub(super) fn hash_stored(&mut self, stage: &dyn StagedObject, end: u64) -> Result<(), StoreError> {
        while self.frontier < end {
            let length = READ_BACK_BYTES.min(end - self.frontier);
            let bytes = stage.read_at(self.frontier, length as usize)?;
            self.append(&[bytes]);
        }
        Ok(())
    }
}
