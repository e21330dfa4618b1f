//! Which parts of a file are there, and whether anything is stored for them. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes that were written and are to be hashed from there.
    Stored,
    /// Bytes that were written and hashed.
    Hashed,
    /// A hole.
    Zeros,
}

/// Parts of a file, by where they begin: their end and kind. None is empty, none overlap, and two that touch differ in kind.
#[derive(Debug, Default)]
pub(super) struct Coverage(BTreeMap<u64, (u64, Kind)>);

impl Coverage {
    /// Adds a part that overlaps with none that is there.
    pub(super) fn add(&mut self, mut range: Range<u64>, kind: Kind) {
        if range.is_empty() {
            return;
        }
        if let Some((&start, &(end, before))) = self.0.range(..=range.start).next_back()
            && end == range.start
            && before == kind
        {
            range.start = start;
        }
        if let Some(&(end, behind)) = self.0.get(&range.end)
            && behind == kind
        {
            self.0.remove(&range.end);
            range.end = end;
        }
        self.0.insert(range.start, (range.end, kind));
    }

    /// The first part: where it begins and ends, and what it is.
    pub(super) fn first(&self) -> Option<(u64, u64, Kind)> {
        self.0.first_key_value().map(|(&start, &(end, kind))| (start, end, kind))
    }

    /// Takes everything that was hashed as not hashed yet.
    pub(super) fn unhash(&mut self) {
        let parts = std::mem::take(&mut self.0);
        for (start, (end, kind)) in parts {
            self.add(start..end, if kind == Kind::Hashed { Kind::Stored } else { kind });
        }
    }

    /// Drops what lies before `offset`.
    pub(super) fn forget_before(&mut self, offset: u64) {
        while let Some(entry) = self.0.first_entry() {
            if *entry.key() >= offset {
                break;
            }
            let (end, kind) = entry.remove();
            if end > offset {
                self.0.insert(offset, (end, kind));
            }
        }
    }

    /// What of `range` is not there, in order.
    pub(super) fn gaps(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut position = range.start;
        let before = self.0.range(..range.start).next_back();
        for (&start, &(end, _)) in before.into_iter().chain(self.0.range(range.start..range.end.max(range.start))) {
            if position < start {
                gaps.push(position..start);
            }
            position = position.max(end);
        }
        if position < range.end {
            gaps.push(position..range.end);
        }
        gaps
    }

    /// Whether all of `range` is one hole.
    pub(super) fn is_zeros(&self, range: &Range<u64>) -> bool {
        let found = self.0.range(..=range.start).next_back();
        found.is_some_and(|(_, &(end, kind))| kind == Kind::Zeros && end >= range.end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the slow way, byte by byte.
        ///
        /// Fails when: a part is joined to one of another kind, or to one that it does not touch; a part that reaches into the range
        /// from before is overlooked; one that is cut is lost.
        #[test]
        fn it_is_what_a_list_of_bytes_is(
            parts in prop::collection::vec((0..60u64, 1..12u64, 0..3usize), 0..12),
            cut in 0..70u64,
            from in 0..70u64,
            length in 0..30u64,
        ) {
            let mut bytes = [None; 100];
            let mut coverage = Coverage::default();
            for (start, length, kind) in parts {
                let kind = [Kind::Stored, Kind::Hashed, Kind::Zeros][kind];
                for gap in coverage.gaps(&(start..start + length)) {
                    prop_assert!(!gap.is_empty());
                    bytes[gap.start as usize..gap.end as usize].fill(Some(kind));
                    coverage.add(gap, kind);
                }
            }
            let check = |coverage: &Coverage, bytes: &[Option<Kind>]| {
                for (&start, &(end, kind)) in &coverage.0 {
                    prop_assert!(bytes[start as usize..end as usize].iter().all(|byte| *byte == Some(kind)));
                    // Neither more nor less than what is of one kind without a gap.
                    prop_assert!(start == 0 || bytes[start as usize - 1] != Some(kind));
                    prop_assert!(bytes[end as usize] != Some(kind));
                }
                let sum: u64 = coverage.0.iter().map(|(start, (end, _))| end - start).sum();
                prop_assert_eq!(sum, bytes.iter().flatten().count() as u64);
                Ok(())
            };
            check(&coverage, &bytes)?;
            let range = from..from + length;
            let gaps: Vec<u64> = coverage.gaps(&range).into_iter().flatten().collect();
            prop_assert_eq!(gaps, range.clone().filter(|byte| bytes[*byte as usize].is_none()).collect::<Vec<_>>());
            if !range.is_empty() {
                let zeros = bytes[from as usize..(from + length) as usize].iter().all(|byte| *byte == Some(Kind::Zeros));
                prop_assert_eq!(coverage.is_zeros(&range), zeros);
            }
            coverage.unhash();
            bytes.iter_mut().flatten().filter(|kind| **kind == Kind::Hashed).for_each(|kind| *kind = Kind::Stored);
            check(&coverage, &bytes)?;
            coverage.forget_before(cut);
            bytes[..cut as usize].fill(None);
            let mut left = coverage;
            check(&left, &bytes)?;
            left.add(80..81, Kind::Stored);
            prop_assert!(left.first().is_some_and(|(start, ..)| start >= cut));
        }
    }
}
