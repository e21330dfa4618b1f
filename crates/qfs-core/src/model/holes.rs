//! Parts of a file that are nothing but zeros, and how a body without them lies in the file.

use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Parts of a file that are zeros and need neither be sent nor stored (PROTOCOL §4.2.1).
///
/// In ascending order; none is empty, and no two overlap or touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holes(Vec<Range<u64>>);

/// Why ranges are no [`Holes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("holes have to be in order, not empty, and apart from each other")]
pub struct HolesError;

impl Holes {
    /// These holes.
    ///
    /// # Errors
    /// [`HolesError`] when one is empty, or does not lie behind the one before it with a gap between.
    pub fn new(holes: Vec<Range<u64>>) -> Result<Self, HolesError> {
        let apart = holes.windows(2).all(|pair| pair[0].end < pair[1].start);
        if apart && holes.iter().all(|hole| hole.start < hole.end) { Ok(Self(holes)) } else { Err(HolesError) }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The holes in order.
    pub fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter()
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|hole| hole.end - hole.start).sum()
    }

    /// Whether all of them lie in `range`.
    #[must_use]
    pub fn are_within(&self, range: &Range<u64>) -> bool {
        self.0.first().is_none_or(|hole| hole.start >= range.start)
            && self.0.last().is_none_or(|hole| hole.end <= range.end)
    }

    /// What of them lies in `range`.
    #[must_use]
    pub fn clipped(&self, range: &Range<u64>) -> Self {
        let clip = |hole: &Range<u64>| hole.start.max(range.start)..hole.end.min(range.end);
        Self(self.meeting(range).iter().map(clip).collect())
    }

    /// Those of at least `bytes`, and of them the `count` largest.
    #[must_use]
    pub fn largest(mut self, count: usize, bytes: u64) -> Self {
        self.0.retain(|hole| hole.end - hole.start >= bytes);
        if self.0.len() > count {
            self.0.sort_by_key(|hole| std::cmp::Reverse(hole.end - hole.start));
            self.0.truncate(count);
            self.0.sort_unstable_by_key(|hole| hole.start);
        }
        self
    }

    /// What lies in these or in `others`.
    #[must_use]
    pub fn joined(&self, others: &Self) -> Self {
        let mut all: Vec<_> = self.0.iter().chain(&others.0).cloned().collect();
        all.sort_unstable_by_key(|hole| hole.start);
        let mut joined: Vec<Range<u64>> = Vec::with_capacity(all.len());
        for hole in all {
            match joined.last_mut() {
                Some(last) if hole.start <= last.end => last.end = last.end.max(hole.end),
                _ => joined.push(hole),
            }
        }
        Self(joined)
    }

    /// Whether all of `range` is one hole.
    #[must_use]
    pub fn cover(&self, range: &Range<u64>) -> bool {
        self.meeting(range).first().is_some_and(|hole| hole.start <= range.start && range.end <= hole.end)
    }

    /// Those that have a byte in `range`.
    fn meeting(&self, range: &Range<u64>) -> &[Range<u64>] {
        let first = self.0.partition_point(|hole| hole.end <= range.start);
        let count = self.0[first..].partition_point(|hole| hole.start < range.end);
        if range.is_empty() { &[] } else { &self.0[first..first + count] }
    }

    /// The parts of `range` outside of them, in order.
    #[must_use]
    pub fn data(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut parts = Vec::new();
        let mut position = range.start;
        for hole in self.meeting(range) {
            if position < hole.start {
                parts.push(position..hole.start);
            }
            position = hole.end;
        }
        if position < range.end {
            parts.push(position..range.end);
        }
        parts
    }
}

impl Serialize for Holes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|hole| [hole.start, hole.end]))
    }
}

impl<'de> Deserialize<'de> for Holes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The frame they stand in is bounded, so they are.
        let pairs = Option::<Vec<[u64; 2]>>::deserialize(deserializer)?.unwrap_or_default();
        Self::new(pairs.into_iter().map(|[start, end]| start..end).collect()).map_err(serde::de::Error::custom)
    }
}

/// Where the bytes of a body belong that carries the data of a range of a file, without its holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// In order, and none is empty.
    parts: Vec<Part>,
    length: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// Where it begins in the body.
    body: u64,
    file: Range<u64>,
}

impl Layout {
    /// Of the body that carries `range` but what of it lies in `holes`.
    #[must_use]
    pub fn new(range: &Range<u64>, holes: &Holes) -> Self {
        let mut length = 0;
        let parts = holes.data(range).into_iter().map(|file| {
            let body = length;
            length += file.end - file.start;
            Part { body, file }
        });
        let parts = parts.collect();
        Self { parts, length }
    }

    /// Bytes of the body.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where in the file `length` bytes from offset `body` of the body belong: parts of the file, in order. What lies behind the
    /// body's end belongs nowhere.
    pub fn place(&self, body: u64, length: u64) -> impl Iterator<Item = Range<u64>> {
        let end = body.saturating_add(length);
        let first = self.parts.partition_point(|part| part.body + (part.file.end - part.file.start) <= body);
        let placed = self.parts[first..].iter().take_while(move |part| part.body < end).map(move |part| {
            let skipped = body.saturating_sub(part.body);
            let taken = (end - part.body).min(part.file.end - part.file.start);
            part.file.start + skipped..part.file.start + taken
        });
        placed.filter(|part| !part.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holes(ranges: &[Range<u64>]) -> Holes {
        Holes::new(ranges.to_vec()).unwrap()
    }

    #[test]
    fn only_ordered_ranges_that_are_apart_are_holes() {
        assert!(Holes::new(vec![]).is_ok());
        assert!(Holes::new(vec![0..1, 2..9, 10..u64::MAX]).is_ok());
        for wrong in [vec![3..3], vec![0..1, 1..2], vec![0..5, 4..9], vec![5..6, 0..1], vec![0..9, 2..3]] {
            assert_eq!(Holes::new(wrong.clone()), Err(HolesError), "{wrong:?}");
        }
        #[expect(clippy::reversed_empty_ranges, reason = "what a liar sends")]
        let reversed = Holes::new(vec![9..3]);
        assert_eq!(reversed, Err(HolesError));
    }

    #[test]
    fn on_the_wire_they_are_pairs() {
        let some = holes(&[0..65536, 100_000..200_000]);
        assert_eq!(serde_json::to_string(&some).unwrap(), "[[0,65536],[100000,200000]]");
        assert_eq!(serde_json::from_str::<Holes>("[[0,65536],[100000,200000]]").unwrap(), some);
        for wrong in [
            "[[1,1]]",
            "[[0,2],[1,3]]",
            "[[5,6],[0,1]]",
            "[[0,1],[1,2]]",
            "[[0]]",
            "[[0,1,2]]",
            "[[-1,2]]",
            "[0,1]",
            "{}",
        ] {
            assert!(serde_json::from_str::<Holes>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_largest_are_kept_in_order() {
        let all = holes(&[0..5, 10..30, 40..44, 50..60, 70..100]);
        assert_eq!(all.clone().largest(3, 1), holes(&[10..30, 50..60, 70..100]));
        assert_eq!(all.clone().largest(9, 5), holes(&[0..5, 10..30, 50..60, 70..100]));
        assert_eq!(all.clone().largest(0, 0), Holes::default());
        assert_eq!(all.clipped(&(3..55)), holes(&[3..5, 10..30, 40..44, 50..55]));
        assert!(all.clipped(&(30..40)).is_empty() && all.clipped(&(20..20)).is_empty());
        assert!(all.cover(&(12..30)) && !all.cover(&(12..31)) && !all.cover(&(5..6)));
    }

    /// Holes in a file of some hundred bytes, and a range of it.
    fn file() -> impl Strategy<Value = (Holes, Range<u64>)> {
        let lengths = prop::collection::vec((1..20u64, 1..20u64), 0..8);
        (lengths, 0..300u64, 0..300u64).prop_map(|(lengths, start, length)| {
            let (mut position, mut ranges) = (0, Vec::new());
            for (gap, hole) in lengths {
                ranges.push(position + gap..position + gap + hole);
                position += gap + hole;
            }
            (Holes::new(ranges).unwrap(), start..start + length)
        })
    }

    proptest! {
        /// Against the slow way, byte by byte.
        ///
        /// Fails when: a hole at an end of the range is dropped or not clipped; a part is counted from the wrong place; a piece that
        /// spans a hole is not cut.
        #[test]
        fn a_body_lies_where_the_data_is((holes, range) in file(), from in 0..320u64, length in 0..80u64) {
            let is_hole = |byte: &u64| holes.iter().any(|hole| hole.contains(byte));
            let data: Vec<u64> = range.clone().filter(|byte| !is_hole(byte)).collect();
            let found: Vec<u64> = holes.data(&range).into_iter().flatten().collect();
            prop_assert_eq!(&found, &data);
            prop_assert_eq!(holes.clipped(&range).bytes() + data.len() as u64, range.end - range.start);
            prop_assert!(holes.clipped(&range).are_within(&range));
            prop_assert_eq!(holes.are_within(&range), holes.iter().flat_map(Clone::clone).all(|byte| range.contains(&byte)));
            let layout = Layout::new(&range, &holes);
            prop_assert_eq!(layout.length(), data.len() as u64);
            let placed: Vec<u64> = layout.place(from, length).flatten().collect();
            let expected: Vec<u64> = data.iter().copied().skip(from as usize).take(length as usize).collect();
            prop_assert_eq!(placed, expected);
            prop_assert!(layout.place(from, length).all(|part| !part.is_empty()));
        }

        /// Fails when: what was written down reads back as something else.
        #[test]
        fn they_read_back((holes, _) in file()) {
            let text = serde_json::to_string(&holes).unwrap();
            prop_assert_eq!(serde_json::from_str::<Holes>(&text).unwrap(), holes);
        }
    }
}
