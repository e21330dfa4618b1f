//! The frames of the TCP way and their bytes (PROTOCOL §9.2): a few of QUIC's own (RFC 9000 §19), byte for byte.
//!
//! Knows neither streams nor their state.

use bytes::{Buf as _, BufMut, BytesMut};
use qfs_core::wire::StatusCode;

/// Most bytes that one STREAM frame carries (PROTOCOL §9.2): what has a higher priority, or is no data, waits for no more.
pub(crate) const MAX_DATA_BYTES: usize = 64 << 10;

/// Most bytes of the text in a CONNECTION_CLOSE (PROTOCOL §9.2).
const MAX_REASON_BYTES: u64 = 1024;

/// The largest number that a variable-length integer holds (RFC 9000 §16).
const MAX_VARINT: u64 = (1 << 62) - 1;

/// Types (RFC 9000 §19). Those that are left out have no meaning here.
const RESET_STREAM: u8 = 0x04;
const STOP_SENDING: u8 = 0x05;
/// With a length and without an offset: bytes follow those before.
const STREAM: u8 = 0x0a;
const STREAM_FIN: u8 = 0x0b;
const MAX_DATA: u8 = 0x10;
const MAX_STREAM_DATA: u8 = 0x11;
const MAX_STREAMS: u8 = 0x12;
const DATA_BLOCKED: u8 = 0x14;
const PATH_CHALLENGE: u8 = 0x1a;
const PATH_RESPONSE: u8 = 0x1b;
const CONNECTION_CLOSE: u8 = 0x1d;

/// A frame; of a STREAM frame all but its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The sender ends this half without its end; it has sent `size` bytes on it.
    Reset { stream: u64, code: StatusCode, size: u64 },
    /// The receiver wants no more of the other half.
    Stop { stream: u64, code: StatusCode },
    /// `length` bytes of the stream follow; with `fin` they are its last.
    Data { stream: u64, length: usize, fin: bool },
    /// So many bytes may be sent on all streams, counted from the beginning of the connection.
    MaxData(u64),
    /// So many on this one.
    MaxStreamData { stream: u64, most: u64 },
    /// So many streams may be opened, counted from the beginning of the connection.
    MaxStreams(u64),
    /// The sender would send more than this if it might.
    Blocked(u64),
    /// To be answered with the same bytes.
    Challenge([u8; 8]),
    /// The answer.
    Response([u8; 8]),
    /// The connection ends.
    Close { code: StatusCode },
}

/// What a peer must not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other side breaks the protocol: {0}")]
pub(crate) struct Violation(pub(crate) &'static str);

impl Frame {
    /// The frame at the start of `input` and its length in bytes without the data; None while it is not whole.
    ///
    /// # Errors
    /// [`Violation`] when these bytes begin no frame.
    pub(crate) fn read(input: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let mut rest = input;
        let Some(frame) = read(&mut rest)? else { return Ok(None) };
        Ok(Some((frame, input.len() - rest.len())))
    }

    /// Appends the frame.
    pub(crate) fn write(self, out: &mut BytesMut) {
        match self {
            Self::Reset { stream, code, size } => put(out, RESET_STREAM, &[stream, code.0.into(), size]),
            Self::Stop { stream, code } => put(out, STOP_SENDING, &[stream, code.0.into()]),
            Self::Data { stream, length, fin } => {
                put(out, if fin { STREAM_FIN } else { STREAM }, &[stream, length as u64]);
            }
            Self::MaxData(most) => put(out, MAX_DATA, &[most]),
            Self::MaxStreamData { stream, most } => put(out, MAX_STREAM_DATA, &[stream, most]),
            Self::MaxStreams(most) => put(out, MAX_STREAMS, &[most]),
            Self::Blocked(at) => put(out, DATA_BLOCKED, &[at]),
            Self::Challenge(data) => {
                out.put_u8(PATH_CHALLENGE);
                out.put_slice(&data);
            }
            Self::Response(data) => {
                out.put_u8(PATH_RESPONSE);
                out.put_slice(&data);
            }
            // The text is for people, and everything worth telling is in the code.
            Self::Close { code } => put(out, CONNECTION_CLOSE, &[code.0.into(), 0]),
        }
    }
}

fn read(input: &mut &[u8]) -> Result<Option<Frame>, Violation> {
    let Some((&kind, rest)) = input.split_first() else { return Ok(None) };
    *input = rest;
    // A field that is not there yet ends the attempt; nothing is taken from the buffer until the frame is whole.
    macro_rules! field {
        () => {
            match varint(input) {
                Some(value) => value,
                None => return Ok(None),
            }
        };
    }
    Ok(Some(match kind {
        RESET_STREAM => {
            let (stream, code, size) = (field!(), field!(), field!());
            Frame::Reset { stream, code: StatusCode::from_quic(code), size }
        }
        STOP_SENDING => {
            let (stream, code) = (field!(), field!());
            Frame::Stop { stream, code: StatusCode::from_quic(code) }
        }
        STREAM | STREAM_FIN => {
            let (stream, length) = (field!(), field!());
            match usize::try_from(length) {
                Ok(length @ 0..=MAX_DATA_BYTES) => Frame::Data { stream, length, fin: kind == STREAM_FIN },
                _ => return Err(Violation("a STREAM frame is too long")),
            }
        }
        MAX_DATA => Frame::MaxData(field!()),
        MAX_STREAM_DATA => {
            let (stream, most) = (field!(), field!());
            Frame::MaxStreamData { stream, most }
        }
        MAX_STREAMS => Frame::MaxStreams(field!()),
        DATA_BLOCKED => Frame::Blocked(field!()),
        PATH_CHALLENGE | PATH_RESPONSE => {
            let Some((data, rest)) = input.split_first_chunk::<8>() else { return Ok(None) };
            *input = rest;
            if kind == PATH_CHALLENGE { Frame::Challenge(*data) } else { Frame::Response(*data) }
        }
        CONNECTION_CLOSE => {
            let (code, length) = (field!(), field!());
            if length > MAX_REASON_BYTES {
                return Err(Violation("the text of a CONNECTION_CLOSE is too long"));
            }
            // Checked to be small.
            let Some(rest) = input.get(length as usize..) else { return Ok(None) };
            *input = rest;
            Frame::Close { code: StatusCode::from_quic(code) }
        }
        _ => return Err(Violation("a frame of an unknown type")),
    }))
}

fn put(out: &mut BytesMut, kind: u8, fields: &[u64]) {
    out.put_u8(kind);
    for &field in fields {
        put_varint(out, field);
    }
}

/// RFC 9000 §16. Everything written here is below the largest one: counts of bytes, streams and 32-bit codes.
fn put_varint(out: &mut BytesMut, value: u64) {
    match value {
        0..0x40 => out.put_u8(value as u8),
        0x40..0x4000 => out.put_u16(value as u16 | 0x4000),
        0x4000..0x4000_0000 => out.put_u32(value as u32 | 0x8000_0000),
        _ => out.put_u64(value.min(MAX_VARINT) | 0xc000_0000_0000_0000),
    }
}

fn varint(input: &mut &[u8]) -> Option<u64> {
    let length = 1 << (input.first()? >> 6);
    if input.len() < length {
        return None;
    }
    let value = input.get_uint(length);
    Some(value & (MAX_VARINT >> (62 - (8 * length - 2))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(frame: Frame) -> Vec<u8> {
        let mut out = BytesMut::new();
        frame.write(&mut out);
        out.to_vec()
    }

    /// The bytes of PROTOCOL §9.2. Fails when a type, a field or its width changes.
    #[test]
    fn golden_bytes() {
        let code = StatusCode::CHANGED;
        let rows: [(Frame, &[u8]); 10] = [
            (Frame::Data { stream: 4, length: 32, fin: true }, &[0x0b, 0x04, 0x20]),
            (Frame::Data { stream: 64, length: 65_536, fin: false }, &[0x0a, 0x40, 0x40, 0x80, 0x01, 0x00, 0x00]),
            (Frame::Reset { stream: 4, code, size: 20_000 }, &[0x04, 0x04, 0x05, 0x80, 0x00, 0x4e, 0x20]),
            (Frame::Stop { stream: 4, code: StatusCode::CANCELLED }, &[0x05, 0x04, 0x0c]),
            (Frame::MaxData(4 << 20), &[0x10, 0x80, 0x40, 0x00, 0x00]),
            (Frame::MaxStreamData { stream: 4, most: 1 << 32 }, &[0x11, 0x04, 0xc0, 0, 0, 1, 0, 0, 0, 0]),
            (Frame::MaxStreams(512), &[0x12, 0x42, 0x00]),
            (Frame::Challenge(*b"12345678"), b"\x1a12345678"),
            (Frame::Response(*b"12345678"), b"\x1b12345678"),
            (Frame::Close { code: StatusCode::SHUTTING_DOWN }, &[0x1d, 0x0b, 0x00]),
        ];
        for (frame, bytes) in rows {
            assert_eq!(written(frame), bytes, "{frame:?}");
            assert_eq!(Frame::read(bytes), Ok(Some((frame, bytes.len()))), "{frame:?}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_at_once() {
        for bytes in [&[0x00u8][..], &[0x01], &[0x02], &[0x08], &[0x0e], &[0x13], &[0x1c, 0], &[0x30], &[0xff]] {
            assert!(Frame::read(bytes).is_err(), "{bytes:?}");
        }
        // 65,537 bytes of data, and a text of 1,025 bytes: refused before they come.
        assert!(Frame::read(&[0x0a, 0x00, 0x80, 0x01, 0x00, 0x01]).is_err());
        assert!(Frame::read(&[0x1d, 0x00, 0x44, 0x01]).is_err());
        assert_eq!(Frame::read(&[0x1d, 0x00, 0x01]), Ok(None));
        assert_eq!(Frame::read(&[0x1d, 0x00, 0x01, b'x']), Ok(Some((Frame::Close { code: StatusCode::OK }, 4))));
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let number = || prop_oneof![0..100u64, any::<u64>().prop_map(|n| n & MAX_VARINT)];
        let code = || any::<u32>().prop_map(StatusCode);
        prop_oneof![
            (number(), code(), number()).prop_map(|(stream, code, size)| Frame::Reset { stream, code, size }),
            (number(), code()).prop_map(|(stream, code)| Frame::Stop { stream, code }),
            (number(), 0..=MAX_DATA_BYTES, any::<bool>()).prop_map(|(stream, length, fin)| Frame::Data {
                stream,
                length,
                fin
            }),
            number().prop_map(Frame::MaxData),
            (number(), number()).prop_map(|(stream, most)| Frame::MaxStreamData { stream, most }),
            number().prop_map(Frame::MaxStreams),
            number().prop_map(Frame::Blocked),
            any::<[u8; 8]>().prop_map(Frame::Challenge),
            any::<[u8; 8]>().prop_map(Frame::Response),
            code().prop_map(|code| Frame::Close { code }),
        ]
    }

    proptest! {
        #[test]
        fn frames_read_back_and_no_part_of_one_does(frame in any_frame()) {
            let bytes = written(frame);
            prop_assert_eq!(Frame::read(&bytes), Ok(Some((frame, bytes.len()))));
            for cut in 0..bytes.len() {
                prop_assert_eq!(Frame::read(&bytes[..cut]), Ok(None));
            }
        }

        #[test]
        fn any_bytes_are_a_frame_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(Some((_, length))) = Frame::read(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
