//! Where chunks end: FastCDC's rule over the Gear hash, written so that it can stop and go on anywhere.
//!
//! The hash of the 64 bytes up to the nth of a chunk is `h = Σ GEAR[byte n−j] × 2^j mod 2^64`, so `h' = 2h + GEAR[next]`. The
//! chunk ends there when `h` is below a threshold: before the average length one of 2^(64 − grain − 1), from there on one of
//! 2^(64 − grain + 1), which brings lengths closer together (FastCDC's normalization, level 1). Nothing ends before the least
//! length, whose bytes are skipped unhashed but for the last 63.
//!
//! Why not the `fastcdc` crate: its function needs a whole longest chunk in one piece of memory, so that every byte would be
//! copied once more. And the cuts are part of the protocol: they must not move when a dependency does.

use super::grain::Grain;

/// Bytes that the hash sees.
const WINDOW: u32 = 64;

/// The byte values' random numbers: successive outputs of SplitMix64 seeded with 0 (PROTOCOL Appendix C).
static GEAR: [u64; 256] = gear();

const fn gear() -> [u64; 256] {
    let mut table = [0; 256];
    let mut state: u64 = 0;
    let mut i = 0;
    while i < table.len() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        table[i] = mix(state);
        i += 1;
    }
    table
}

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Finds the ends of chunks in a byte stream that arrives in pieces of any length.
#[derive(Debug, Clone)]
pub struct Cutter {
    grain: Grain,
    /// Bytes of the chunk so far.
    length: u32,
    hash: u64,
}

impl Cutter {
    /// A cutter at the start of a file.
    #[must_use]
    pub fn new(grain: Grain) -> Self {
        Self { grain, length: 0, hash: 0 }
    }

    /// How long chunks are.
    #[must_use]
    pub fn grain(&self) -> Grain {
        self.grain
    }

    /// How many of the next bytes, `data`, belong to the chunk that is open: Some when it ends with them, None when all belong
    /// to it and it may go on.
    pub fn cut(&mut self, data: &[u8]) -> Option<usize> {
        let (grain, mut at) = (self.grain, 0);
        // The first position that may be an end is the one where the chunk has its least length.
        at += self.skip(data, grain.shortest() - WINDOW);
        at += self.warm(&data[at..], grain.shortest() - 1);
        for (limit, bits) in [(grain.average() - 1, grain.exponent() + 1), (grain.longest(), grain.exponent() - 1)] {
            let piece = self.up_to(&data[at..], limit);
            let end = scan(piece, &mut self.hash, 1 << (64 - bits));
            at += end.unwrap_or(piece.len());
            self.grow(end.unwrap_or(piece.len()));
            if end.is_some() {
                return Some(self.finish(at));
            }
        }
        (self.length == grain.longest()).then(|| self.finish(at))
    }

    fn finish(&mut self, at: usize) -> usize {
        (self.length, self.hash) = (0, 0);
        at
    }

    /// What of `data` the chunk takes up to a length of `limit`.
    fn up_to<'a>(&self, data: &'a [u8], limit: u32) -> &'a [u8] {
        let missing = usize::try_from(limit.saturating_sub(self.length)).unwrap_or(usize::MAX);
        &data[..missing.min(data.len())]
    }

    fn skip(&mut self, data: &[u8], limit: u32) -> usize {
        let taken = self.up_to(data, limit).len();
        self.grow(taken);
        taken
    }

    fn warm(&mut self, data: &[u8], limit: u32) -> usize {
        let piece = self.up_to(data, limit);
        for &byte in piece {
            self.hash = (self.hash << 1).wrapping_add(GEAR[usize::from(byte)]);
        }
        self.grow(piece.len());
        piece.len()
    }

    fn grow(&mut self, by: usize) {
        // No more than `up_to` allowed, so it is below 2^32.
        self.length += u32::try_from(by).unwrap_or(u32::MAX);
    }
}

/// The number of bytes up to and including the first whose hash is below `threshold`; `hash` goes on.
///
/// The hash of one byte needs that of the byte before, two instructions in a chain. Four bytes at a time put together first what
/// does not depend on it, which is a fifth faster than two at a time; eight and sixteen are slower again.
fn scan(data: &[u8], hash: &mut u64, threshold: u64) -> Option<usize> {
    const STEP: usize = 4;
    let mut before = *hash;
    let (groups, rest) = data.as_chunks::<STEP>();
    for (number, group) in groups.iter().enumerate() {
        let (mut sum, mut now) = (0u64, 0);
        for (i, &byte) in group.iter().enumerate() {
            sum = (sum << 1).wrapping_add(GEAR[usize::from(byte)]);
            now = (before << (i + 1)).wrapping_add(sum);
            if now < threshold {
                *hash = now;
                return Some(number * STEP + i + 1);
            }
        }
        before = now;
    }
    for (i, &byte) in rest.iter().enumerate() {
        before = (before << 1).wrapping_add(GEAR[usize::from(byte)]);
        if before < threshold {
            *hash = before;
            return Some(groups.len() * STEP + i + 1);
        }
    }
    *hash = before;
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lengths of the chunks of `data`, straight from the definition.
    fn by_definition(data: &[u8], grain: Grain) -> Vec<usize> {
        let (mut ends, mut start) = (Vec::new(), 0);
        while start < data.len() {
            let chunk = &data[start..];
            let ends_at = |n: usize| {
                let hash = (0..64).fold(0u64, |h, j| h.wrapping_add(GEAR[usize::from(chunk[n - 1 - j])] << j));
                let bits = if n < grain.average() as usize { grain.exponent() + 1 } else { grain.exponent() - 1 };
                n == grain.longest() as usize || hash < 1 << (64 - bits)
            };
            let length = (grain.shortest() as usize..=chunk.len()).find(|n| ends_at(*n)).unwrap_or(chunk.len());
            ends.push(length);
            start += length;
        }
        ends
    }

    fn by_cutter(data: &[u8], grain: Grain, mut piece: impl FnMut() -> usize) -> Vec<usize> {
        let (mut cutter, mut lengths, mut open, mut rest) = (Cutter::new(grain), Vec::new(), 0, data);
        while !rest.is_empty() {
            let (mut now, later) = rest.split_at(piece().clamp(1, rest.len()));
            while let Some(taken) = cutter.cut(now) {
                assert!(taken <= now.len() && open + taken > 0);
                lengths.push(open + taken);
                open = 0;
                now = &now[taken..];
                if now.is_empty() {
                    break;
                }
            }
            open += now.len();
            rest = later;
        }
        lengths.extend((open > 0).then_some(open));
        lengths
    }

    struct SplitMix(u64);

    impl Iterator for SplitMix {
        type Item = u64;

        fn next(&mut self) -> Option<u64> {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            Some(mix(self.0))
        }
    }

    /// Seeded bytes: of all values, or of few, or all the same.
    fn bytes(seed: u64, length: usize, values: u8) -> Vec<u8> {
        SplitMix(seed).map(|n| n.to_le_bytes()[0]).map(|b| b.checked_rem(values).unwrap_or(b)).take(length).collect()
    }

    // Three numbers that another implementation can compare itself with (PROTOCOL Appendix C).
    #[test]
    fn golden_gear() {
        assert_eq!(
            (GEAR[0], GEAR[1], GEAR[255]),
            (0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x5a58_32bb_47bc_f19e)
        );
    }

    // The example of PROTOCOL Appendix C, whose numbers came from a program in another language.
    #[test]
    fn golden_cuts() {
        let data: Vec<u8> = SplitMix(1).take(5000).flat_map(u64::to_le_bytes).collect();
        let lengths = by_cutter(&data, Grain::from_exponent(12).unwrap(), || usize::MAX);
        assert_eq!(lengths, [1465, 4989, 7588, 10316, 7355, 8287]);
    }

    #[test]
    fn zeros_are_cut_into_longest_chunks() {
        let grain = Grain::for_size(0).unwrap();
        let lengths = by_cutter(&[0; 40_000], grain, || usize::MAX);
        assert_eq!(lengths, [16384, 16384, 7232]);
    }

    // Fails when: fewer than 64 bytes count where a chunk ends as early as it may.
    #[test]
    fn the_first_possible_end_sees_a_whole_window() {
        let grain = Grain::from_exponent(12).unwrap();
        let ends_early = |seed: &u64| {
            let window =
                bytes(*seed, 1024, 0)[960..].iter().fold(0u64, |h, b| (h << 1).wrapping_add(GEAR[usize::from(*b)]));
            window < 1 << (64 - 13)
        };
        for seed in (0..).filter(ends_early).take(8) {
            assert_eq!(by_cutter(&bytes(seed, 1024 + 1, 0), grain, || usize::MAX), [1024, 1], "{seed}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        // Fails when: a state is lost between pieces, a position is tested that must not be or the other way round, or four at a
        // time find another end than one at a time.
        #[test]
        fn the_cutter_keeps_to_the_definition_however_the_bytes_arrive(
            seed in any::<u64>(),
            length in 0..100_000usize,
            values in prop_oneof![Just(0u8), Just(1), Just(2), Just(3)],
            pieces in prop::collection::vec(1..20_000usize, 1..8),
        ) {
            let grain = Grain::from_exponent(12).unwrap();
            let data = bytes(seed, length, values);
            let expected = by_definition(&data, grain);
            let mut turn = pieces.iter().cycle();
            prop_assert_eq!(&by_cutter(&data, grain, || *turn.next().unwrap()), &expected);
            prop_assert_eq!(&by_cutter(&data, grain, || usize::MAX), &expected);
        }
    }
}
