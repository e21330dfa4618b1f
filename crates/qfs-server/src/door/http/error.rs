//! What fails, as HTTP has it: the status, and a text that says nothing of this machine.

use http::StatusCode;
use qfs_core::store::StoreError;
use qfs_core::stream::StreamError;
use qfs_core::wire::StatusCode as Code;

use crate::error::HandlerError;
use crate::gate::rights::Right;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// As with every door.
    #[error(transparent)]
    Handler(#[from] HandlerError),
    /// The request makes no sense.
    #[error("{0}")]
    Malformed(&'static str),
    /// Nothing here understands this method.
    #[error("this method is not allowed here")]
    Method {
        /// Those that are understood.
        allow: &'static str,
    },
    /// Something that is no file is there.
    #[error("a directory or something else that is no file has this name")]
    Taken,
    /// The content does not belong where the upload has got to.
    #[error("the upload has got to another place")]
    Offset,
    /// The lengths that a client gave of an upload differ, or it sends more or less than that.
    #[error("the lengths of this upload contradict each other")]
    Inconsistent,
    /// The upload is done.
    #[error("the upload is done already")]
    Completed,
    /// An upload that comes in several requests has to say how long it is.
    #[error("the length of the upload is missing")]
    LengthRequired,
    /// The content is of a kind that means nothing here.
    #[error("{0}")]
    Kind(&'static str),
    /// The file is not the version that was meant (RFC 9110 §13).
    #[error("the file is not the version that was meant")]
    Precondition,
    /// None of the ranges lies in the file, or there are too many.
    #[error("no such range, or too many of them")]
    Range {
        /// Of the file, in bytes.
        size: u64,
    },
    /// Another site made a browser send this.
    #[error("this request came from another site")]
    CrossSite,
    /// More was sent than is taken here.
    #[error("the request is too large")]
    TooLarge,
}

impl HttpError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Taken | Self::Offset => StatusCode::CONFLICT,
            Self::Inconsistent | Self::Completed => StatusCode::BAD_REQUEST,
            Self::LengthRequired => StatusCode::LENGTH_REQUIRED,
            Self::Kind(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Precondition => StatusCode::PRECONDITION_FAILED,
            Self::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::CrossSite => StatusCode::FORBIDDEN,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            // Another token may help with reading; a browser asks for one.
            Self::Handler(
                HandlerError::Forbidden(Right::Write | Right::Delete)
                | HandlerError::Hidden
                | HandlerError::StartedReadOnly,
            ) => StatusCode::FORBIDDEN,
            Self::Handler(error) => match error.status() {
                Some(Code::NOT_FOUND) => StatusCode::NOT_FOUND,
                Some(Code::DENIED) => StatusCode::UNAUTHORIZED,
                Some(Code::TIMEOUT) => StatusCode::REQUEST_TIMEOUT,
                // Trying again is what helps with these.
                Some(Code::CHANGED | Code::BUSY | Code::SHUTTING_DOWN) => StatusCode::SERVICE_UNAVAILABLE,
                Some(Code::BAD_REQUEST | Code::DIGEST_MISMATCH) => StatusCode::BAD_REQUEST,
                Some(Code::NO_SPACE) => StatusCode::INSUFFICIENT_STORAGE,
                Some(Code::EXISTS | Code::NOT_EMPTY) => StatusCode::CONFLICT,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    /// A word for programs, as PROTOCOL §3 has them.
    pub(super) fn word(&self) -> String {
        match self {
            Self::Handler(error) => error.told().0,
            Self::Malformed(_)
            | Self::Method { .. }
            | Self::Inconsistent
            | Self::Completed
            | Self::LengthRequired
            | Self::Kind(_) => Code::BAD_REQUEST.to_string(),
            Self::Taken => Code::EXISTS.to_string(),
            Self::Offset => Code::BAD_RANGE.to_string(),
            Self::Precondition => Code::CHANGED.to_string(),
            Self::Range { .. } => Code::BAD_RANGE.to_string(),
            Self::CrossSite => Code::DENIED.to_string(),
            Self::TooLarge => Code::TOO_LARGE.to_string(),
        }
    }

    /// A sentence for people.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Handler(error) => error.head().map_or_else(String::new, |head| head.message),
            other => other.to_string(),
        }
    }

    /// Whether the client gave up.
    pub(super) fn is_abandoned(&self) -> bool {
        matches!(self, Self::Handler(error) if error.is_abandoned())
    }

    /// The client gave up.
    pub(super) fn gone() -> Self {
        StreamError::Stopped(Code::CANCELLED).into()
    }
}

impl From<StoreError> for HttpError {
    fn from(error: StoreError) -> Self {
        Self::Handler(error.into())
    }
}

impl From<StreamError> for HttpError {
    fn from(error: StreamError) -> Self {
        Self::Handler(error.into())
    }
}

impl From<qfs_core::body::SendError> for HttpError {
    fn from(error: qfs_core::body::SendError) -> Self {
        Self::Handler(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when what is missing and what must not be seen are told apart, or a path of this machine is told.
    #[test]
    fn nothing_is_told_that_should_not_be() {
        let missing = HttpError::from(StoreError::NotFound);
        let irregular = HttpError::from(StoreError::NotRegular);
        assert_eq!((missing.status(), missing.sentence()), (irregular.status(), irregular.sentence()));
        let secret = HttpError::from(StoreError::Io(std::io::Error::other("/srv/private: denied")));
        assert_eq!(
            (secret.status(), secret.sentence().as_str()),
            (StatusCode::INTERNAL_SERVER_ERROR, "internal error")
        );
    }
}
