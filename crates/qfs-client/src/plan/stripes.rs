//! How a large file is cut over several connections. Pure.

use std::ops::Range;

/// Smallest stripe: below this, a request of its own costs more than it gains.
pub(crate) const MIN_STRIPE_BYTES: u64 = 16 << 20;

/// Cuts what is missing into about `count` stripes of equal length, each without a gap.
pub(crate) fn stripes(missing: &[Range<u64>], count: usize) -> Vec<Range<u64>> {
    let total: u64 = missing.iter().map(|range| range.end - range.start).sum();
    let length = total.div_ceil(count.max(1) as u64).max(MIN_STRIPE_BYTES);
    let mut stripes = Vec::new();
    for range in missing {
        let mut start = range.start;
        while start < range.end {
            // The last piece may be a little longer, rather than a sliver of its own.
            let end = if range.end - start < length + length / 2 { range.end } else { start + length };
            stripes.push(start..end);
            start = end;
        }
    }
    stripes
}

/// The first part of `range` that is missing; empty at its end when none is.
pub(crate) fn first_missing(missing: &[Range<u64>], range: &Range<u64>) -> Range<u64> {
    missing
        .iter()
        .map(|gap| gap.start.max(range.start)..gap.end.min(range.end))
        .find(|part| part.start < part.end)
        .unwrap_or(range.end..range.end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn stripes_cover_exactly_what_is_missing() {
        for (missing, count) in [
            (vec![0..1000 * MIB], 1),
            (vec![0..1000 * MIB], 4),
            (vec![0..1000 * MIB + 1], 3),
            (vec![5..7, 100 * MIB..500 * MIB, 501 * MIB..502 * MIB], 4),
            (vec![0..MIB], 8),
        ] {
            let cut = stripes(&missing, count);
            let mut joined: Vec<Range<u64>> = Vec::new();
            for stripe in &cut {
                match joined.last_mut() {
                    Some(last) if last.end == stripe.start => last.end = stripe.end,
                    _ => joined.push(stripe.clone()),
                }
            }
            assert_eq!(joined, missing);
            assert!(cut.len() <= count + missing.len(), "{cut:?}");
        }
        assert_eq!(stripes(&[0..1000 * MIB], 4).len(), 4);
        assert!(stripes(&[], 4).is_empty());
    }

    #[test]
    fn after_a_loss_a_stripe_asks_for_its_own_rest_only() {
        assert_eq!(first_missing(&[0..10, 50..60, 90..100], &(40..95)), 50..60);
        assert_eq!(first_missing(&[0..10, 50..60], &(55..58)), 55..58);
        assert_eq!(first_missing(&[0..10], &(40..95)), 95..95);
    }

    /// What may be missing of a file: gaps in order that do not touch, some long enough for several stripes.
    fn missing(longest: u64) -> impl Strategy<Value = Vec<Range<u64>>> {
        prop::collection::vec((1..longest, 1..longest), 0..9).prop_map(|lengths| {
            let mut position = 0;
            let mut gaps = Vec::new();
            for (here, gap) in lengths {
                gaps.push(position + here..position + here + gap);
                position += here + gap;
            }
            gaps
        })
    }

    proptest! {
        /// Fails when: the tail that joins the last stripe is dropped, or is a stripe of its own too; a stripe bridges two
        /// gaps; rounding down the length gives more stripes than there are connections and gaps.
        #[test]
        fn any_gaps_are_cut_into_stripes_that_cover_them_once(missing in missing(200 * MIB), count in 0usize..20) {
            let cut = stripes(&missing, count);
            prop_assert!(cut.iter().all(|stripe| stripe.start < stripe.end));
            prop_assert!(cut.is_sorted_by(|a, b| a.end <= b.start), "{:?}", cut);
            for gap in &missing {
                let mut position = gap.start;
                for stripe in cut.iter().filter(|stripe| stripe.start < gap.end && gap.start < stripe.end) {
                    prop_assert_eq!(stripe.start, position);
                    position = stripe.end;
                }
                prop_assert_eq!(position, gap.end);
            }
            let bytes = |ranges: &[Range<u64>]| ranges.iter().map(|range| range.end - range.start).sum::<u64>();
            prop_assert_eq!(bytes(&cut), bytes(&missing));
            prop_assert!(cut.len() <= count.max(1) + missing.len(), "{:?}", cut);
        }

        /// Against the slow way, byte by byte.
        ///
        /// Fails when: a gap that begins before the range is passed over; a part reaches into the next stripe; what
        /// follows a hole is asked for again.
        #[test]
        fn the_first_missing_part_is_the_one_a_count_finds(missing in missing(9), start in 0u64..80, length in 0u64..40) {
            let range = start..start + length;
            let is_missing = |byte: &u64| missing.iter().any(|gap| gap.contains(byte));
            let first = range.clone().find(is_missing).unwrap_or(range.end);
            let end = (first..range.end).find(|byte| !is_missing(byte)).unwrap_or(range.end);
            prop_assert_eq!(first_missing(&missing, &range), first..end);
        }

        /// Asking again and again for what is missing, with a loss after any number of bytes, gets all of a stripe and
        /// no byte twice.
        ///
        /// Fails when: `first_missing` does not move with what has arrived.
        #[test]
        fn a_stripe_is_whole_after_any_losses(
            mut missing in missing(9),
            start in 0u64..80,
            length in 0u64..40,
            losses in prop::collection::vec(0u64..9, 0..12),
        ) {
            let range = start..start + length;
            let is_missing = |byte: &u64| missing.iter().any(|gap| gap.contains(byte));
            let wanted: Vec<_> = range.clone().filter(is_missing).collect();
            let mut got = Vec::new();
            // At last a connection that is not lost any more, for as many gaps as there are.
            for loss in losses.into_iter().chain([u64::MAX; 9]) {
                let rest = first_missing(&missing, &range);
                let end = rest.end.min(rest.start.saturating_add(loss));
                got.extend(rest.start..end);
                missing = missing.iter().flat_map(|gap| without(gap, rest.start..end)).collect();
            }
            got.sort_unstable();
            prop_assert_eq!(got, wanted);
        }
    }

    /// What is left of `gap` when `arrived` has come.
    fn without(gap: &Range<u64>, arrived: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let before = gap.start..gap.end.min(arrived.start).max(gap.start);
        let behind = gap.start.max(arrived.end).min(gap.end)..gap.end;
        let overlap = arrived.start < gap.end && gap.start < arrived.end;
        let left = if overlap { [before, behind] } else { [gap.clone(), 0..0] };
        left.into_iter().filter(|part| part.start < part.end)
    }
}
