//! How a version is cut into stripes along the chunks of its map, and the proof of a stripe. Pure.

use std::ops::Range;

use bytes::Bytes;
use qfs_core::chunks::{Chunk, ChunkHash, ChunkMap};

/// How many stripes a file is cut into, as far as the bounds below allow: the more, the better they are spread.
const STRIPES: u64 = 256;

/// A stripe is about so long at least, in bytes: below it, its request costs too much.
const LEAST_BYTES: u64 = 128 << 10;

/// A stripe is about so long at most, in bytes, unless its only chunk is longer: it is held in memory until it is proved.
const MOST_BYTES: u64 = 2 << 20;

/// Longest chunk that may be held in memory, in bytes; those of a file of 1 TiB are half as long.
const LONGEST_CHUNK: u32 = 32 << 20;

/// A run of whole chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stripe {
    /// Where it lies in the file.
    pub(super) range: Range<u64>,
    /// Which chunks it consists of.
    pub(super) chunks: Range<usize>,
}

/// Cuts a version; None where its chunks are too long for it.
pub(super) fn cut(map: &ChunkMap) -> Option<Vec<Stripe>> {
    if map.chunks().iter().any(|chunk| chunk.length > LONGEST_CHUNK) {
        return None;
    }
    let length = (map.size() / STRIPES).clamp(LEAST_BYTES, MOST_BYTES);
    let mut stripes: Vec<Stripe> = Vec::new();
    let mut start = 0;
    for (number, chunk) in map.chunks().iter().enumerate() {
        let end = start + u64::from(chunk.length);
        match stripes.last_mut() {
            Some(last) if end - last.range.start <= length => {
                last.range.end = end;
                last.chunks.end = number + 1;
            }
            _ => stripes.push(Stripe { range: start..end, chunks: number..number + 1 }),
        }
        start = end;
    }
    Some(stripes)
}

/// Whether `content` is what `chunks` say.
pub(super) fn is_proved(chunks: &[Chunk], content: &[Bytes]) -> bool {
    let mut rest = joined(content);
    for chunk in chunks {
        let length = chunk.length as usize;
        if rest.len() < length || ChunkHash::of(&rest[..length]) != chunk.hash {
            return false;
        }
        rest = rest.slice(length..);
    }
    rest.is_empty()
}

/// The pieces as one.
pub(super) fn joined(content: &[Bytes]) -> Bytes {
    match content {
        [one] => one.clone(),
        many => many.concat().into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use qfs_core::chunks::{Chunker, Grain};
    use qfs_core::model::Digest;

    use super::*;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let step = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        std::iter::repeat_with(step).take(length).collect()
    }

    fn map(content: &[u8]) -> ChunkMap {
        let mut chunker = Chunker::new(Grain::for_size(content.len() as u64).unwrap());
        chunker.push(content);
        chunker.finish(Digest::of(content)).unwrap()
    }

    proptest! {
        /// Fails when: a chunk is in no stripe or in two, or a stripe is longer than it may be.
        #[test]
        fn stripes_cover_the_file_and_prove_it_in_whatever_pieces(seed: u64, length in 1usize..900_000, piece in 1usize..70_000) {
            let content = noise(seed, length);
            let map = map(&content);
            let stripes = cut(&map).unwrap();
            let (mut byte, mut chunk) = (0, 0);
            for stripe in &stripes {
                prop_assert_eq!((stripe.range.start, stripe.chunks.start), (byte, chunk));
                prop_assert!(stripe.range.end - stripe.range.start <= LEAST_BYTES || stripe.chunks.len() == 1);
                (byte, chunk) = (stripe.range.end, stripe.chunks.end);
                let body = &content[stripe.range.start as usize..stripe.range.end as usize];
                let pieces: Vec<_> = body.chunks(piece).map(Bytes::copy_from_slice).collect();
                prop_assert!(is_proved(&map.chunks()[stripe.chunks.clone()], &pieces));
            }
            prop_assert_eq!((byte, chunk), (length as u64, map.chunks().len()));
        }

        /// Fails when: a byte is not looked at, or one too many or too few passes.
        #[test]
        fn no_other_bytes_are_proved(seed: u64, at: prop::sample::Index, bit in 0u8..8) {
            let content = noise(seed, 200_000);
            let map = map(&content);
            let stripe = &cut(&map).unwrap()[0];
            let chunks = &map.chunks()[stripe.chunks.clone()];
            let mut body = content[..stripe.range.end as usize].to_vec();
            prop_assert!(!is_proved(chunks, &[Bytes::copy_from_slice(&body[..body.len() - 1])]));
            prop_assert!(!is_proved(chunks, &[Bytes::copy_from_slice(&body), Bytes::from_static(b"x")]));
            let at = at.index(body.len());
            body[at] ^= 1 << bit;
            prop_assert!(!is_proved(chunks, &[body.into()]));
        }
    }

    #[test]
    fn a_large_file_is_cut_into_stripes_of_a_bounded_length() {
        let chunks = vec![Chunk { length: 1 << 20, hash: ChunkHash::of(b"x") }; 3000];
        let map = ChunkMap::new(Grain::from_exponent(20).unwrap(), Digest::of(b""), chunks).unwrap();
        let stripes = cut(&map).unwrap();
        assert!(stripes.iter().all(|stripe| stripe.range.end - stripe.range.start == MOST_BYTES));
        let chunks = vec![Chunk { length: LONGEST_CHUNK + 1, hash: ChunkHash::of(b"x") }];
        let map = ChunkMap::new(Grain::from_exponent(29).unwrap(), Digest::of(b""), chunks).unwrap();
        assert_eq!(cut(&map), None, "nothing of that length is held in memory");
    }
}
