//! Status codes, and the errors that carry them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::escape_untrusted;

/// The outcome of a command (PROTOCOL §3). The set is open: a code that this version does not know is kept, and means
/// failure.
///
/// The same numbers are used in heads, in RESET_STREAM and STOP_SENDING, and in CONNECTION_CLOSE.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StatusCode(pub u32);

macro_rules! status_codes {
    ($($(#[$doc:meta])* $constant:ident = $number:literal, $name:literal;)*) => {
        impl StatusCode {
            $($(#[$doc])* pub const $constant: Self = Self($number);)*

            /// Every code of version 1 with its name.
            pub const ALL: &[(Self, &str)] = &[$((Self($number), $name)),*];

            /// The code's name, or None when this version does not know it.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 { $($number => Some($name),)* _ => None }
            }
        }
    };
}

status_codes! {
    /// The command succeeds.
    OK = 0, "ok";
    /// The request cannot be understood: malformed, or a field has a value it must not have.
    BAD_REQUEST = 1, "bad_request";
    /// No such command in this version.
    UNKNOWN_COMMAND = 2, "unknown_command";
    /// No file is published under this name: missing, denied and outside the root are not told apart.
    NOT_FOUND = 3, "not_found";
    /// The server is at a limit; the same request may succeed later.
    BUSY = 4, "busy";
    /// The file changed while it was read, or is no longer the version that `if_match` names.
    CHANGED = 5, "changed";
    /// The server failed in a way that is not the client's doing.
    INTERNAL = 6, "internal";
    /// The range does not lie inside the file.
    BAD_RANGE = 7, "bad_range";
    /// The client may not do this.
    DENIED = 8, "denied";
    /// A frame is longer than 64 KiB.
    TOO_LARGE = 9, "too_large";
    /// The peer took longer than a deadline allows.
    TIMEOUT = 10, "timeout";
    /// The server is shutting down.
    SHUTTING_DOWN = 11, "shutting_down";
    /// The client no longer wants the answer.
    CANCELLED = 12, "cancelled";
    /// The file is larger than what `download_many` delivers. Ask for it with `download`.
    USE_DOWNLOAD = 13, "use_download";
    /// Something is under the name already that the request does not allow to be replaced.
    EXISTS = 14, "exists";
    /// The server has no room for it, or it is larger than what the server takes.
    NO_SPACE = 15, "no_space";
    /// The digest of what arrived is not the one that the client sent.
    DIGEST_MISMATCH = 16, "digest_mismatch";
    /// The directory has something in it.
    NOT_EMPTY = 17, "not_empty";
}

impl StatusCode {
    /// Whether the same request, sent again later, may succeed.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::BUSY | Self::TIMEOUT | Self::SHUTTING_DOWN | Self::CHANGED)
    }

    /// The code of a QUIC application error; a number beyond 32 bits becomes `u32::MAX`, which no version assigns.
    #[must_use]
    pub fn from_quic(code: u64) -> Self {
        Self(u32::try_from(code).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "status {}", self.0),
        }
    }
}

impl fmt::Debug for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusCode({self})")
    }
}

/// An error head (PROTOCOL §3.2). It never carries a path of the sender's machine. Its text is escaped when it is
/// shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", self.text())]
pub struct RemoteError {
    /// What kind of failure; never [`StatusCode::OK`] in a decoded error.
    pub code: StatusCode,
    /// A text for people, of at most [`super::MAX_MESSAGE_BYTES`].
    #[serde(default)]
    pub message: String,
}

impl RemoteError {
    /// An error of this kind with this explanation.
    pub fn new(code: StatusCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn text(&self) -> String {
        if self.message.is_empty() { self.code.to_string() } else { escape_untrusted(&self.message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique() {
        for (i, (code, name)) in StatusCode::ALL.iter().enumerate() {
            assert_eq!(code.0 as usize, i);
            assert_eq!(code.name(), Some(*name));
        }
    }

    #[test]
    fn an_unknown_code_survives() {
        let error: RemoteError = serde_json::from_str(r#"{"code":4711,"new":1}"#).unwrap();
        assert_eq!(error.code, StatusCode(4711));
        assert_eq!(error.to_string(), "status 4711");
        assert_eq!(StatusCode::from_quic(u64::MAX), StatusCode(u32::MAX));
    }

    #[test]
    fn a_hostile_message_is_escaped() {
        assert_eq!(RemoteError::new(StatusCode::DENIED, "\x1b[2J").to_string(), "\\u{1b}[2J");
    }
}
