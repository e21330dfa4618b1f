//! Why a command failed, and which status that is (PROTOCOL §3).

use qfs_core::body::SendError;
use qfs_core::framing::FrameError;
use qfs_core::store::StoreError;
use qfs_core::stream::StreamError;
use qfs_core::wire::{DecodeError, EncodeError, RemoteError, StatusCode};

use crate::identity::IdentityDirError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandlerError {
    /// The stream holds no whole frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The frame holds no request.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The request was not whole in time.
    #[error("the request was not whole in time")]
    RequestTimeout,
    /// The name is none, or nothing is published under it.
    #[error("no such file")]
    NotFound,
    /// The file is not, or no longer, the version asked for.
    #[error("the file changed")]
    Changed,
    /// The range lies outside the file.
    #[error("the range does not lie inside the file")]
    BadRange,
    /// No token was shown, or none that is good: which of these is not told.
    #[error("a valid token is needed")]
    Denied,
    /// A limit is reached.
    #[error("the server is at a limit")]
    Busy,
    /// The server ends.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
    /// The next key cannot be read.
    #[error("cannot tell the next key: {0}")]
    Identity(#[from] IdentityDirError),
    /// An answer does not fit its frame.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The client is gone or no longer wants the answer.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl HandlerError {
    /// What the client is told; None when there is nobody to tell. The text never comes from the operating system, so that no
    /// path of this machine is in it.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        Some(match self {
            Self::Frame(FrameError::Length(0)) => StatusCode::BAD_REQUEST,
            Self::Frame(FrameError::Length(_)) => StatusCode::TOO_LARGE,
            // A reset request has nobody waiting, but may have come with an open answer: saying so does no harm.
            Self::Frame(_) => StatusCode::BAD_REQUEST,
            Self::Decode(DecodeError::UnknownCommand(_)) => StatusCode::UNKNOWN_COMMAND,
            Self::Decode(_) => StatusCode::BAD_REQUEST,
            Self::RequestTimeout => StatusCode::TIMEOUT,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Changed => StatusCode::CHANGED,
            Self::Denied => StatusCode::DENIED,
            Self::BadRange => StatusCode::BAD_RANGE,
            Self::Busy => StatusCode::BUSY,
            Self::ShuttingDown => StatusCode::SHUTTING_DOWN,
            Self::Store(_) | Self::Identity(_) | Self::Encode(_) => StatusCode::INTERNAL,
            Self::Stream(_) => return None,
        })
    }

    /// Whether it was the client that gave the stream up.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(self, Self::Stream(_) | Self::Frame(FrameError::Io(_)))
    }

    /// What the audit trail has of it: the status, and the reason.
    pub(crate) fn told(&self) -> (String, String) {
        (self.status().map_or_else(|| "abandoned".to_owned(), |code| code.to_string()), self.to_string())
    }

    /// The error head for the client, if there is one to tell.
    pub(crate) fn head(&self) -> Option<RemoteError> {
        let code = self.status()?;
        Some(match self {
            Self::Store(_) | Self::Identity(_) | Self::Encode(_) => RemoteError::new(code, "internal error"),
            // Parsers quote what they read, which is the client's own.
            _ => RemoteError::new(code, self.to_string()),
        })
    }
}

impl From<StoreError> for HandlerError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound | StoreError::NotRegular => Self::NotFound,
            StoreError::Changed => Self::Changed,
            StoreError::Busy => Self::Busy,
            other => Self::Store(other),
        }
    }
}

impl From<SendError> for HandlerError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Store(e) => e.into(),
            SendError::Stream(e) => e.into(),
            // The enum may grow; what it grows by is not the client's doing.
            other => Self::Store(StoreError::Io(std::io::Error::other(other))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_this_machine_is_told() {
        let secret = std::io::Error::other("/srv/private/file: permission denied");
        let head = HandlerError::from(StoreError::Io(secret)).head().unwrap();
        assert_eq!((head.code, head.message.as_str()), (StatusCode::INTERNAL, "internal error"));
    }

    #[test]
    fn every_kind_has_its_code() {
        let code = |error: HandlerError| error.status();
        assert_eq!(code(FrameError::End.into()), Some(StatusCode::BAD_REQUEST));
        assert_eq!(code(FrameError::Truncated.into()), Some(StatusCode::BAD_REQUEST));
        assert_eq!(code(FrameError::Length(0).into()), Some(StatusCode::BAD_REQUEST));
        assert_eq!(code(FrameError::Length(65_537).into()), Some(StatusCode::TOO_LARGE));
        assert_eq!(code(DecodeError::UnknownCommand("x".into()).into()), Some(StatusCode::UNKNOWN_COMMAND));
        assert_eq!(code(StoreError::NotRegular.into()), Some(StatusCode::NOT_FOUND));
        assert_eq!(code(StoreError::Changed.into()), Some(StatusCode::CHANGED));
        assert_eq!(code(StoreError::Busy.into()), Some(StatusCode::BUSY));
        assert_eq!(code(StreamError::Stopped(StatusCode::CANCELLED).into()), None);
    }
}
