//! What can go wrong between here and a bucket, and what it means to whoever asked the store.

use std::io;
use std::sync::Arc;

use qfs_core::store::StoreError;

/// Why a bucket cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The root names no bucket.
    #[error("{0}")]
    Location(String),
    /// A setting is unknown or makes no sense.
    #[error("{0}")]
    Setting(String),
    /// No credentials were found, or the bucket does not accept them.
    #[error("{0}")]
    Credentials(String),
    /// There is no such bucket.
    #[error("no such bucket")]
    NoBucket,
    /// It cannot be reached, or does not answer as a bucket does.
    #[error("{0}")]
    Unreachable(String),
    /// The directory where blocks are to be kept cannot be used.
    #[error("cannot keep blocks in {0}: {1}")]
    Disk(String, #[source] io::Error),
}

/// Why one request failed, after every retry that makes sense.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum CloudError {
    /// Nothing is there.
    #[error("no such object")]
    Missing,
    /// There is no such bucket, or no longer.
    #[error("there is no such bucket")]
    NoBucket,
    /// The condition of the request does not hold.
    #[error("the object is another one than expected")]
    Precondition,
    /// The range begins behind the end.
    #[error("the range is not satisfiable")]
    Range,
    /// The bucket does not let us, or the credentials have expired.
    #[error("the bucket denies it: {0}")]
    Denied(Arc<str>),
    /// It cannot be reached, fails, or asks for patience, and went on doing so until the deadline.
    #[error("the bucket does not answer: {0}")]
    Unavailable(Arc<str>),
    /// It answers what cannot be right.
    #[error("the bucket answers what makes no sense: {0}")]
    Nonsense(Arc<str>),
    /// A condition does not hold, maybe because an attempt whose answer was lost has met it.
    #[error("the object is another one than expected, or the one that was written")]
    Doubtful,
    /// This kind of bucket cannot do that.
    #[error("this kind of bucket cannot do that")]
    Unsupported,
}

impl CloudError {
    pub(super) fn unavailable(why: impl std::fmt::Display) -> Self {
        Self::Unavailable(why.to_string().into())
    }

    pub(super) fn nonsense(why: impl std::fmt::Display) -> Self {
        Self::Nonsense(why.to_string().into())
    }

    /// What it means to whoever reads. What only the owner of the server can mend is logged here, since clients are told no more
    /// than a code: [`StoreError::Busy`] for what may pass, [`StoreError::Io`] for what does not.
    pub(super) fn into_store(self) -> StoreError {
        match self {
            Self::Missing => StoreError::NotFound,
            Self::Precondition | Self::Doubtful | Self::Range => StoreError::Changed,
            Self::Unsupported => StoreError::Unsupported,
            Self::Unavailable(_) => {
                tracing::warn!("{self}");
                StoreError::Busy
            }
            Self::Denied(_) | Self::Nonsense(_) | Self::NoBucket => {
                tracing::error!("{self}");
                StoreError::Io(io::Error::other(self))
            }
        }
    }

    /// What it means when the bucket is looked at for the first time.
    pub(super) fn into_setup(self) -> SetupError {
        match self {
            Self::Missing | Self::NoBucket => SetupError::NoBucket,
            Self::Denied(why) => SetupError::Credentials(format!("the credentials are not accepted: {why}")),
            other => SetupError::Unreachable(other.to_string()),
        }
    }
}
