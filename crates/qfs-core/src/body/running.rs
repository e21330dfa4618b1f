//! The digest of an assembly, as it is made.

use std::ops::Range;

use bytes::Bytes;

use crate::model::{Digest, HashKind, HashTree, Hasher, Part, Scratch};

/// A digest that is being made.
pub(super) enum Running {
    /// Of bytes in their order.
    Chain(Hasher),
    /// Of parts in any order; what the frontier passes is put together in the scratch.
    Tree(HashTree, Scratch),
}

impl Running {
    pub(super) fn new(kind: HashKind, size: u64) -> Self {
        match kind {
            HashKind::Sha256 => Self::Chain(Hasher::new()),
            HashKind::Blake3 => Self::Tree(HashTree::new(size), Scratch::default()),
        }
    }

    /// Whether parts may be hashed apart, wherever they belong.
    pub(super) fn takes_parts(&self) -> bool {
        matches!(self, Self::Tree(tree, _) if tree.has_room())
    }

    /// Adds a part that was hashed apart. False when it is of no use: there is no room for it any more, or another digest was begun.
    pub(super) fn add(&mut self, part: Part) -> bool {
        match self {
            Self::Tree(tree, _) if tree.has_room() => {
                tree.add(part);
                true
            }
            _ => false,
        }
    }

    /// Hashes `bytes`, which lie at `start`: for a chain, behind all that was hashed.
    pub(super) fn append(&mut self, start: u64, bytes: &[Bytes]) {
        match self {
            Self::Chain(hasher) => bytes.iter().for_each(|piece| hasher.update(piece)),
            Self::Tree(tree, scratch) => tree.add(Part::hash(tree.size(), start, bytes, scratch)),
        }
    }

    /// As [`Self::append`], a hole.
    pub(super) fn append_zeros(&mut self, hole: Range<u64>) {
        match self {
            Self::Chain(hasher) => hasher.update_zeros(hole.end - hole.start),
            Self::Tree(tree, _) => tree.add(Part::zeros(tree.size(), hole)),
        }
    }

    /// The digest, when everything was hashed.
    pub(super) fn digest(&self) -> Option<Digest> {
        match self {
            Self::Chain(hasher) => Some(hasher.clone().finish()),
            Self::Tree(tree, _) => tree.digest(),
        }
    }
}
