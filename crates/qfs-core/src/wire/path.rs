//! `path_note`: what a server knows of the path to a client, brought along and taken home (PROTOCOL §4.9).

use serde::{Deserialize, Serialize};

use super::StatusCode;
use crate::model::PathNote;

/// Parameters of `path_note`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathNoteRequest {
    /// The note that this server gave to this client on an earlier connection; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<PathNote>,
}

/// The whole answer to `path_note`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathNoteHead {
    /// [`StatusCode::OK`].
    pub code: StatusCode,
    /// A note about the path of this connection; absent when nothing worth it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<PathNote>,
    /// Bytes that the path held: as many have to be permitted at once for the note to be of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeError, Request, decode_response, encode};
    use super::*;

    // The byte examples of PROTOCOL §4.9.
    #[test]
    fn golden_exchange() {
        let note: PathNote = "AAECAwQF".parse().unwrap();
        for (note, length, json) in [
            (None, 0x17, r#"{"command":"path_note"}"#),
            (Some(note.clone()), 0x29, r#"{"command":"path_note","note":"AAECAwQF"}"#),
        ] {
            let request = Request::PathNote(PathNoteRequest { note });
            let bytes = request.encode().unwrap();
            assert_eq!((&bytes[..4], &bytes[4..]), (&[0, 0, 0, length][..], json.as_bytes()));
            assert_eq!(Request::decode(json.as_bytes()).unwrap(), request);
        }
        let known = PathNoteHead { code: StatusCode::OK, note: Some(note), bytes: Some(12_500_000) };
        let unknown = PathNoteHead { code: StatusCode::OK, note: None, bytes: None };
        for (head, length, json) in
            [(known, 0x2d, r#"{"code":0,"note":"AAECAwQF","bytes":12500000}"#), (unknown, 0x0a, r#"{"code":0}"#)]
        {
            let bytes = encode(&head).unwrap();
            assert_eq!((&bytes[..4], &bytes[4..]), (&[0, 0, 0, length][..], json.as_bytes()));
            assert_eq!(decode_response(json.as_bytes()).unwrap(), Ok(head));
        }
    }

    #[test]
    fn what_is_no_note_is_refused() {
        for note in ["\"\"", "\"a b\"", "7", "[]"] {
            let json = format!(r#"{{"command":"path_note","note":{note}}}"#);
            assert!(matches!(Request::decode(json.as_bytes()), Err(DecodeError::Malformed(_))), "{note}");
        }
        assert!(Request::decode(br#"{"command":"path_note","note":null}"#).is_ok());
    }
}
