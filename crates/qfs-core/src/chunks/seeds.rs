//! What is there already: the chunks of old versions and of other files, by hash.

use std::collections::HashMap;

use super::chunk::{Chunk, ChunkHash};

/// Most chunks that are indexed, of all seeds together: some 60 bytes of memory each, so 32 MiB.
pub const MAX_SEED_CHUNKS: usize = 1 << 19;

/// The chunks of some files that may stand in for parts of another, cut at the grain of that one's map.
#[derive(Debug, Clone, Default)]
pub struct Seeds {
    files: Vec<Vec<Placed>>,
    /// The first place of each hash: number of the seed, number of the chunk in it.
    index: HashMap<ChunkHash, (u32, u32)>,
    held: usize,
}

#[derive(Debug, Clone, Copy)]
struct Placed {
    offset: u64,
    chunk: Chunk,
}

/// A seed was not taken whole: there are [`MAX_SEED_CHUNKS`] chunks already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_SEED_CHUNKS} chunks of seeds")]
pub struct SeedsFull;

/// Where a chunk lies in the seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seed: u32,
    chunk: u32,
    pub(super) offset: u64,
}

impl Seeds {
    /// No seeds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file whose chunks are `chunks`, in order from its start. Seeds are numbered from 0 in the order in which they were
    /// added; of equal chunks the one that was added first is used.
    ///
    /// # Errors
    /// [`SeedsFull`] when not all of its chunks found room; those that did are used.
    pub fn add(&mut self, chunks: &[Chunk]) -> Result<(), SeedsFull> {
        let seed = u32::try_from(self.files.len()).map_err(|_| SeedsFull)?;
        let room = MAX_SEED_CHUNKS - self.held;
        let taken = &chunks[..room.min(chunks.len())];
        let (mut file, mut offset) = (Vec::with_capacity(taken.len()), 0u64);
        for (number, &chunk) in (0..).zip(taken) {
            file.push(Placed { offset, chunk });
            self.index.entry(chunk.hash).or_insert((seed, number));
            offset += u64::from(chunk.length);
        }
        self.held += file.len();
        self.files.push(file);
        if taken.len() < chunks.len() { Err(SeedsFull) } else { Ok(()) }
    }

    /// Where `chunk` lies. Right behind `previous` if it lies there too, so that copies of whole regions stay in one piece.
    pub(super) fn find(&self, chunk: &Chunk, previous: Option<Place>) -> Option<Place> {
        let next = previous.and_then(|place| self.place(place.seed, place.chunk.checked_add(1)?, chunk));
        next.or_else(|| self.index.get(&chunk.hash).and_then(|&(seed, number)| self.place(seed, number, chunk)))
    }

    /// This chunk of this seed, if it is `chunk`. Chunks whose hashes agree and whose lengths do not are different ones.
    fn place(&self, seed: u32, number: u32, chunk: &Chunk) -> Option<Place> {
        let placed = self.files.get(usize::try_from(seed).ok()?)?.get(usize::try_from(number).ok()?)?;
        (placed.chunk == *chunk).then_some(Place { seed, chunk: number, offset: placed.offset })
    }
}
