//! One chunk: how long it is, and what it is known by.

use std::fmt;

/// The first 16 bytes of a chunk's BLAKE3.
///
/// Half of the hash keeps a map at half its size. By accident no two chunks ever agree in 128 bits. Whoever makes a collision on
/// purpose, with 2^64 hashes, gains that a file is fetched whole: the digest of the whole decides, here as everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkHash([u8; ChunkHash::BYTES]);

impl ChunkHash {
    /// Its length.
    pub const BYTES: usize = 16;

    /// The hash with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The hash of `data`.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        Self::cut(&blake3::hash(data))
    }

    pub(super) fn cut(whole: &blake3::Hash) -> Self {
        let mut bytes = [0; Self::BYTES];
        bytes.copy_from_slice(&whole.as_bytes()[..Self::BYTES]);
        Self(bytes)
    }
}

impl fmt::Debug for ChunkHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One chunk of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chunk {
    /// Its bytes; never 0.
    pub length: u32,
    /// What they are.
    pub hash: ChunkHash,
}
