//! Whether the key a server shows is believed (CLI.md, "Trust").

use std::net::IpAddr;

use qfs_core::model::Fingerprint;
use qfs_transport::Trust;

use crate::config::ServerAddress;

pub mod known_servers;

/// What is on record of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The key it must have.
    pub key: Fingerprint,
    /// The key that the holder of that one has announced as its next.
    pub next: Option<Fingerprint>,
}

impl Known {
    /// Whom a connection may meet.
    #[must_use]
    pub fn trust(self) -> Trust {
        match self {
            Self { key, next: None } => Trust::Pinned(key),
            Self { key, next: Some(next) } => Trust::Renewing { current: key, next },
        }
    }
}

/// Knows servers, and decides about new ones.
pub trait TrustStore: Send + Sync {
    /// What is on record of this server, if it is known.
    ///
    /// # Errors
    /// [`TrustError::Store`] when the store cannot be read: it fails closed.
    fn lookup(&self, server: &ServerAddress) -> Result<Option<Known>, TrustError>;

    /// Decides about a server that is not known and proved to hold this key. May ask a person; blocks meanwhile.
    ///
    /// # Errors
    /// [`TrustError::Unknown`] when it is not to be trusted.
    fn approve(&self, server: &ServerAddress, peer: IpAddr, presented: Fingerprint) -> Result<(), TrustError>;

    /// Records what a server that proved to hold `found.key` announces, nothing included, where that is still its recorded key;
    /// false where it is not. Blocks.
    ///
    /// # Errors
    /// [`TrustError::Store`] when the store cannot be changed.
    fn announce(&self, server: &ServerAddress, found: Known) -> Result<bool, TrustError>;

    /// Makes `new` the recorded key, where `old` is and has announced it; false where that is not so. Blocks.
    ///
    /// # Errors
    /// As [`Self::announce`].
    fn promote(&self, server: &ServerAddress, old: Fingerprint, new: Fingerprint) -> Result<bool, TrustError>;
}

/// A [`TrustStore`] without records, which believes nobody: for connections whose server is pinned or shows a certificate that
/// counts. Connecting to any other server fails with [`TrustError::Unknown`], which says which key it has.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRecords;

impl TrustStore for NoRecords {
    fn lookup(&self, _: &ServerAddress) -> Result<Option<Known>, TrustError> {
        Ok(None)
    }

    fn approve(&self, server: &ServerAddress, _: IpAddr, presented: Fingerprint) -> Result<(), TrustError> {
        Err(TrustError::Unknown { server: server.clone(), presented })
    }

    fn announce(&self, _: &ServerAddress, _: Known) -> Result<bool, TrustError> {
        Ok(false)
    }

    fn promote(&self, _: &ServerAddress, _: Fingerprint, _: Fingerprint) -> Result<bool, TrustError> {
        Ok(false)
    }
}

/// Why a key is not trusted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Nobody vouched for it.
    #[error("the server {server} is not known; its key is {presented}")]
    Unknown {
        /// Where.
        server: ServerAddress,
        /// What it showed.
        presented: Fingerprint,
    },
    /// The store of known servers cannot be used.
    #[error("cannot use the store of known servers: {0}")]
    Store(String),
}
