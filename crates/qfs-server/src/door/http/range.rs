//! The Range header (RFC 9110 §14): which bytes are wanted, within bounds. Pure.

use std::ops::Range;

/// Most ranges in one request. Programs that fetch a file in pieces ask for one; players and readers of archives for a handful.
pub(super) const MAX_RANGES: usize = 32;

/// What a Range header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: there is no header, or none that is understood.
    Whole,
    /// These parts, in this order; at least one, none of them empty.
    Parts(Vec<Range<u64>>),
    /// Nothing that is there, or more than is bearable (RFC 9110 §14.2).
    Unsatisfiable,
}

/// What `header` asks for of a file of `size` bytes.
pub(super) fn parse(header: &str, size: u64) -> Wanted {
    let Some((unit, set)) = header.split_once('=') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let (mut parts, mut count) = (Vec::new(), 0);
    for spec in set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty()) {
        count += 1;
        if count > MAX_RANGES {
            return Wanted::Unsatisfiable;
        }
        match part(spec, size) {
            None => return Wanted::Whole,
            Some(part) if part.is_empty() => {}
            Some(part) => parts.push(part),
        }
    }
    match count {
        0 => Wanted::Whole,
        _ if parts.is_empty() || overlaps(&parts) > 1 => Wanted::Unsatisfiable,
        _ => Wanted::Parts(parts),
    }
}

/// The bytes that `spec` stands for; empty when there are none, None when it is malformed.
fn part(spec: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let length = number(last)?.min(size);
        return Some(size - length..size);
    }
    let start = number(first)?;
    let end = if last.is_empty() { size } else { number(last)?.saturating_add(1) };
    if !last.is_empty() && end <= start {
        return None;
    }
    Some(start..end.min(size))
}

/// Digits only; more than fit are as many as fit.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// How often a part begins before another one has ended.
fn overlaps(parts: &[Range<u64>]) -> usize {
    let mut sorted: Vec<_> = parts.iter().collect();
    sorted.sort_by_key(|part| part.start);
    let (mut end, mut count) = (0, 0);
    for part in sorted {
        count += usize::from(part.start < end);
        end = end.max(part.end);
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(header: &str) -> Vec<Range<u64>> {
        match parse(header, 100) {
            Wanted::Parts(parts) => parts,
            other => panic!("{header}: {other:?}"),
        }
    }

    #[test]
    fn parts_are_understood() {
        assert_eq!(parts("bytes=0-0"), [0..1]);
        assert_eq!(parts("bytes=10-"), [10..100]);
        assert_eq!(parts("bytes=-5"), [95..100]);
        assert_eq!(parts("bytes=-500"), [0..100]);
        assert_eq!(parts("Bytes=90-999999999999999999999999"), [90..100]);
        assert_eq!(parts("bytes= 5-6 ,\t0-1,,"), [5..7, 0..2]);
        assert_eq!(parts("bytes=0-9,200-300"), [0..10], "what lies outside is left out");
        assert_eq!(parts("bytes=0-9,5-14"), [0..10, 5..15], "one overlap may be meant");
    }

    #[test]
    fn what_is_malformed_is_ignored_and_what_is_not_there_is_said() {
        for header in
            ["", "bytes", "bytes=", "lines=1-2", "bytes=5-4", "bytes=a-b", "bytes=1", "bytes=--1", "bytes=+1-2"]
        {
            assert_eq!(parse(header, 100), Wanted::Whole, "{header:?}");
        }
        for header in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(parse(header, 100), Wanted::Unsatisfiable, "{header:?}");
        }
        assert_eq!(parse("bytes=0-", 0), Wanted::Unsatisfiable);
    }

    /// Fails when many small or overlapping ranges are served (CVE-2011-3192).
    #[test]
    fn storms_are_refused() {
        let many: Vec<_> = (0..=MAX_RANGES).map(|n| format!("{n}-{n}")).collect();
        assert_eq!(parse(&format!("bytes={}", many.join(",")), 100), Wanted::Unsatisfiable);
        assert_eq!(parts(&format!("bytes={}", many[..MAX_RANGES].join(","))).len(), MAX_RANGES);
        assert_eq!(parse("bytes=0-,0-,0-", 100), Wanted::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn parts_lie_inside(header in "bytes=[0-9,-]{0,40}", size in 0u64..200) {
            if let Wanted::Parts(parts) = parse(&header, size) {
                prop_assert!(!parts.is_empty() && parts.len() <= MAX_RANGES);
                prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
            }
        }
    }
}
