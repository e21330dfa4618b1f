//! Why there is no end point, or no connection, over either way.

use std::io;
use std::net::SocketAddr;

use qfs_core::model::Fingerprint;
use qfs_core::stream::Lost;
use qfs_core::wire::StatusCode;

use crate::tls::{CertificateFault, Refusal, said};

/// Why an end point cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The socket cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The TCP socket cannot be bound.
    #[error("cannot listen on TCP {address}: {source}")]
    BindTcp {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// TLS refuses the configuration.
    #[error("cannot set up TLS: {}", said::tls(.0))]
    Tls(#[from] rustls::Error),
    /// The end point's driver cannot run.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing answered in time.
    #[error("no answer")]
    NoAnswer,
    /// The host answers that nothing listens on this port.
    #[error("nothing listens there")]
    Refused,
    /// The server holds another key than the pinned one.
    #[error("the server's key is {presented}, expected {expected}")]
    WrongKey {
        /// The pin.
        expected: Fingerprint,
        /// What the server presented.
        presented: Fingerprint,
    },
    /// The server does not prove that it holds the key of its certificate: it shows a copy of somebody else's.
    #[error("it shows a certificate with the key {presented} and does not prove to hold that key")]
    Unproven {
        /// The key of the certificate.
        presented: Fingerprint,
    },
    /// The server's certificate is not valid, where it has to be.
    #[error(transparent)]
    Certificate(CertificateFault),
    /// The server violates TLS.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// Something answers that does not speak this protocol.
    #[error("the other side does not speak qfs/1")]
    OtherProtocol,
    /// The server turns connections away.
    #[error("the server refuses connections: {0}")]
    Turned(StatusCode),
    /// The connection ended while it was being established.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// This end cannot even try.
    #[error(transparent)]
    Local(#[from] TransportError),
}

impl From<Refusal> for ConnectError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::WrongKey { expected, presented } => Self::WrongKey { expected, presented },
            Refusal::Unproven { presented } => Self::Unproven { presented },
            Refusal::Certificate(fault) => Self::Certificate(fault),
        }
    }
}
