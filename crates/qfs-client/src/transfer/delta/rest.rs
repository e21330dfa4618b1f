//! What is left of a version when everything that is here has been copied. Pure.

use std::ops::Range;

/// Bytes that are copied from one place to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copy {
    /// The seed they are in; nothing where they are copied within the version.
    pub(super) seed: Option<u32>,
    /// Where they begin there.
    pub(super) offset: u64,
    /// Where they belong.
    pub(super) at: u64,
    pub(super) length: u64,
}

impl Copy {
    /// Where they belong.
    pub(super) fn target(&self) -> Range<u64> {
        self.at..self.at + self.length
    }
}

/// What nobody asks for, because it is copied. Two writers must never write one byte at the same time, so what is being copied is left
/// out of what is asked for meanwhile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rest {
    /// In the order of their targets, which do not overlap.
    pub(super) copies: Vec<Copy>,
}

impl Rest {
    /// What of `missing` has to be asked for.
    pub(super) fn wanted(&self, missing: &[Range<u64>]) -> Vec<Range<u64>> {
        let mut wanted = Vec::new();
        for gap in missing {
            let mut position = gap.start;
            let first = self.copies.partition_point(|copy| copy.target().end <= gap.start);
            for copy in self.copies[first..].iter().take_while(|copy| copy.at < gap.end) {
                if position < copy.at {
                    wanted.push(position..copy.at);
                }
                position = copy.target().end;
            }
            if position < gap.end {
                wanted.push(position..gap.end);
            }
        }
        wanted
    }
}

/// Puts ranges that are in order and apart together to requests: each has no more than `most` ranges, and no more than about
/// `bytes` bytes, for which a long range is cut.
pub(super) fn requests(ranges: Vec<Range<u64>>, most: usize, bytes: u64) -> Vec<Vec<Range<u64>>> {
    let (mut requests, mut open, mut length) = (Vec::new(), Vec::new(), 0);
    for mut range in ranges {
        while range.start < range.end {
            if open.len() >= most || length >= bytes {
                requests.push(std::mem::take(&mut open));
                length = 0;
            }
            let room = bytes - length;
            // The last piece may be a little longer, rather than a sliver of its own.
            let end = if range.end - range.start <= room + bytes / 8 { range.end } else { range.start + room };
            open.push(range.start..end);
            length += end - range.start;
            range.start = end;
        }
    }
    if !open.is_empty() {
        requests.push(open);
    }
    requests
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Parts of some hundred bytes that are in order and apart.
    fn parts() -> impl Strategy<Value = Vec<Range<u64>>> {
        prop::collection::vec((1..20u64, 1..30u64), 0..12).prop_map(|lengths| {
            let mut position = 0;
            let part = |(gap, length)| {
                let start = position + gap;
                position = start + length;
                start..position
            };
            lengths.into_iter().map(part).collect()
        })
    }

    fn bytes_of(ranges: &[Range<u64>]) -> Vec<u64> {
        ranges.iter().cloned().flatten().collect()
    }

    proptest! {
        /// Against the slow way, byte by byte.
        ///
        /// Fails when: a copy that begins before a gap or ends behind it is overlooked, or a part behind one is dropped.
        #[test]
        fn what_is_copied_within_is_not_asked_for(missing in parts(), targets in parts()) {
            let copy = |target: &Range<u64>| Copy { seed: None, offset: 0, at: target.start, length: target.end - target.start };
            let rest = Rest { copies: targets.iter().map(copy).collect() };
            let wanted = rest.wanted(&missing);
            let copied = bytes_of(&targets);
            let expected: Vec<u64> = bytes_of(&missing).into_iter().filter(|byte| !copied.contains(byte)).collect();
            prop_assert_eq!(bytes_of(&wanted), expected);
            prop_assert!(wanted.is_sorted_by(|a, b| a.end < b.start) && wanted.iter().all(|range| range.start < range.end));
        }

        /// Fails when: a byte is asked for twice or not at all; a request has too many ranges, or ranges that touch.
        #[test]
        fn requests_cover_what_is_wanted_once(wanted in parts(), most in 1..5usize, bytes in 8..100u64) {
            let requests = requests(wanted.clone(), most, bytes);
            prop_assert_eq!(bytes_of(&requests.concat()), bytes_of(&wanted));
            for request in &requests {
                prop_assert!((1..=most).contains(&request.len()), "{:?}", request);
                prop_assert!(request.is_sorted_by(|a, b| a.end < b.start));
                let length: u64 = request.iter().map(|range| range.end - range.start).sum();
                prop_assert!(length <= bytes + bytes / 8);
            }
        }
    }
}
