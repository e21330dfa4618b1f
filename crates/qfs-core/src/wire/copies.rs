//! The parts of an upload that the server has already, in the version that is replaced (PROTOCOL §4.5.4).

use std::ops::Range;

use super::codec::DecodeError;
use crate::model::Holes;
use crate::varint;

/// Most parts of one upload.
pub const MAX_COPIES: usize = 8192;

/// Most bytes of them on the wire: three numbers each.
pub const MAX_COPIES_BYTES: usize = MAX_COPIES * 3 * 10;

/// A part that is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopiedPart {
    /// Where it belongs in the new version.
    pub at: u64,
    /// Its bytes, at least one.
    pub length: u64,
    /// Where it is in the version that is replaced.
    pub from: u64,
}

/// Parts in the order in which they belong, without overlaps, at most [`MAX_COPIES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies(Vec<CopiedPart>);

impl Copies {
    /// These parts.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] when there are too many, one is empty, or two overlap or are out of order.
    pub fn new(parts: Vec<CopiedPart>) -> Result<Self, DecodeError> {
        if parts.len() > MAX_COPIES {
            return Err(malformed("more parts than an upload may have"));
        }
        let mut position = 0;
        for part in &parts {
            let end = part.at.checked_add(part.length).filter(|_| part.length > 0 && part.at >= position);
            position = end.ok_or_else(|| malformed("parts that are empty, overlap or are out of order"))?;
            part.from.checked_add(part.length).ok_or_else(|| malformed("a part beyond any file"))?;
        }
        Ok(Self(parts))
    }

    /// The parts in order.
    #[must_use]
    pub fn parts(&self) -> &[CopiedPart] {
        &self.0
    }

    /// Where they belong: what the body of an upload is without.
    #[must_use]
    pub fn targets(&self) -> Holes {
        let mut targets: Vec<Range<u64>> = Vec::new();
        for part in &self.0 {
            match targets.last_mut() {
                Some(last) if last.end == part.at => last.end += part.length,
                _ => targets.push(part.at..part.at + part.length),
            }
        }
        // In order, not empty, and those that touch are one.
        Holes::new(targets).unwrap_or_default()
    }

    /// Whether all of them lie in a new version of `size` bytes and come from one of `base` bytes.
    #[must_use]
    pub fn fit(&self, size: u64, base: u64) -> bool {
        self.0.iter().all(|part| part.at + part.length <= size && part.from + part.length <= base)
    }

    /// Their bytes: for each part how far it lies behind the one before, its length, and where it is.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (mut out, mut position) = (Vec::new(), 0);
        for part in &self.0 {
            varint::put(&mut out, part.at - position);
            varint::put(&mut out, part.length);
            varint::put(&mut out, part.from);
            position = part.at + part.length;
        }
        out
    }

    /// Reads a stranger's bytes. No other bytes stand for the same parts.
    ///
    /// # Errors
    /// As [`Self::new`]; [`DecodeError::Malformed`] when they end within a number, or one is malformed.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut parts, mut position) = (Vec::new(), 0u64);
        while !bytes.is_empty() && parts.len() <= MAX_COPIES {
            let mut number = || varint::take(&mut bytes).map_err(|_| malformed("a number that is none"));
            let (gap, length, from) = (number()?, number()?, number()?);
            let at = position.checked_add(gap);
            let end = at.and_then(|at| at.checked_add(length));
            let (Some(at), Some(end)) = (at, end) else { return Err(malformed("a part beyond any file")) };
            parts.push(CopiedPart { at, length, from });
            position = end;
        }
        Self::new(parts)
    }
}

fn malformed(why: &str) -> DecodeError {
    DecodeError::Malformed(why.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Layout;

    fn part(at: u64, length: u64, from: u64) -> CopiedPart {
        CopiedPart { at, length, from }
    }

    // The byte example of PROTOCOL §4.5.4.
    #[test]
    fn golden_copies() {
        let copies = Copies::new(vec![part(0, 4096, 10_000), part(4096, 300, 0), part(5000, 1, 7)]).unwrap();
        let golden = [0x00, 0x80, 0x20, 0x90, 0x4e, 0x00, 0xac, 0x02, 0x00, 0xdc, 0x04, 0x01, 0x07];
        assert_eq!(copies.encode(), golden);
        assert_eq!(Copies::decode(&golden).unwrap(), copies);
        assert_eq!(copies.targets(), Holes::new(vec![0..4396, 5000..5001]).unwrap());
        assert!(copies.fit(5001, 14_096) && !copies.fit(5000, 14_096) && !copies.fit(5001, 14_095));
    }

    #[test]
    fn each_rule_refuses() {
        for wrong in [
            vec![part(0, 0, 0)],
            vec![part(5, 5, 0), part(9, 1, 0)],
            vec![part(5, 5, 0), part(0, 1, 0)],
            vec![part(u64::MAX, 1, 0)],
            vec![part(0, 1, u64::MAX)],
            vec![part(0, 1, 0); MAX_COPIES + 1],
        ] {
            assert!(matches!(Copies::new(wrong.clone()), Err(DecodeError::Malformed(_))), "{:?}", &wrong[..1]);
        }
        for wrong in [&[0u8, 1][..], &[0x80], &[0, 0, 0], &[0x80, 0x00, 1, 1], &[0xff; 40]] {
            assert!(Copies::decode(wrong).is_err(), "{wrong:?}");
        }
        assert!(Copies::decode(&[]).unwrap().parts().is_empty());
    }

    proptest! {
        /// Fails when: what was written reads back as something else, or the body is not what lies outside of the parts.
        #[test]
        fn parts_read_back(lengths in prop::collection::vec((0..9u64, 1..9u64, 0..99u64), 0..9), tail in 0..9u64) {
            let (mut position, mut parts) = (0, Vec::new());
            for (gap, length, from) in lengths {
                parts.push(part(position + gap, length, from));
                position += gap + length;
            }
            let copies = Copies::new(parts.clone()).unwrap();
            prop_assert_eq!(&Copies::decode(&copies.encode()).unwrap(), &copies);
            let copied: u64 = parts.iter().map(|part| part.length).sum();
            let layout = Layout::new(&(0..position + tail), &copies.targets());
            prop_assert_eq!(layout.length() + copied, position + tail);
        }

        #[test]
        fn any_bytes_are_refused_or_are_the_one_encoding(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(copies) = Copies::decode(&bytes) {
                prop_assert_eq!(copies.encode(), bytes);
            }
        }
    }
}
