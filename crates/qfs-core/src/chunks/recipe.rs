//! Where each part of a version comes from: a seed, the version itself, or the other side.

use std::collections::HashMap;
use std::ops::Range;

use super::chunk::{Chunk, ChunkHash};
use super::map::ChunkMap;
use super::seeds::{Place, Seeds};

/// Where bytes are copied from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The seed of this number, in the order in which seeds were added.
    Seed(u32),
    /// The version that is being put together: content that occurs in it more than once is fetched once. What is copied from
    /// was fetched by a [`Step::Fetch`], never copied from here itself, so copies of this kind come last, in any order.
    Itself,
}

/// One part of a version. The steps of a recipe cover it from its first byte to its last, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// These bytes are here.
    Copy {
        /// Where they are.
        from: Source,
        /// Where they start there.
        offset: u64,
        /// Where they belong.
        at: u64,
        /// How many there are.
        length: u64,
    },
    /// These bytes are fetched, or sent where the other side holds the seeds.
    Fetch(
        /// Where they belong, which is also where they are on the other side.
        Range<u64>,
    ),
}

/// What bounds the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Fewer bytes than this between two ranges are fetched with them although they are here: a request costs about as much.
    pub merge_below: u64,
    /// Most ranges. Where there are more, those with the fewest bytes between them are put together. At least 1.
    pub max_ranges: usize,
}

impl Default for Limits {
    /// 4 KiB and 4,096 ranges: in an image of 1 GiB with 4,000 blocks of 4 KiB rewritten at random, 11 % are fetched; with 1,024
    /// ranges it would be 43 %, with 256 77 %.
    fn default() -> Self {
        Self { merge_below: 4 << 10, max_ranges: 4096 }
    }
}

/// How a version is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    steps: Vec<Step>,
    reused: u64,
    fetched: u64,
    ranges: usize,
}

impl Recipe {
    /// The parts in the order of the version, without gaps and overlaps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The ranges that are fetched, in ascending order.
    pub fn fetches(&self) -> impl Iterator<Item = Range<u64>> {
        self.steps.iter().filter_map(|step| if let Step::Fetch(range) = step { Some(range.clone()) } else { None })
    }

    /// Bytes that are copied.
    #[must_use]
    pub fn reused(&self) -> u64 {
        self.reused
    }

    /// Bytes that are fetched.
    #[must_use]
    pub fn fetched(&self) -> u64 {
        self.fetched
    }

    /// Number of ranges that are fetched.
    #[must_use]
    pub fn ranges(&self) -> usize {
        self.ranges
    }
}

/// How the version of `map` is put together from `seeds` and as little else as `limits` allow.
///
/// For an upload the same holds the other way round: the seed is the version that the server has, whose map it has told; `map` is
/// that of the local file; and what is to be fetched is what is sent.
#[must_use]
pub fn assemble(map: &ChunkMap, seeds: &Seeds, limits: &Limits) -> Recipe {
    let mut pieces = locate(map.chunks(), seeds);
    let bridged = bridges(&pieces, limits);
    for (piece, _) in pieces.iter_mut().zip(bridged).filter(|(_, bridged)| *bridged) {
        piece.from = None;
    }
    let mut recipe = Recipe { steps: Vec::new(), reused: 0, fetched: 0, ranges: 0 };
    for piece in pieces {
        match piece.from {
            Some((from, offset)) => {
                recipe.reused += piece.length;
                recipe.steps.push(Step::Copy { from, offset, at: piece.at, length: piece.length });
            }
            None => {
                recipe.fetched += piece.length;
                match recipe.steps.last_mut() {
                    Some(Step::Fetch(range)) => range.end += piece.length,
                    _ => {
                        recipe.ranges += 1;
                        recipe.steps.push(Step::Fetch(piece.at..piece.at + piece.length));
                    }
                }
            }
        }
    }
    recipe
}

/// Chunks in a row that come from one place in a row.
struct Piece {
    at: u64,
    length: u64,
    /// None for what is fetched.
    from: Option<(Source, u64)>,
}

impl Piece {
    /// Whether `from` goes on where this ends.
    fn goes_on(&self, from: Option<(Source, u64)>) -> bool {
        match (self.from, from) {
            (None, None) => true,
            (Some((here, offset)), Some((there, next))) => here == there && offset + self.length == next,
            _ => false,
        }
    }
}

fn locate(chunks: &[Chunk], seeds: &Seeds) -> Vec<Piece> {
    let (mut pieces, mut at): (Vec<Piece>, u64) = (Vec::new(), 0);
    let mut fetched: HashMap<ChunkHash, (u32, u64)> = HashMap::new();
    let mut previous: Option<Place> = None;
    for chunk in chunks {
        previous = seeds.find(chunk, previous);
        let from = match previous {
            Some(place) => Some((Source::Seed(place.seed), place.offset)),
            // The first one with this hash is fetched; another length makes it another chunk.
            None => match fetched.get(&chunk.hash) {
                Some(&(length, offset)) if length == chunk.length => Some((Source::Itself, offset)),
                Some(_) => None,
                None => {
                    fetched.insert(chunk.hash, (chunk.length, at));
                    None
                }
            },
        };
        let length = u64::from(chunk.length);
        match pieces.last_mut() {
            Some(piece) if piece.goes_on(from) => piece.length += length,
            _ => pieces.push(Piece { at, length, from }),
        }
        at += length;
    }
    pieces
}

/// Which pieces are fetched although they are here. They lie between two that are fetched.
fn bridges(pieces: &[Piece], limits: &Limits) -> Vec<bool> {
    /// Copies in a row between two fetches.
    struct Gap {
        pieces: Range<usize>,
        bytes: u64,
    }
    let missing: Vec<_> = (0..pieces.len()).filter(|i| pieces[*i].from.is_none()).collect();
    let gaps = missing.windows(2).map(|pair| pair[0] + 1..pair[1]);
    let mut gaps: Vec<_> = gaps
        .map(|range| Gap { bytes: pieces[range.clone()].iter().map(|piece| piece.length).sum(), pieces: range })
        .collect();
    gaps.sort_by_key(|gap| gap.bytes);
    // With no gap there is one range, and each gap that stays makes one more.
    let too_many = (gaps.len() + 1).saturating_sub(limits.max_ranges.max(1));
    let mut bridged = vec![false; pieces.len()];
    for (_, gap) in gaps.into_iter().enumerate().filter(|(i, gap)| *i < too_many || gap.bytes < limits.merge_below) {
        bridged[gap.pieces].fill(true);
    }
    bridged
}
