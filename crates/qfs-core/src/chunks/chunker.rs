//! The chunks of a byte stream.

use std::fmt;

use super::chunk::{Chunk, ChunkHash};
use super::cutter::Cutter;
use super::grain::{Grain, MAX_CHUNKS};
use super::map::{ChunkMap, MapError};
use crate::model::Digest;

/// Cuts a byte stream into chunks and hashes them, block by block as it is read. Holds none of its bytes.
#[derive(Clone)]
pub struct Chunker {
    cutter: Cutter,
    /// Of the open chunk's bytes in earlier blocks.
    hasher: blake3::Hasher,
    /// How many those are.
    open: u32,
    chunks: Vec<Chunk>,
}

impl Chunker {
    /// A chunker at the start of a file, for chunks of this grain: [`Grain::for_size`], or that of a map that is to be compared
    /// with.
    #[must_use]
    pub fn new(grain: Grain) -> Self {
        Self { cutter: Cutter::new(grain), hasher: blake3::Hasher::new(), open: 0, chunks: Vec::new() }
    }

    /// Takes the next bytes of the file. Blocks of 256 KiB are fast; tiny ones cost BLAKE3 its vector instructions.
    pub fn push(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let Some(taken) = self.cutter.cut(data) else {
                self.hasher.update(data);
                // The cutter ends a chunk before it is longer than a grain allows, which fits.
                self.open += u32::try_from(data.len()).unwrap_or(u32::MAX);
                return;
            };
            let (last, rest) = data.split_at(taken);
            if self.open == 0 {
                self.close(taken, &blake3::hash(last));
            } else {
                self.hasher.update(last);
                self.close(taken, &self.hasher.finalize());
                self.hasher.reset();
            }
            data = rest;
        }
    }

    fn close(&mut self, last: usize, hash: &blake3::Hash) {
        let length = self.open + u32::try_from(last).unwrap_or(u32::MAX);
        self.open = 0;
        // One too many is kept, so that `finish` can tell.
        if self.chunks.len() <= MAX_CHUNKS {
            self.chunks.push(Chunk { length, hash: ChunkHash::cut(hash) });
        }
    }

    /// The chunks that are complete so far, in order.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// All chunks: the file ends here. Of a file that is much too large for the grain, the first [`MAX_CHUNKS`] and one.
    #[must_use]
    pub fn into_chunks(mut self) -> Vec<Chunk> {
        if self.open > 0 {
            let hash = self.hasher.finalize();
            self.close(0, &hash);
        }
        self.chunks
    }

    /// The map of the version whose bytes were pushed, `whole` being their SHA-256.
    ///
    /// # Errors
    /// [`MapError::TooManyChunks`] when the grain was too fine for a file of this size.
    pub fn finish(self, whole: Digest) -> Result<ChunkMap, MapError> {
        let grain = self.cutter.grain();
        ChunkMap::new(grain, whole, self.into_chunks())
    }
}

impl fmt::Debug for Chunker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunker")
            .field("cutter", &self.cutter)
            .field("chunks", &self.chunks.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when: memory grows with a file whose size was not known when its grain was chosen.
    #[test]
    fn a_file_too_large_for_its_grain_has_no_map() {
        let mut chunker = Chunker::new(Grain::for_size(0).unwrap());
        let hash = blake3::hash(b"");
        (0..MAX_CHUNKS).for_each(|_| chunker.close(1024, &hash));
        assert!(chunker.clone().finish(Digest::of(b"")).is_ok());
        (0..5).for_each(|_| chunker.close(1024, &hash));
        assert_eq!(chunker.chunks().len(), MAX_CHUNKS + 1);
        assert_eq!(chunker.finish(Digest::of(b"")), Err(MapError::TooManyChunks));
    }
}
