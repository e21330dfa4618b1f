//! A part of a file.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The bytes `start..end` of a file, half open; without `end`, up to the end of the file (PROTOCOL §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub start: u64,
    /// Offset after the last byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
}

/// Why a [`ByteRange`] does not fit a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the range does not lie inside the file of {size} bytes")]
pub struct RangeError {
    /// The file's size in bytes.
    pub size: u64,
}

impl ByteRange {
    /// The offsets this range names in a file of `size` bytes.
    ///
    /// # Errors
    /// [`RangeError`] when it is reversed or reaches beyond `size`. A range is exact and never clipped, so that the
    /// body always has the length that was asked for.
    pub fn within(self, size: u64) -> Result<Range<u64>, RangeError> {
        let end = self.end.unwrap_or(size);
        if self.start <= end && end <= size { Ok(self.start..end) } else { Err(RangeError { size }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_ranges_inside_the_file_fit() {
        let range = |start, end| ByteRange { start, end };
        assert_eq!(range(0, None).within(7), Ok(0..7));
        assert_eq!(range(7, None).within(7), Ok(7..7));
        assert_eq!(range(2, Some(2)).within(7), Ok(2..2));
        assert_eq!(range(8, None).within(7), Err(RangeError { size: 7 }));
        assert_eq!(range(3, Some(2)).within(7), Err(RangeError { size: 7 }));
        assert_eq!(range(0, Some(8)).within(7), Err(RangeError { size: 7 }));
        assert_eq!(range(0, Some(u64::MAX)).within(u64::MAX), Ok(0..u64::MAX));
    }

    /// Offsets that are close together, at both ends of the possible values, so that ranges often just fit or just do
    /// not.
    fn offset() -> impl Strategy<Value = u64> {
        prop_oneof![0..12u64, u64::MAX - 12..=u64::MAX, any::<u64>()]
    }

    proptest! {
        /// Fails when `within` clips instead of refusing, or when a sum or a difference of offsets overflows.
        #[test]
        fn a_range_means_exactly_what_it_says_or_nothing(
            start in offset(),
            end in proptest::option::of(offset()),
            size in offset(),
        ) {
            let inside = start <= size && end.is_none_or(|end| start <= end && end <= size);
            match (ByteRange { start, end }).within(size) {
                Ok(range) => prop_assert!(inside && range == (start..end.unwrap_or(size))),
                Err(error) => prop_assert!(!inside && error.size == size),
            }
        }

        /// Fails when `end` is written for a range without one, as null or as the size.
        #[test]
        fn a_range_reads_back(start in offset(), end in proptest::option::of(offset())) {
            let range = ByteRange { start, end };
            let text = serde_json::to_string(&range).unwrap();
            prop_assert_eq!(text.contains("end"), end.is_some());
            prop_assert_eq!(serde_json::from_str::<ByteRange>(&text).unwrap(), range);
        }
    }
}
