//! Numbers of as many bytes as they need: LEB128, in its shortest form only (PROTOCOL C.2).

/// Why bytes are no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VarintError {
    /// They end within it.
    CutShort,
    /// It is too large, or not in its shortest form.
    Malformed,
}

/// Appends `number`.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Takes a number off `rest`.
pub(crate) fn take(rest: &mut &[u8]) -> Result<u64, VarintError> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, behind) = rest.split_first().ok_or(VarintError::CutShort)?;
        *rest = behind;
        let digits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if digits << shift >> shift != digits {
            return Err(VarintError::Malformed);
        }
        number |= digits << shift;
        if byte & 0x80 == 0 {
            // A last byte of zero says nothing, unless the number is zero.
            return if byte == 0 && shift > 0 { Err(VarintError::Malformed) } else { Ok(number) };
        }
    }
    Err(VarintError::Malformed)
}
