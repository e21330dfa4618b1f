//! What a server writes down about the path to a client, in words that only it can read.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Longest note, in characters (PROTOCOL §4.9).
pub const MAX_PATH_NOTE_CHARS: usize = 256;

/// A note about a path (PROTOCOL §4.9): 1 to [`MAX_PATH_NOTE_CHARS`] characters of `A-Z a-z 0-9 - _`. Opaque to the client, which
/// brings it along the next time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathNote(String);

/// Why a text is not a valid [`PathNote`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a note about a path: expected 1 to {MAX_PATH_NOTE_CHARS} characters of A-Z a-z 0-9 - _")]
pub struct ParsePathNoteError;

impl PathNote {
    /// `bytes` as a note; None when there are none, or more than fit.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        URL_SAFE_NO_PAD.encode(bytes).parse().ok()
    }

    /// What was made a note by [`Self::from_bytes`]; None for a note that was not made in this way.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(&self.0).ok()
    }

    /// The note as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PathNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PathNote {
    type Err = ParsePathNoteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for PathNote {
    type Error = ParsePathNoteError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.len() {
            1..=MAX_PATH_NOTE_CHARS if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) => {
                Ok(Self(text))
            }
            _ => Err(ParsePathNoteError),
        }
    }
}

impl From<PathNote> for String {
    fn from(note: PathNote) -> Self {
        note.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn notes_are_base64url_and_bounded() {
        for (bytes, text) in [(&b"f"[..], "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (&[0xfb, 0xff], "-_8")] {
            let note = PathNote::from_bytes(bytes).unwrap();
            assert_eq!((note.as_str(), note.to_bytes().as_deref()), (text, Some(bytes)));
        }
        let longest = "x".repeat(MAX_PATH_NOTE_CHARS);
        assert!(longest.parse::<PathNote>().is_ok());
        for text in ["", "a b", "a=", "a+", "a/", "é", &format!("{longest}x")] {
            assert_eq!(text.parse::<PathNote>(), Err(ParsePathNoteError), "{text:?}");
        }
        // Legal, and made by nobody: a lonely digit, and bits that are left over.
        for text in ["A", "Zh", "Zm9vA"] {
            assert_eq!(text.parse::<PathNote>().unwrap().to_bytes(), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes in proptest::collection::vec(any::<u8>(), 1..190)) {
            prop_assert_eq!(PathNote::from_bytes(&bytes).and_then(|note| note.to_bytes()), Some(bytes));
        }
    }
}
