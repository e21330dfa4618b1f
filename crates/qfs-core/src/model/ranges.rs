//! Several parts of a file.

use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Holes;

/// Why parts of a file are no [`Ranges`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ranges have to be in order, not empty, and apart from each other, and there has to be one")]
pub struct RangesError;

/// At least one part of a file: in ascending order, none empty, and with at least one byte between two of them (PROTOCOL §4.8.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges(Holes);

impl Ranges {
    /// These parts.
    ///
    /// # Errors
    /// [`RangesError`] when there is none, one is empty, or one does not lie behind the one before it with a gap between.
    pub fn new(ranges: Vec<Range<u64>>) -> Result<Self, RangesError> {
        if ranges.is_empty() { Err(RangesError) } else { Holes::new(ranges).map(Self).map_err(|_| RangesError) }
    }

    /// The parts in order.
    pub fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter()
    }

    /// How many there are; never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// From the first byte of the first to the last byte of the last.
    #[must_use]
    pub fn envelope(&self) -> Range<u64> {
        let start = self.iter().next().map_or(0, |first| first.start);
        let end = self.iter().last().map_or(0, |last| last.end);
        start..end
    }

    /// What lies between them: a body of these parts is one of their envelope without this.
    #[must_use]
    pub fn gaps(&self) -> Holes {
        // What lies between parts that are apart is in order, not empty, and apart.
        Holes::new(self.0.data(&self.envelope())).unwrap_or_default()
    }
}

impl Serialize for Ranges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ranges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The frame they stand in is bounded, so they are.
        let pairs = Vec::<[u64; 2]>::deserialize(deserializer)?;
        Self::new(pairs.into_iter().map(|[start, end]| start..end).collect()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Layout;

    #[test]
    fn only_ordered_parts_that_are_apart_are_ranges() {
        assert!(Ranges::new(vec![0..1, 2..9]).is_ok());
        for wrong in [vec![], vec![3..3], vec![0..1, 1..2], vec![0..5, 4..9], vec![5..6, 0..1]] {
            assert_eq!(Ranges::new(wrong.clone()), Err(RangesError), "{wrong:?}");
        }
        assert!(serde_json::from_str::<Ranges>("[]").is_err() && serde_json::from_str::<Ranges>("null").is_err());
    }

    proptest! {
        /// Fails when: a body of the parts is laid out otherwise than the parts lie in the file.
        #[test]
        fn a_body_of_the_envelope_without_the_gaps_is_the_parts(lengths in prop::collection::vec((1..20u64, 1..20u64), 1..9)) {
            let (mut position, mut parts) = (0, Vec::new());
            for (gap, length) in lengths {
                parts.push(position + gap..position + gap + length);
                position += gap + length;
            }
            let ranges = Ranges::new(parts.clone()).unwrap();
            let layout = Layout::new(&ranges.envelope(), &ranges.gaps());
            prop_assert_eq!(layout.length(), ranges.bytes());
            prop_assert_eq!(layout.place(0, u64::MAX).collect::<Vec<_>>(), parts);
            let text = serde_json::to_string(&ranges).unwrap();
            prop_assert_eq!(serde_json::from_str::<Ranges>(&text).unwrap(), ranges);
        }
    }
}
