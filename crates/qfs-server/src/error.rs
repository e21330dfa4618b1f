//! Why a command failed, and which status that is (PROTOCOL §3).

use qfs_core::body::{ReceiveError, SendError};
use qfs_core::framing::FrameError;
use qfs_core::store::StoreError;
use qfs_core::stream::StreamError;
use qfs_core::wire::{DecodeError, EncodeError, RemoteError, StatusCode};

use crate::gate::rights::Right;
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
    /// No chunk map can be of so large a file.
    #[error("the file is too large for a chunk map")]
    NoMap,
    /// The range lies outside the file.
    #[error("the range does not lie inside the file")]
    BadRange,
    /// No token was shown, or none that is good: which of these is not told.
    #[error("a valid token is needed")]
    Denied,
    /// Who asks may not do this here.
    #[error("{} is not allowed here", .0.name())]
    Forbidden(Right),
    /// The name begins with a dot, or a directory on the way does.
    #[error("hidden names cannot be written")]
    Hidden,
    /// A token allows it, but the server was started when none did, and has given up the means.
    #[error("the server was started read-only and has to be started again")]
    StartedReadOnly,
    /// Something is there that the request does not allow to be replaced.
    #[error("the name exists")]
    Exists,
    /// The directory has something in it.
    #[error("the directory is not empty")]
    NotEmpty,
    /// The server takes no more than it has room for, or no file as large.
    #[error("{0}")]
    NoSpace(&'static str),
    /// What arrived is not what the client has.
    #[error("the digest of what arrived is another one")]
    DigestMismatch,
    /// The request contradicts itself or this page.
    #[error("{0}")]
    BadRequest(&'static str),
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
            Self::Denied | Self::Forbidden(_) | Self::Hidden | Self::StartedReadOnly => StatusCode::DENIED,
            Self::Exists => StatusCode::EXISTS,
            Self::NotEmpty => StatusCode::NOT_EMPTY,
            Self::NoSpace(_) => StatusCode::NO_SPACE,
            Self::DigestMismatch => StatusCode::DIGEST_MISMATCH,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::BadRange => StatusCode::BAD_RANGE,
            Self::NoMap => StatusCode::USE_DOWNLOAD,
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

    /// As [`Self::head`], for errors that the client is always told.
    pub(crate) fn into_head(self) -> RemoteError {
        self.head().unwrap_or_else(|| RemoteError::new(StatusCode::INTERNAL, "internal error"))
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

impl From<ReceiveError> for HandlerError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Stream(e) => e.into(),
            ReceiveError::Frame(e) => e.into(),
            ReceiveError::Store(e) => e.into(),
            ReceiveError::Truncated { .. } => Self::BadRequest("the body ended early"),
            ReceiveError::TooLong => Self::BadRequest("something follows the trailer"),
            // The enum may grow; whatever it grows by came from the client.
            _ => Self::BadRequest("the body cannot be read"),
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
