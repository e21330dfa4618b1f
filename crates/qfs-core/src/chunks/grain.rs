//! How long chunks are.
//!
//! With `k` places changed in a file of `n` bytes, about `k × average` bytes are fetched for nothing and the map has `18 × n / average`
//! bytes: the sum is least where the average grows with the square root of `n`. Half of that root is right for about 70 places.

/// Most chunks of a map: what makes the longest map, 20 MiB, and what bounds the memory that a stranger's map takes.
pub const MAX_CHUNKS: usize = 1 << 20;

/// Grain of the shortest chunks: 4 KiB on average, down to 1 KiB.
pub const MIN_GRAIN: u8 = 12;

/// Grain of the longest chunks: 512 MiB on average, up to 2 GiB. A file of 128 TiB is the largest that has a map.
pub const MAX_GRAIN: u8 = 29;

/// Chunks are 2^grain bytes on average, at least a quarter and at most four times as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grain(u8);

impl Grain {
    /// The grain for a file of `size` bytes; None where it is too large to have a map.
    ///
    /// It is the smallest `b` from [`MIN_GRAIN`] on with `size ≤ 4^(b + 1)`, so that 1 GiB has chunks of 16 KiB, and with
    /// `size ≤ 2^(b - 2) × MAX_CHUNKS`, so that a map holds even nothing but shortest chunks.
    #[must_use]
    pub fn for_size(size: u64) -> Option<Self> {
        (MIN_GRAIN..=MAX_GRAIN).map(Self).find(|grain| {
            let root = 1u128 << (2 * (u32::from(grain.0) + 1));
            u128::from(size) <= root.min(u128::from(grain.shortest()) * MAX_CHUNKS as u128)
        })
    }

    /// The grain with this exponent; None outside of [`MIN_GRAIN`] to [`MAX_GRAIN`].
    #[must_use]
    pub fn from_exponent(exponent: u8) -> Option<Self> {
        (MIN_GRAIN..=MAX_GRAIN).contains(&exponent).then_some(Self(exponent))
    }

    /// The exponent, as it stands in a map.
    #[must_use]
    pub fn exponent(self) -> u8 {
        self.0
    }

    /// Fewest bytes of a chunk, unless the file ends in it.
    #[must_use]
    pub fn shortest(self) -> u32 {
        1 << (self.0 - 2)
    }

    /// From here on chunks end four times as readily.
    #[must_use]
    pub fn average(self) -> u32 {
        1 << self.0
    }

    /// Most bytes of a chunk.
    #[must_use]
    pub fn longest(self) -> u32 {
        1 << (self.0 + 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_with_the_root_of_the_file_and_then_with_the_file() {
        for (size, exponent) in [
            (0, 12),
            (1 << 20, 12),
            (1 << 26, 12),
            ((1 << 26) + 1, 13),
            (1 << 28, 13),
            (1 << 30, 14),
            ((1 << 30) + 1, 15),
            (1 << 34, 16),
            ((1 << 34) + 1, 17),
            (1 << 35, 17),
            (1 << 40, 22),
            (1 << 47, 29),
        ] {
            assert_eq!(Grain::for_size(size).map(Grain::exponent), Some(exponent), "{size}");
        }
        assert_eq!(Grain::for_size((1 << 47) + 1), None);
        assert_eq!(Grain::for_size(u64::MAX), None);
    }

    // Fails when: a file has a grain with which its map may have more chunks than a map holds.
    #[test]
    fn a_map_holds_nothing_but_shortest_chunks_too() {
        for bits in 0..=47 {
            for size in [(1u64 << bits) - 1, 1 << bits, (1 << bits) + 1] {
                let Some(grain) = Grain::for_size(size) else { continue };
                assert!(size.div_ceil(u64::from(grain.shortest())) <= MAX_CHUNKS as u64, "{size}");
            }
        }
    }

    #[test]
    fn exponents_outside_are_refused() {
        assert_eq!(Grain::from_exponent(MIN_GRAIN - 1), None);
        assert_eq!(Grain::from_exponent(MAX_GRAIN + 1), None);
        let longest = Grain::from_exponent(MAX_GRAIN).unwrap();
        assert_eq!((longest.shortest(), longest.average(), longest.longest()), (1 << 27, 1 << 29, 1 << 31));
    }
}
