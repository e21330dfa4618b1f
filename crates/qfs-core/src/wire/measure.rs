//! `measure`: bytes that are sent for their rate alone (PROTOCOL §4.10).

use serde::{Deserialize, Serialize};

use super::StatusCode;

/// Parameters of `measure`: none. The bytes follow the request, and are anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasureRequest {}

/// The whole answer to `measure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasureHead {
    /// [`StatusCode::OK`].
    pub code: StatusCode,
    /// Bytes that came behind the first piece, with which the clock began.
    pub bytes: u64,
    /// Microseconds from the first piece to the last.
    pub micros: u64,
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeError, Request, decode_response, encode};
    use super::*;

    // The byte examples of PROTOCOL §4.10.
    #[test]
    fn golden_exchange() {
        let (request, json) = (Request::Measure(MeasureRequest {}), br#"{"command":"measure"}"#);
        let bytes = request.encode().unwrap();
        assert_eq!((&bytes[..4], &bytes[4..]), (&[0, 0, 0, 0x15][..], &json[..]));
        assert_eq!(Request::decode(json).unwrap(), request);

        let (head, json) = (
            MeasureHead { code: StatusCode::OK, bytes: 24_999_936, micros: 2_000_000 },
            br#"{"code":0,"bytes":24999936,"micros":2000000}"#,
        );
        let bytes = encode(&head).unwrap();
        assert_eq!((&bytes[..4], &bytes[4..]), (&[0, 0, 0, 0x2c][..], &json[..]));
        assert_eq!(decode_response(json).unwrap(), Ok(head));
    }

    #[test]
    fn an_answer_without_its_figures_is_none() {
        for json in
            [&br#"{"code":0,"bytes":7}"#[..], br#"{"code":0,"micros":7}"#, br#"{"code":0,"bytes":-1,"micros":7}"#]
        {
            assert!(matches!(decode_response::<MeasureHead>(json), Err(DecodeError::Malformed(_))));
        }
    }
}
