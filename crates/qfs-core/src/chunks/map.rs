//! The map of one version, and its bytes (PROTOCOL Appendix C).
//!
//! | bytes | |
//! |---|---|
//! | 1 | 1, the version of this encoding |
//! | 1 | the grain's exponent |
//! | 1 to 10 | the size of the file, a varint |
//! | 32 | SHA-256 of the file |
//! | for each chunk: 1 to 5 | its length, a varint |
//! | 16 | the first bytes of its BLAKE3 |
//!
//! A varint is LEB128 in as few bytes as there can be. The chunks' lengths add up to the size, and nothing follows them.

use super::chunk::{Chunk, ChunkHash};
use super::grain::{Grain, MAX_CHUNKS};
use crate::model::Digest;
use crate::varint::{self, VarintError};

/// Longest encoded map, in bytes.
pub const MAX_MAP_BYTES: usize = HEAD_BYTES + 10 + MAX_CHUNKS * (5 + ChunkHash::BYTES);

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 2 + 32;

/// What a version consists of. The lengths are within the bounds of its grain, and there are at most [`MAX_CHUNKS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkMap {
    grain: Grain,
    size: u64,
    whole: Digest,
    chunks: Vec<Chunk>,
}

/// Why something is no chunk map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// Of a version that this program does not know.
    #[error("a chunk map of version {0}")]
    Version(u8),
    /// A grain outside of [`super::grain::MIN_GRAIN`] to [`super::grain::MAX_GRAIN`].
    #[error("a chunk map of grain {0}")]
    Grain(u8),
    /// It ends within a field.
    #[error("the chunk map is cut short")]
    CutShort,
    /// A number that is too large, or not in its shortest form.
    #[error("a number in the chunk map is malformed")]
    Number,
    /// A chunk shorter or longer than the grain allows, other than a short last one.
    #[error("chunk {0} is of {1} bytes")]
    Length(
        /// The number of the chunk.
        usize,
        /// Its length in bytes.
        u64,
    ),
    /// The lengths do not add up to the size, or something follows the last chunk.
    #[error("the chunks are not those of a file of {0} bytes")]
    Size(
        /// The size of the file in bytes.
        u64,
    ),
    /// More than [`MAX_CHUNKS`].
    #[error("more than {MAX_CHUNKS} chunks")]
    TooManyChunks,
}

impl ChunkMap {
    /// The map of the file that consists of `chunks`, `whole` being its SHA-256.
    ///
    /// # Errors
    /// [`MapError::Length`] and [`MapError::TooManyChunks`].
    pub fn new(grain: Grain, whole: Digest, chunks: Vec<Chunk>) -> Result<Self, MapError> {
        if chunks.len() > MAX_CHUNKS {
            return Err(MapError::TooManyChunks);
        }
        for (number, chunk) in chunks.iter().enumerate() {
            let least = if number + 1 < chunks.len() { grain.shortest() } else { 1 };
            if !(least..=grain.longest()).contains(&chunk.length) {
                return Err(MapError::Length(number, chunk.length.into()));
            }
        }
        let size = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
        Ok(Self { grain, size, whole, chunks })
    }

    /// How the file is cut.
    #[must_use]
    pub fn grain(&self) -> Grain {
        self.grain
    }

    /// Size of the file in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// SHA-256 of the file.
    #[must_use]
    pub fn whole(&self) -> Digest {
        self.whole
    }

    /// The chunks in the order of the file.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Its bytes: about 18 for each chunk.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + 10 + self.chunks.len() * (3 + ChunkHash::BYTES));
        out.extend([VERSION, self.grain.exponent()]);
        varint::put(&mut out, self.size);
        out.extend(self.whole.as_bytes());
        for chunk in &self.chunks {
            varint::put(&mut out, chunk.length.into());
            out.extend(chunk.hash.as_bytes());
        }
        out
    }

    /// Reads a stranger's bytes. Takes no more memory than a small multiple of their length, and no other bytes stand for the
    /// same map.
    ///
    /// # Errors
    /// [`MapError`] names the first rule that is broken.
    pub fn decode(bytes: &[u8]) -> Result<Self, MapError> {
        let mut rest = bytes;
        let [version, exponent] = take(&mut rest)?;
        if version != VERSION {
            return Err(MapError::Version(version));
        }
        let grain = Grain::from_exponent(exponent).ok_or(MapError::Grain(exponent))?;
        let size = take_varint(&mut rest)?;
        let whole = Digest::from_bytes(take(&mut rest)?);
        let most = rest.len() / (1 + ChunkHash::BYTES);
        let (mut chunks, mut missing) = (Vec::with_capacity(most.min(MAX_CHUNKS)), size);
        while missing > 0 {
            let length = take_varint(&mut rest)?;
            let hash = ChunkHash::from_bytes(take(&mut rest)?);
            missing = missing.checked_sub(length).ok_or(MapError::Size(size))?;
            let fits = u32::try_from(length).map_err(|_| MapError::Length(chunks.len(), length))?;
            chunks.push(Chunk { length: fits, hash });
        }
        if !rest.is_empty() {
            return Err(MapError::Size(size));
        }
        Self::new(grain, whole, chunks)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], MapError> {
    let (first, behind) = rest.split_first_chunk().ok_or(MapError::CutShort)?;
    *rest = behind;
    Ok(*first)
}

fn take_varint(rest: &mut &[u8]) -> Result<u64, MapError> {
    varint::take(rest).map_err(|error| match error {
        VarintError::CutShort => MapError::CutShort,
        VarintError::Malformed => MapError::Number,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunks::Chunker;

    fn grain() -> Grain {
        Grain::from_exponent(12).unwrap()
    }

    fn map_of(data: &[u8]) -> ChunkMap {
        let mut chunker = Chunker::new(Grain::for_size(data.len() as u64).unwrap());
        chunker.push(data);
        chunker.finish(Digest::of(data)).unwrap()
    }

    // The byte example of PROTOCOL Appendix C: 20,000 zeros.
    #[test]
    fn golden_map() {
        let map = map_of(&[0; 20_000]);
        let mut golden = vec![1, 12, 0xa0, 0x9c, 0x01];
        golden.extend(Digest::of(&[0; 20_000]).as_bytes());
        golden.extend([0x80, 0x80, 0x01]);
        golden.extend(0x111f_6c2f_2ac0_fc43_1544_14a6_e3e4_c104_u128.to_be_bytes());
        golden.extend([0xa0, 0x1c]);
        golden.extend(0xf1b0_246f_83e0_ceb2_8376_8e4f_612f_790a_u128.to_be_bytes());
        assert_eq!(map.encode(), golden);
        assert_eq!(ChunkMap::decode(&golden), Ok(map));
    }

    #[test]
    fn a_map_of_nothing() {
        let map = map_of(b"");
        assert_eq!((map.size(), map.chunks().len()), (0, 0));
        assert_eq!(ChunkMap::decode(&map.encode()), Ok(map));
    }

    #[test]
    fn each_rule_refuses() {
        let good = map_of(&[7; 40_000]).encode();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            ChunkMap::decode(&bytes)
        };
        assert_eq!(with(0, 2), Err(MapError::Version(2)));
        assert_eq!(with(1, 11), Err(MapError::Grain(11)));
        assert_eq!(with(1, 30), Err(MapError::Grain(30)));
        assert_eq!(ChunkMap::decode(&[&good[..], b"x"].concat()), Err(MapError::Size(40_000)));
        for length in 0..good.len() {
            assert_eq!(ChunkMap::decode(&good[..length]), Err(MapError::CutShort), "{length}");
        }
        let head = |size: &[u8]| [&[1, 12], size, &[9; 32]].concat();
        for number in [&[0x80, 0][..], &[0xff; 10], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]] {
            assert_eq!(ChunkMap::decode(&head(number)), Err(MapError::Number), "{number:x?}");
        }
        let chunk = |length: &[u8]| [length, &[5; 16]].concat();
        let two = |a: &[u8], b: &[u8]| ChunkMap::decode(&[head(&[0x80, 0x10]), chunk(a), chunk(b)].concat());
        assert!(two(&[0x80, 0x08], &[0x80, 0x08]).is_ok());
        assert_eq!(two(&[0], &[0x80, 0x10]), Err(MapError::Length(0, 0)));
        assert_eq!(two(&[0x80, 0x08], &[0x81, 0x08]), Err(MapError::Size(2048)));
        assert_eq!(two(&[0xff, 0x07], &[0x81, 0x08]), Err(MapError::Length(0, 1023)));
    }

    #[test]
    fn bounds_of_a_map() {
        let chunk = |length| Chunk { length, hash: ChunkHash::of(b"") };
        let map = |chunks: Vec<_>| ChunkMap::new(grain(), Digest::of(b""), chunks).map(|map| map.size());
        assert_eq!(map(vec![chunk(16384), chunk(1)]), Ok(16385));
        assert_eq!(map(vec![chunk(16385)]), Err(MapError::Length(0, 16385)));
        assert_eq!(map(vec![chunk(1024), chunk(0)]), Err(MapError::Length(1, 0)));
        assert_eq!(map(vec![chunk(1024); MAX_CHUNKS]), Ok(1024 << 20));
        assert_eq!(map(vec![chunk(1024); MAX_CHUNKS + 1]), Err(MapError::TooManyChunks));
    }

    proptest! {
        #[test]
        fn a_map_reads_back(
            lengths in prop::collection::vec(1024..=16384u32, 0..50), last in 1..=16384u32, hash in any::<[u8; 16]>(),
        ) {
            let chunks: Vec<_> = lengths.into_iter().chain([last])
                .map(|length| Chunk { length, hash: ChunkHash::from_bytes(hash) }).collect();
            let map = ChunkMap::new(grain(), Digest::of(b"x"), chunks).unwrap();
            prop_assert_eq!(ChunkMap::decode(&map.encode()), Ok(map));
        }

        // Fails when: bytes that are no map make a panic, or two encodings stand for one map.
        #[test]
        fn any_bytes_are_refused_or_are_the_one_encoding(head in 0..3usize, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let start: &[u8] = [&[][..], &[1, 12], &[1, 12, 0x80, 0x10]][head];
            let bytes = [start, &bytes].concat();
            if let Ok(map) = ChunkMap::decode(&bytes) {
                prop_assert_eq!(map.encode(), bytes);
            }
        }
    }
}
