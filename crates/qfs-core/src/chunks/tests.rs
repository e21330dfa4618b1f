//! What maps and seeds save, on the kinds of change that files see, and that no lie makes a wrong recipe.

use std::ops::Range;

use proptest::prelude::*;

use super::*;
use crate::model::Digest;

const MIB: usize = 1 << 20;

/// Seeded bytes that do not repeat.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    };
    let mut data: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next()).collect();
    data.truncate(length);
    data
}

fn chunks(data: &[u8], grain: Grain) -> Chunker {
    let mut chunker = Chunker::new(grain);
    // As the server reads it.
    data.chunks(256 << 10).for_each(|block| chunker.push(block));
    chunker
}

fn map_of(data: &[u8]) -> ChunkMap {
    chunks(data, Grain::for_size(data.len() as u64).unwrap()).finish(Digest::of(data)).unwrap()
}

/// What a recipe makes of `seeds` and of what is fetched from `new`.
fn carry_out(recipe: &Recipe, seeds: &[&[u8]], new: &[u8]) -> Vec<u8> {
    let mut out = vec![0; new.len()];
    let span =
        |at: u64, length: u64| -> Range<usize> { usize::try_from(at).unwrap()..usize::try_from(at + length).unwrap() };
    for range in recipe.fetches() {
        let range = span(range.start, range.end - range.start);
        out[range.clone()].copy_from_slice(&new[range]);
    }
    for step in recipe.steps() {
        if let Step::Copy { from: Source::Seed(seed), offset, at, length } = *step {
            out[span(at, length)].copy_from_slice(&seeds[seed as usize][span(offset, length)]);
        }
    }
    for step in recipe.steps() {
        if let Step::Copy { from: Source::Itself, offset, at, length } = *step {
            out.copy_within(span(offset, length), usize::try_from(at).unwrap());
        }
    }
    out
}

struct Moved {
    /// Fetched bytes and the map's, in per cent of the new version.
    percent: f64,
    map_percent: f64,
    recipe: Recipe,
}

/// Fetches `new` where `old` is, checks that it arrives, and says what that moved.
fn moved(old: &[u8], new: &[u8]) -> Moved {
    let map = ChunkMap::decode(&map_of(new).encode()).unwrap();
    let mut seeds = Seeds::new();
    seeds.add(&chunks(old, map.grain()).into_chunks()).unwrap();
    let recipe = assemble(&map, &seeds, &Limits::default());
    check(&recipe, &map, &[old.len() as u64]);
    assert!(carry_out(&recipe, &[old], new) == new, "it is not the new version");
    let percent = |bytes: u64| bytes as f64 * 100.0 / new.len() as f64;
    let map_bytes = map.encode().len() as u64;
    Moved { percent: percent(recipe.fetched() + map_bytes), map_percent: percent(map_bytes), recipe }
}

/// What holds for every recipe, whatever the maps say.
fn check(recipe: &Recipe, map: &ChunkMap, seed_sizes: &[u64]) {
    let (mut at, mut fetched, mut reused) = (0, 0, 0);
    let fetches: Vec<_> = recipe.fetches().collect();
    for step in recipe.steps() {
        let length = match step {
            Step::Fetch(range) => {
                assert_eq!(range.start, at);
                fetched += range.end - range.start;
                range.end - range.start
            }
            &Step::Copy { from, offset, at: start, length } => {
                assert_eq!(start, at);
                match from {
                    Source::Seed(seed) => assert!(offset + length <= seed_sizes[seed as usize]),
                    Source::Itself => {
                        let inside = |range: &Range<u64>| range.start <= offset && offset + length <= range.end;
                        assert!(offset + length <= at && fetches.iter().any(inside), "{offset} was not fetched");
                    }
                }
                reused += length;
                length
            }
        };
        assert!(length > 0);
        at += length;
    }
    assert_eq!((at, fetched, reused), (map.size(), recipe.fetched(), recipe.reused()));
    assert_eq!(fetches.len(), recipe.ranges());
    assert!(fetches.windows(2).all(|pair| pair[0].end < pair[1].start), "two ranges that are one");
}

#[test]
fn an_insertion_at_the_front_costs_itself() {
    let old = noise(1, 64 * MIB);
    let new = [&noise(2, MIB)[..], &old].concat();
    let moved = moved(&old, &new);
    // What was inserted is 1.54 % of it.
    assert!(moved.percent < 1.54 + 0.45, "{}", moved.percent);
    assert_eq!(moved.recipe.ranges(), 1);
}

#[test]
fn one_per_cent_changed_in_a_hundred_places() {
    let old = noise(3, 64 * MIB);
    let mut new = old.clone();
    for place in 0..100 {
        let start = place * 671_000 + 12_345;
        new[start..start + 6_710].copy_from_slice(&noise(100 + place as u64, 6_710));
    }
    let moved = moved(&old, &new);
    assert!(moved.percent < 3.0, "{}", moved.percent);
    assert!(moved.recipe.ranges() <= 100);
}

#[test]
fn blocks_that_moved_are_copied() {
    let old = noise(4, 16 * MIB);
    let block = |i: usize| &old[i * MIB..(i + 1) * MIB];
    let new: Vec<u8> =
        [11, 3, 7, 0, 15, 1, 14, 2, 9, 8, 4, 12, 6, 10, 5, 13].into_iter().flat_map(block).copied().collect();
    let moved = moved(&old, &new);
    // At each of 16 seams a chunk or two.
    assert!(moved.percent < 1.5, "{}", moved.percent);
}

#[test]
fn what_was_appended_is_what_is_fetched() {
    let old = noise(5, 16 * MIB);
    let new = [&old[..], &noise(6, 100_000)].concat();
    let moved = moved(&old, &new);
    assert!(moved.percent < 0.6 + 0.1 + moved.map_percent, "{}", moved.percent);
    assert_eq!(moved.recipe.ranges(), 1);
}

#[test]
fn nothing_in_common_costs_the_map_alone() {
    let (old, new) = (noise(7, 4 * MIB), noise(8, 4 * MIB));
    let moved = moved(&old, &new);
    assert_eq!(moved.recipe.steps(), [Step::Fetch(0..new.len() as u64)]);
    assert!(moved.map_percent < 0.5, "{}", moved.map_percent);
}

#[test]
fn the_same_again_costs_the_map_alone() {
    let old = noise(9, 4 * MIB);
    let moved = moved(&old, &old);
    let length = old.len() as u64;
    assert_eq!(moved.recipe.steps(), [Step::Copy { from: Source::Seed(0), offset: 0, at: 0, length }]);
}

#[test]
fn content_that_repeats_is_fetched_once() {
    let zeros = vec![0; 8 * MIB];
    let zero = moved(&noise(10, MIB), &zeros);
    assert_eq!(zero.recipe.fetched(), 16384);
    let part = noise(11, MIB);
    let often = moved(&noise(10, MIB), &part.repeat(8));
    assert!(often.percent < 14.0 && often.recipe.ranges() <= 3, "{} {}", often.percent, often.recipe.ranges());
    let grown = moved(&zeros[..MIB], &zeros);
    assert_eq!((grown.recipe.fetched(), grown.recipe.ranges()), (0, 0));
}

#[test]
fn lines_inserted_into_text() {
    let line = |i: u64| format!("{i:08} {}\n", Digest::of(&i.to_le_bytes()));
    let old: String = (0..60_000).map(line).collect();
    let new: String = (0..60_000).map(|i| if i % 6000 == 17 { line(i) + "inserted\n" } else { line(i) }).collect();
    let moved = moved(old.as_bytes(), new.as_bytes());
    assert!(moved.percent < 2.5, "{}", moved.percent);
}

#[test]
fn many_small_changes_keep_to_the_bound_of_ranges() {
    let old = noise(12, 16 * MIB);
    let mut new = old.clone();
    (0..600).for_each(|i| new[i * 27_900 + 5] ^= 1);
    let map = map_of(&new);
    let mut seeds = Seeds::new();
    seeds.add(&chunks(&old, map.grain()).into_chunks()).unwrap();
    let mut before = 0;
    for max_ranges in [10_000, 256, 32, 2, 1, 0] {
        let recipe = assemble(&map, &seeds, &Limits { merge_below: 0, max_ranges });
        check(&recipe, &map, &[old.len() as u64]);
        assert!(recipe.ranges() <= max_ranges.max(1));
        assert!(recipe.fetched() >= before, "fewer ranges for fewer bytes");
        assert!(carry_out(&recipe, &[&old], &new) == new);
        before = recipe.fetched();
    }
    let plain = assemble(&map, &seeds, &Limits { merge_below: 0, max_ranges: 10_000 });
    let merged = assemble(&map, &seeds, &Limits { merge_below: 20_000, max_ranges: 10_000 });
    assert!(merged.ranges() < plain.ranges());
    assert!(carry_out(&merged, &[&old], &new) == new);
}

// Fails when: the first place of each chunk is taken although the one behind the last copy would keep it in one piece.
#[test]
fn regions_are_copied_in_one_piece() {
    let (a, b, c) = (noise(13, MIB), noise(14, MIB), vec![0; MIB]);
    let old = [&a[..], &c, &b, &c].concat();
    let map = map_of(&old);
    let mut seeds = Seeds::new();
    for seed in [&noise(15, MIB), &old] {
        seeds.add(&chunks(seed, map.grain()).into_chunks()).unwrap();
    }
    let recipe = assemble(&map, &seeds, &Limits::default());
    let length = old.len() as u64;
    assert_eq!(recipe.steps(), [Step::Copy { from: Source::Seed(1), offset: 0, at: 0, length }]);
}

#[test]
fn seeds_are_bounded() {
    let chunk = Chunk { length: 1024, hash: ChunkHash::of(b"x") };
    let mut seeds = Seeds::new();
    assert_eq!(seeds.add(&vec![chunk; MAX_SEED_CHUNKS - 1]), Ok(()));
    assert_eq!(seeds.add(&[chunk; 3]), Err(SeedsFull));
    assert_eq!(seeds.add(&[]), Ok(()));
    assert_eq!(seeds.add(&[chunk]), Err(SeedsFull));
}

/// Chunks of few hashes and lengths, so that all kinds of agreement occur, lies too: one hash with different lengths.
fn any_chunks(most: usize) -> impl Strategy<Value = Vec<Chunk>> {
    let chunk = (0..6u8, prop_oneof![4 => Just(1024), 1 => Just(1025), 1 => 1024..=16384u32]);
    prop::collection::vec(chunk, 0..most).prop_map(|chunks| {
        let chunk = |(hash, length)| Chunk { length, hash: ChunkHash::from_bytes([hash; ChunkHash::BYTES]) };
        chunks.into_iter().map(chunk).collect()
    })
}

proptest! {
    // Fails when: any maps, honest or not, make a recipe that leaves a gap, overlaps, reads beyond a seed, copies from what was
    // not fetched, or asks more often than it may.
    #[test]
    fn a_recipe_covers_the_version_whatever_the_maps_say(
        new in any_chunks(60),
        olds in prop::collection::vec(any_chunks(30), 0..4),
        merge_below in 0..8000u64,
        max_ranges in 0..20usize,
    ) {
        let map = ChunkMap::new(Grain::from_exponent(12).unwrap(), Digest::of(b""), new).unwrap();
        let mut seeds = Seeds::new();
        olds.iter().for_each(|old| seeds.add(old).unwrap());
        let sizes: Vec<u64> = olds.iter().map(|old| old.iter().map(|chunk| u64::from(chunk.length)).sum()).collect();
        let limits = Limits { merge_below, max_ranges };
        let recipe = assemble(&map, &seeds, &limits);
        check(&recipe, &map, &sizes);
        prop_assert!(recipe.ranges() <= limits.max_ranges.max(1));
        // The cheapest gaps are bridged, and no other ones.
        let plain = assemble(&map, &seeds, &Limits { merge_below: 0, max_ranges: usize::MAX });
        let ranges: Vec<_> = plain.fetches().collect();
        let mut gaps: Vec<_> = ranges.windows(2).map(|pair| pair[1].start - pair[0].end).collect();
        gaps.sort_unstable();
        let too_many = ranges.len().saturating_sub(limits.max_ranges.max(1));
        let bridged = gaps.iter().enumerate().filter(|(i, gap)| *i < too_many || **gap < merge_below);
        prop_assert_eq!(recipe.fetched(), plain.fetched() + bridged.map(|(_, gap)| gap).sum::<u64>());
    }

    // The bytes of a version arrive, whatever was done to the old one.
    #[test]
    fn any_edits_arrive(
        seed in any::<u64>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3000usize, any::<prop::sample::Index>(), 0..3000usize), 0..12),
    ) {
        let old = noise(seed, 200_000);
        let mut new = old.clone();
        for (at, gone, from, length) in edits {
            let at = at.index(new.len());
            let end = (at + gone).min(new.len() - 1).max(at);
            let from = from.index(old.len());
            new.splice(at..end, old[from..(from + length).min(old.len())].iter().copied());
        }
        moved(&old, &new);
    }
}
