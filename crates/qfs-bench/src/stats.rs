//! Order statistics for a handful of timings on a machine that drifts.
//!
//! These are medians and never means, because one run beside a busy neighbour must not change the figure. Pure
//! arithmetic.

use serde::Serialize;

/// The spread of a set of values, in their unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Smallest value.
    pub min: f64,
    /// First quartile.
    pub q1: f64,
    /// Median.
    pub median: f64,
    /// Third quartile.
    pub q3: f64,
    /// 95th percentile.
    pub p95: f64,
    /// Largest value.
    pub max: f64,
}

impl Spread {
    /// The spread of `values`; `None` when there are none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values);
        Some(Self {
            min: *sorted.first()?,
            q1: at(&sorted, 0.25)?,
            median: at(&sorted, 0.5)?,
            q3: at(&sorted, 0.75)?,
            p95: at(&sorted, 0.95)?,
            max: *sorted.last()?,
        })
    }
}

/// The median of `values`; `None` when there are none.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    at(&sorted(values), 0.5)
}

/// The `fraction` quantile, linear between neighbours (Hyndman and Fan's type 7, as R and NumPy do it).
#[must_use]
pub fn quantile(values: &[f64], fraction: f64) -> Option<f64> {
    at(&sorted(values), fraction)
}

/// The spread of `numerators[i] / denominators[i]` over the pairs where both are there.
///
/// Runs of one round are next to each other in time, so that what the machine did to one it did to the other. The ratio
/// is stable where the single times are not.
#[must_use]
pub fn paired_ratios(numerators: &[Option<f64>], denominators: &[Option<f64>]) -> Option<Spread> {
    let pairs = numerators.iter().zip(denominators).filter_map(|(n, d)| n.zip(*d));
    let ratios: Vec<f64> = pairs.filter(|(_, d)| *d > 0.0).map(|(n, d)| n / d).collect();
    Spread::of(&ratios)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= position < length")]
fn at(sorted: &[f64], fraction: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = fraction.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let (low, high) = (sorted.get(below)?, sorted.get((below + 1).min(last))?);
    Some(low + (high - low) * position.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_medians_and_quantiles() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        let hundred: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(quantile(&hundred, 0.95), Some(95.0));
        assert_eq!(quantile(&[1.0, 2.0], 0.95), Some(1.95));
        assert_eq!(quantile(&[1.0, 2.0], 7.0), Some(2.0));
    }

    #[test]
    fn a_spread_is_ordered_and_ignores_what_is_no_number() {
        let spread = Spread::of(&[5.0, 1.0, f64::NAN, 3.0, 2.0, 4.0]).unwrap();
        assert_eq!((spread.min, spread.q1, spread.median, spread.q3, spread.max), (1.0, 2.0, 3.0, 4.0, 5.0));
        assert!((spread.p95 - 4.8).abs() < 1e-9);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        // The machine halves its speed in the second round. The single times then differ by a factor of two, and the
        // ratio does not.
        let peer = [Some(3.0), Some(6.0), Some(3.0), None];
        let ours = [Some(1.0), Some(2.0), Some(1.5), Some(9.0)];
        let ratio = paired_ratios(&peer, &ours).unwrap();
        assert_eq!((ratio.min, ratio.median, ratio.max), (2.0, 3.0, 3.0));
        assert_eq!(paired_ratios(&[None], &[Some(1.0)]), None);
        assert_eq!(paired_ratios(&[Some(1.0)], &[Some(0.0)]), None);
    }
}
