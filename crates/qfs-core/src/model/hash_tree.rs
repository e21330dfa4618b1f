//! BLAKE3 as the tree that it is: parts of an object hashed in any order, on any thread, and joined as their neighbours come.
//!
//! A tree knows how large the object is and nothing else of it. The work is in [`Part`], which needs no tree; adding one to a
//! [`HashTree`] costs next to nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};
use bytes::Bytes;

use super::{Digest, HashKind};

/// Bytes of a leaf of the tree.
const CHUNK_BYTES: u64 = 1024;

/// Levels of the largest subtree that is hashed in one go: 256 KiB. Smaller ones leave lanes of the processor idle, larger ones
/// gain nothing and leave its caches.
const MAX_LEVEL: u32 = 8;

/// Bytes of that subtree.
const MAX_SUBTREE_BYTES: usize = (CHUNK_BYTES as usize) << MAX_LEVEL;

/// Chunks of which a part is there, in one tree: 4 MiB. Two for each gap in what has come.
const MAX_OPEN_CHUNKS: usize = 4096;

/// What is hashed in the place of a hole.
static ZEROS: [u8; MAX_SUBTREE_BYTES] = [0; MAX_SUBTREE_BYTES];

/// The BLAKE3 of an object of known size, put together from [`Part`]s in any order.
#[derive(Clone)]
pub struct HashTree {
    size: u64,
    /// Subtrees whose neighbour has not come yet, by the number of their first chunk. None overlap.
    subtrees: BTreeMap<u64, Subtree>,
    /// Chunks of which a part is there, by their number.
    open: BTreeMap<u64, OpenChunk>,
    /// The digest of an object that is one chunk.
    single: Option<blake3::Hash>,
}

/// A subtree of 2^`level` chunks; of fewer where the object ends in it.
#[derive(Clone, Copy)]
struct Subtree {
    level: u32,
    value: ChainingValue,
}

#[derive(Clone)]
struct OpenChunk {
    bytes: Box<[u8; CHUNK_BYTES as usize]>,
    filled: usize,
}

/// A part of an object without a gap, hashed as far as that goes without its neighbours.
pub struct Part {
    subtrees: Vec<(u64, Subtree)>,
    /// What of it is less than a chunk: at most its beginning and its end, by their offsets.
    edges: Vec<(u64, Vec<u8>)>,
}

/// Where small pieces are put together to be hashed in one go: 256 KiB once it was needed. Kept for many parts.
#[derive(Debug, Default)]
pub struct Scratch(Vec<u8>);

impl Part {
    /// Hashes `pieces`, which lie one behind the other from byte `offset` of an object of `size` bytes.
    #[must_use]
    pub fn hash(size: u64, offset: u64, pieces: &[Bytes], scratch: &mut Scratch) -> Self {
        let length: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self::of(size, offset..offset + length, &mut Pieces { pieces, taken: 0 }, scratch)
    }

    /// Hashes zeros in `range` of an object of `size` bytes.
    #[must_use]
    pub fn zeros(size: u64, range: Range<u64>) -> Self {
        Self::of(size, range, &mut Zeros, &mut Scratch::default())
    }

    fn of(size: u64, range: Range<u64>, source: &mut impl Source, scratch: &mut Scratch) -> Self {
        let (mut subtrees, mut edges) = (Vec::new(), Vec::new());
        let root = root_level(size);
        let end = range.end.min(size);
        let mut position = range.start;
        while position < end {
            let chunk = position / CHUNK_BYTES;
            match largest_level(size, root, position, end) {
                Some(level) => {
                    let behind = end_of(size, chunk, level);
                    // At most `MAX_SUBTREE_BYTES`.
                    let bytes = source.next((behind - position) as usize, scratch);
                    let value = blake3::Hasher::new().set_input_offset(position).update(bytes).finalize_non_root();
                    subtrees.push((chunk, Subtree { level, value }));
                    position = behind;
                }
                None => {
                    let behind = end.min((chunk + 1) * CHUNK_BYTES);
                    edges.push((position, source.next((behind - position) as usize, scratch).to_vec()));
                    position = behind;
                }
            }
        }
        Self { subtrees, edges }
    }
}

/// The smallest level at which one subtree holds an object of `size` bytes.
fn root_level(size: u64) -> u32 {
    size.div_ceil(CHUNK_BYTES).max(1).next_power_of_two().trailing_zeros()
}

/// Where the subtree of `level` ends that begins with `chunk`.
fn end_of(size: u64, chunk: u64, level: u32) -> u64 {
    size.min((chunk + (1 << level)).saturating_mul(CHUNK_BYTES))
}

/// The level of the largest subtree that begins at `position`, is whole before `end`, and is not the root. None where there is
/// not even one chunk.
fn largest_level(size: u64, root: u32, position: u64, end: u64) -> Option<u32> {
    if !position.is_multiple_of(CHUNK_BYTES) {
        return None;
    }
    let chunk = position / CHUNK_BYTES;
    let most = root.checked_sub(1)?.min(MAX_LEVEL).min(chunk.trailing_zeros());
    (0..=most).rev().find(|level| end_of(size, chunk, *level) <= end)
}

/// Bytes that are taken one behind the other.
trait Source {
    /// The next `length` bytes, at most [`MAX_SUBTREE_BYTES`], of which there are as many.
    fn next<'a>(&'a mut self, length: usize, scratch: &'a mut Scratch) -> &'a [u8];
}

struct Zeros;

impl Source for Zeros {
    fn next<'a>(&'a mut self, length: usize, _: &'a mut Scratch) -> &'a [u8] {
        &ZEROS[..length]
    }
}

struct Pieces<'p> {
    pieces: &'p [Bytes],
    /// Bytes of the first piece that were taken.
    taken: usize,
}

impl Source for Pieces<'_> {
    fn next<'a>(&'a mut self, length: usize, scratch: &'a mut Scratch) -> &'a [u8] {
        self.skip_taken();
        if let Some(first) = self.pieces.first()
            && first.len() - self.taken >= length
        {
            self.taken += length;
            return &first[self.taken - length..self.taken];
        }
        scratch.0.clear();
        while scratch.0.len() < length {
            self.skip_taken();
            let Some(first) = self.pieces.first() else { break };
            let step = (length - scratch.0.len()).min(first.len() - self.taken);
            scratch.0.extend_from_slice(&first[self.taken..self.taken + step]);
            self.taken += step;
        }
        &scratch.0
    }
}

impl Pieces<'_> {
    fn skip_taken(&mut self) {
        while let [first, rest @ ..] = self.pieces
            && first.len() == self.taken
        {
            (self.pieces, self.taken) = (rest, 0);
        }
    }
}

impl HashTree {
    /// Of an object of `size` bytes, of which nothing has come.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self { size, subtrees: BTreeMap::new(), open: BTreeMap::new(), single: None }
    }

    /// The object's size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether parts may come with gaps between them. Without room, only the part that begins where the tree has no gap before it
    /// may be added: else a peer that leaves a gap behind every byte could have any amount of memory held for it.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.open.len() < MAX_OPEN_CHUNKS
    }

    /// Adds a part of which no byte was added before, made for an object of this size.
    pub fn add(&mut self, part: Part) {
        for (chunk, subtree) in part.subtrees {
            self.join(chunk, subtree);
        }
        for (offset, bytes) in part.edges {
            self.fill(offset, &bytes);
        }
    }

    fn fill(&mut self, offset: u64, bytes: &[u8]) {
        let chunk = offset / CHUNK_BYTES;
        // Less than a chunk.
        let place = (offset % CHUNK_BYTES) as usize;
        let length = (end_of(self.size, chunk, 0) - chunk * CHUNK_BYTES) as usize;
        let empty = || OpenChunk { bytes: Box::new([0; CHUNK_BYTES as usize]), filled: 0 };
        let open = self.open.entry(chunk).or_insert_with(empty);
        open.bytes[place..place + bytes.len()].copy_from_slice(bytes);
        open.filled += bytes.len();
        if open.filled < length {
            return;
        }
        let Some(whole) = self.open.remove(&chunk) else { return };
        let bytes = &whole.bytes[..length];
        if root_level(self.size) == 0 {
            self.single = Some(blake3::hash(bytes));
            return;
        }
        let value = blake3::Hasher::new().set_input_offset(chunk * CHUNK_BYTES).update(bytes).finalize_non_root();
        self.join(chunk, Subtree { level: 0, value });
    }

    /// Adds a subtree, and joins it with its neighbours as far up as they are there. The two below the root stay apart.
    fn join(&mut self, mut chunk: u64, mut subtree: Subtree) {
        let root = root_level(self.size);
        while subtree.level + 1 < root {
            let span = 1 << subtree.level;
            let neighbour = chunk ^ span;
            let is_left = chunk < neighbour;
            if is_left && neighbour.saturating_mul(CHUNK_BYTES) >= self.size {
                // The object ends before its neighbour, so there is nothing to join with.
                subtree.level += 1;
                continue;
            }
            let Some(other) = self.subtrees.get(&neighbour).filter(|other| other.level == subtree.level) else { break };
            let (left, right) = if is_left { (subtree.value, other.value) } else { (other.value, subtree.value) };
            self.subtrees.remove(&neighbour);
            chunk = chunk.min(neighbour);
            subtree = Subtree { level: subtree.level + 1, value: merge_subtrees_non_root(&left, &right, Mode::Hash) };
        }
        self.subtrees.insert(chunk, subtree);
    }

    /// Whether the chunk that byte `offset` lies in has come.
    #[must_use]
    pub fn has(&self, offset: u64) -> bool {
        let chunk = offset / CHUNK_BYTES;
        let before = self.subtrees.range(..=chunk).next_back();
        self.single.is_some() || before.is_some_and(|(first, subtree)| chunk - first < 1 << subtree.level)
    }

    /// Up to where everything from the object's start has come, but for a part of a chunk.
    #[must_use]
    pub fn frontier(&self) -> u64 {
        if self.single.is_some() {
            return self.size;
        }
        let mut chunk = 0;
        while let Some(subtree) = self.subtrees.get(&chunk) {
            chunk += 1 << subtree.level;
        }
        self.size.min(chunk.saturating_mul(CHUNK_BYTES))
    }

    /// The digest, or None while something is missing.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        let root = match root_level(self.size).checked_sub(1) {
            None if self.size == 0 => blake3::hash(b""),
            None => self.single?,
            Some(level) => {
                let child = |chunk: u64| self.subtrees.get(&chunk).filter(|child| child.level == level);
                merge_subtrees_root(&child(0)?.value, &child(1 << level)?.value, Mode::Hash)
            }
        };
        Some(Digest::new(HashKind::Blake3, *root.as_bytes()))
    }
}

impl fmt::Debug for HashTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashTree({} of {})", self.frontier(), self.size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(size: usize) -> Vec<u8> {
        (0..size).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    fn expected(content: &[u8]) -> Option<Digest> {
        Some(Digest::of_kind(HashKind::Blake3, content))
    }

    /// `content`, whose part `range` is given to a tree in pieces of `step` bytes.
    fn part(content: &[u8], range: Range<usize>, step: usize) -> Part {
        let pieces: Vec<_> = content[range.clone()].chunks(step).map(Bytes::copy_from_slice).collect();
        Part::hash(content.len() as u64, range.start as u64, &pieces, &mut Scratch::default())
    }

    /// Fails when: a tree of a size beside a power of two has another shape; an object of one chunk, or of none, is not the root.
    #[test]
    fn objects_of_every_shape_in_one_part_and_in_two() {
        let shapes = [0, 1, 1023, 1024, 1025, 2048, 2049, 3072, 5000, 65536, 262_143, 262_144, 262_145, 524_289];
        for size in shapes.into_iter().chain([786_433, 1 << 20, (1 << 20) + 1025]) {
            let content = content(size);
            let mut tree = HashTree::new(size as u64);
            tree.add(part(&content, 0..size, 1 << 20));
            assert_eq!((tree.digest(), tree.frontier()), (expected(&content), size as u64), "{size}");
            assert!(tree.open.is_empty() && tree.subtrees.len() <= 2);
            assert!((0..size as u64).step_by(511).all(|offset| tree.has(offset)));
            for cut in [1, 500, 1024, 1500, 262_144, 300_000].into_iter().filter(|cut| *cut < size) {
                let mut tree = HashTree::new(size as u64);
                tree.add(part(&content, cut..size, 1450));
                assert_eq!((tree.digest(), tree.has(0)), (None, false));
                let behind = cut.next_multiple_of(1024);
                assert!(behind >= size || tree.has(behind as u64), "{size} cut at {cut}");
                tree.add(part(&content, 0..cut, 6500));
                assert_eq!(tree.digest(), expected(&content), "{size} cut at {cut}");
            }
        }
    }

    /// Fails when what is open is not bounded, or a tree that is full does not go on from its frontier.
    #[test]
    fn a_tree_full_of_gaps_goes_on_from_its_frontier() {
        let content = content((MAX_OPEN_CHUNKS + 10) * CHUNK_BYTES as usize);
        let mut tree = HashTree::new(content.len() as u64);
        for chunk in 0..MAX_OPEN_CHUNKS {
            assert!(tree.has_room());
            tree.add(part(&content, chunk * 1024 + 5..chunk * 1024 + 6, 1));
        }
        assert!(!tree.has_room());
        for chunk in 0..MAX_OPEN_CHUNKS {
            tree.add(part(&content, chunk * 1024..chunk * 1024 + 5, 9));
            tree.add(part(&content, chunk * 1024 + 6..(chunk + 1) * 1024, 700));
        }
        tree.add(part(&content, MAX_OPEN_CHUNKS * 1024..content.len(), 9000));
        assert_eq!(tree.digest(), expected(&content));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// Against the whole hashed at once.
        ///
        /// Fails when: subtrees are joined with what is no neighbour; the bytes of an edge land in the wrong place; a hole is not
        /// hashed as zeros of its place; the frontier passes a gap.
        #[test]
        fn any_order_and_any_cut_give_the_digest_of_the_whole(
            size in 0..1_200_000usize,
            cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..24),
            order in any::<u64>(),
            step in 1..20_000usize,
        ) {
            let mut content = content(size);
            let mut ends: Vec<_> = cuts.iter().map(|(index, is_hole)| (index.index(size + 1), *is_hole)).collect();
            ends.push((size, false));
            ends.sort_unstable();
            let mut start = 0;
            let mut parts = Vec::new();
            for (end, is_hole) in ends {
                if is_hole {
                    content[start..end].fill(0);
                }
                parts.push((start..end, is_hole));
                start = end;
            }
            // A shuffle that depends on nothing else.
            let mut seed = order | 1;
            for i in (1..parts.len()).rev() {
                seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                parts.swap(i, (seed >> 33) as usize % (i + 1));
            }
            let mut tree = HashTree::new(size as u64);
            let mut come = vec![false; size];
            for (range, is_hole) in parts {
                let whole = come.iter().take_while(|byte| **byte).count() as u64;
                prop_assert!(tree.frontier() <= whole && whole - tree.frontier() < CHUNK_BYTES);
                come[range.clone()].fill(true);
                let zeros = range.start as u64..range.end as u64;
                tree.add(if is_hole { Part::zeros(size as u64, zeros) } else { part(&content, range, step) });
            }
            prop_assert_eq!(tree.digest(), expected(&content));
        }
    }
}
