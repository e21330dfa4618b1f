//! Whether the key a server shows is believed (CLI.md, "Trust").

use std::net::IpAddr;

use qfs_core::model::Fingerprint;

use crate::config::ServerAddress;

/// Knows servers, and decides about new ones.
pub trait TrustStore: Send + Sync {
    /// The key this server must have, if it is known.
    ///
    /// # Errors
    /// [`TrustError::Store`] when the store cannot be read: it fails closed.
    fn lookup(&self, server: &ServerAddress) -> Result<Option<Fingerprint>, TrustError>;

    /// Decides about a server that is not known and proved to hold this key. May ask a person; blocks meanwhile.
    ///
    /// # Errors
    /// [`TrustError::Unknown`] when it is not to be trusted.
    fn approve(&self, server: &ServerAddress, peer: IpAddr, presented: Fingerprint) -> Result<(), TrustError>;
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
