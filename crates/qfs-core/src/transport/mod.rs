//! QUIC as qfs uses it: end points, identities and pins, streams, and every quinn number with its reason.
//!
//! Knows nothing of messages or stores. Above it, only connection handling on either side sees these types; the pump and
//! the handlers work on the traits of [`crate::stream`].

mod bundling;
pub mod congestion;
mod connection;
mod endpoint;
mod identity;
mod identity_files;
mod listener;
mod peer_certificate;
mod roots;
mod steering;
mod streams;
mod tls;
mod tuning;

pub use connection::{Connection, PathReport};
pub use endpoint::{ClientEndpoint, ConnectError, SocketBuffers, TransportError};
pub use identity::{Identity, IdentityError, IdentityPem};
pub use identity_files::IdentityFileError;
pub use listener::{BoundEndpoint, Listener};
pub use peer_certificate::{MAX_NAME_CHARS, PeerCertificate};
pub use quinn::Incoming;
pub use roots::{Roots, RootsError};
pub use steering::MAX_ENDPOINTS;
pub use streams::{QuicRequestReader, QuicSink, QuicSource};
pub use tls::{CertificateFault, Trust};
pub use tuning::{ClientTuning, IDLE_TIMEOUT, ServerTuning};
