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
}
