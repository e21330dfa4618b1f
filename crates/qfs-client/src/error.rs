//! What can go wrong, in the terms a person would use.

use qfs_core::body::ReceiveError;
use qfs_core::framing::FrameError;
use qfs_core::model::{Digest, Fingerprint, PathError, RemotePath};
use qfs_core::store::StoreError;
use qfs_core::stream::{Lost, StreamError};
use qfs_core::wire::{DecodeError, RemoteError, StatusCode};
use qfs_transport::{CertificateFault, ConnectError, RootsError};

use crate::config::ServerAddress;
use crate::trust::TrustError;

/// Why a file, or a listing, was not had.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The connection is gone and retries ran out.
    #[error("connection lost: {0}")]
    ConnectionLost(String),
    /// The server's key is not trusted; can happen when reconnecting.
    #[error("{0}")]
    Untrusted(String),
    /// The server lets in only clients with a certificate that it accepts.
    #[error("the server refused the connection: {0}")]
    CertificateRefused(Lost),
    /// The server refused.
    #[error("{0}")]
    Refused(RemoteError),
    /// The name cannot exist on a server.
    #[error("no such file: {0}")]
    InvalidName(PathError),
    /// A pattern matched nothing in the listing.
    #[error("no file matches")]
    NoMatch,
    /// What arrived is not what the server says the file is.
    #[error("digest mismatch: got {got}, the server says {expected}")]
    DigestMismatch {
        /// Of the bytes received.
        got: Digest,
        /// In the trailer.
        expected: Digest,
    },
    /// The file kept changing while it was read.
    #[error("the file changed while it was being read")]
    Changed,
    /// The same, though it was asked for as one that is being appended to: the server does not know what that is.
    #[error("the file changed while it was being read, and the server does not know --live")]
    LiveUnknown,
    /// A file that was taken for one that is being appended to became shorter, or what was read of it changed.
    #[error("the file was not only appended to while it was being read: it changed inside or became shorter")]
    ChangedInside,
    /// A file of this machine changed while it was sent.
    #[error("the file changed while it was being sent")]
    SourceChanged,
    /// What a step was to replace, or the place where it was to put something, is not as it was listed.
    #[error("it is no longer what was listed on the side that is written to")]
    TargetChanged,
    /// A file that was listed, or named, is gone.
    #[error("the file vanished before it was read")]
    Vanished,
    /// A file that the server goes on listing is not handed out.
    #[error("the server lists the file, but does not hand it out: it may not be able to read it")]
    UnreadableThere,
    /// The server breaks the protocol.
    #[error("the server's answer is not valid: {0}")]
    Protocol(String),
    /// A file with other content is there.
    #[error("the file exists with other content")]
    Exists,
    /// The name lies below that of another file of the same run, and here it cannot.
    #[error("{0} is fetched as a file, so nothing can lie below it")]
    BelowFile(RemotePath),
    /// Something else than a regular file is here under this name, or a symbolic link on the way to it.
    #[error("not a regular file, or a symbolic link on the way")]
    NotRegular,
    /// Something else than a file is in the way on the server, or somebody goes on changing what is there.
    #[error("something on the server is in the way: no file, or one that is being changed")]
    InTheWay,
    /// What was taken for a file is a directory on the server.
    #[error("it is a directory on the server")]
    DirectoryThere,
    /// The name, or a part of it, begins with a dot.
    #[error("hidden names, which begin with a dot, cannot be written")]
    HiddenName,
    /// The disk is full, or would be.
    #[error("{0}")]
    NoSpace(String),
    /// The local file system refused.
    #[error("{0}")]
    Local(String),
    /// The run was interrupted before this was finished.
    #[error("interrupted")]
    Interrupted,
}

/// The kinds of failure that exit codes tell apart (CLI.md, "Exit codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// Cannot connect, or the connection was lost.
    Connection,
    /// The server's identity is not trusted.
    Trust,
    /// The server refused.
    Refused,
    /// Wrong or changing content.
    Integrity,
    /// Local files.
    Local,
    /// A file vanished between listing and reading.
    Vanished,
    /// Interrupted.
    Interrupted,
}

impl Failure {
    /// Its kind.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::ConnectionLost(_) => FailureClass::Connection,
            Self::Untrusted(_) => FailureClass::Trust,
            Self::Refused(error) if matches!(error.code, StatusCode::CHANGED | StatusCode::DIGEST_MISMATCH) => {
                FailureClass::Integrity
            }
            Self::CertificateRefused(_)
            | Self::Refused(_)
            | Self::InvalidName(_)
            | Self::NoMatch
            | Self::UnreadableThere
            | Self::DirectoryThere
            | Self::HiddenName
            | Self::InTheWay => FailureClass::Refused,
            Self::DigestMismatch { .. }
            | Self::Changed
            | Self::LiveUnknown
            | Self::ChangedInside
            | Self::SourceChanged
            | Self::TargetChanged
            | Self::Protocol(_) => FailureClass::Integrity,
            Self::Vanished => FailureClass::Vanished,
            Self::Exists | Self::BelowFile(_) | Self::NotRegular | Self::NoSpace(_) | Self::Local(_) => {
                FailureClass::Local
            }
            Self::Interrupted => FailureClass::Interrupted,
        }
    }

    /// The word for it in machine output.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ConnectionLost(_) => "connection_lost",
            Self::Untrusted(_) => "untrusted",
            Self::CertificateRefused(_) => "certificate_refused",
            Self::Refused(error) => error.code.name().unwrap_or("refused"),
            Self::InvalidName(_) | Self::NoMatch => "not_found",
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::Changed | Self::LiveUnknown | Self::ChangedInside | Self::SourceChanged | Self::TargetChanged => {
                "changed"
            }
            Self::Vanished => "vanished",
            Self::Protocol(_) => "protocol",
            Self::Exists => "exists",
            Self::InTheWay => "in_the_way",
            Self::UnreadableThere => "unreadable",
            Self::DirectoryThere => "is_directory",
            Self::HiddenName => "denied",
            Self::BelowFile(_) => "below_file",
            Self::NoSpace(_) => "no_space",
            Self::NotRegular | Self::Local(_) => "local",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Why one attempt at an exchange ended, before it is decided whether to try again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// The connection is gone.
    #[error(transparent)]
    Lost(Lost),
    /// The server refused, in a head or by resetting the stream.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The server breaks the protocol.
    #[error("{0}")]
    Protocol(String),
    /// The local store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Retries inside the attempt ran out.
    #[error("{0}")]
    Final(Failure),
    /// What an earlier run left on disk had gone bad. It is discarded, so a further attempt fetches all of it.
    #[error("what an earlier run left is damaged")]
    Stale,
    /// The bytes are not what the trailer says.
    #[error("digest mismatch")]
    DigestMismatch {
        /// Of the bytes received.
        got: Digest,
        /// In the trailer.
        expected: Digest,
    },
}

impl AttemptError {
    /// Whether a further attempt may end better.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Lost(Lost::CertificateRefused(_)) => false,
            Self::Lost(_) | Self::Stale => true,
            Self::Remote(error) => error.code.is_transient(),
            Self::Protocol(_) | Self::DigestMismatch { .. } | Self::Final(_) => false,
            Self::Store(error) => matches!(error, StoreError::Busy),
        }
    }

    /// Why the next attempt needs another connection, if it does: this one is gone, or its server takes nothing more on it (PROTOCOL §3.1).
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        match self {
            Self::Lost(lost) => Some(lost.clone()),
            Self::Remote(error) if error.code == StatusCode::SHUTTING_DOWN => Some(Lost::Closed(error.code)),
            _ => None,
        }
    }

    /// What is reported when no further attempt is made.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        match self {
            Self::Lost(lost @ Lost::CertificateRefused(_)) => Failure::CertificateRefused(lost),
            Self::Lost(lost) => Failure::ConnectionLost(lost.to_string()),
            Self::Remote(error) if error.code == StatusCode::CHANGED => Failure::Changed,
            Self::Remote(error) => Failure::Refused(error),
            Self::Protocol(why) => Failure::Protocol(why),
            Self::Final(failure) => failure,
            Self::Stale => Failure::Protocol(self.to_string()),
            Self::Store(error) => store_failure(&error),
            Self::DigestMismatch { got, expected } => Failure::DigestMismatch { got, expected },
        }
    }
}

/// What a failure of the local store is reported as.
#[must_use]
pub fn store_failure(error: &StoreError) -> Failure {
    match error {
        StoreError::Exists => Failure::Exists,
        StoreError::NotFound => Failure::Vanished,
        StoreError::Conflict => Failure::TargetChanged,
        StoreError::NotRegular => Failure::NotRegular,
        StoreError::NoSpace { .. } => Failure::NoSpace(error.to_string()),
        other => Failure::Local(other.to_string()),
    }
}

impl From<Lost> for AttemptError {
    fn from(lost: Lost) -> Self {
        match lost {
            // No loss that another connection would mend: the server would deny the same again.
            Lost::Closed(StatusCode::DENIED) => Self::Remote(RemoteError::new(StatusCode::DENIED, "")),
            lost => Self::Lost(lost),
        }
    }
}

impl From<StreamError> for AttemptError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Lost(lost) => lost.into(),
            // The connection is about to be closed, or the server gave up this stream: either way the code says why.
            StreamError::Reset(code) | StreamError::Stopped(code) => Self::Remote(RemoteError::new(code, "")),
            other => Self::Protocol(other.to_string()),
        }
    }
}

impl From<ReceiveError> for AttemptError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Stream(error) => error.into(),
            ReceiveError::Store(error) => Self::Store(error),
            other => Self::Protocol(other.to_string()),
        }
    }
}

impl From<FrameError> for AttemptError {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<DecodeError> for AttemptError {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The host name means nothing.
    #[error("cannot resolve {host}: {reason}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// No connection to any of the host's addresses.
    #[error("cannot connect to {server}: {source}")]
    Connect {
        /// Where.
        server: ServerAddress,
        /// Why the last attempt failed.
        source: ConnectError,
    },
    /// Connected, and the key is not the one expected.
    #[error("the key of {server} is not the expected one")]
    WrongKey {
        /// Where.
        server: ServerAddress,
        /// The pin, or what the store of known servers has.
        expected: Fingerprint,
        /// What the server showed.
        presented: Fingerprint,
        /// Whether the expectation came from the store of known servers, and not from a ticket or flag.
        from_store: bool,
    },
    /// Something answers that shows a certificate and does not prove to hold its key.
    #[error("{server} is not who it says it is: {source}")]
    Impostor {
        /// Where.
        server: ServerAddress,
        /// What it shows.
        source: ConnectError,
    },
    /// The server's certificate does not do, where names, dates and issuers count.
    #[error("{server} is not trusted: {source}")]
    Certificate {
        /// Where.
        server: ServerAddress,
        /// What is wrong.
        source: CertificateFault,
    },
    /// No authority is known that could vouch for a server.
    #[error("no server can be trusted: {0}")]
    Roots(#[from] RootsError),
    /// Connected, and the key is not trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl SessionError {
    /// Its kind.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Connect { source: ConnectError::Lost(Lost::CertificateRefused(_)), .. } => FailureClass::Refused,
            Self::Resolve { .. } | Self::Connect { .. } => FailureClass::Connection,
            Self::WrongKey { .. }
            | Self::Impostor { .. }
            | Self::Certificate { .. }
            | Self::Roots(_)
            | Self::Trust(_) => FailureClass::Trust,
        }
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.class() == FailureClass::Connection
    }
}
