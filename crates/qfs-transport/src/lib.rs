//! How the bytes of qfs travel: QUIC or TLS over TCP, identities and pins, streams, and every number of theirs with its reason.
//!
//! | module | owns |
//! |---|---|
//! | [`Connection`] | a connection and its streams, whichever way they travel |
//! | `quic` | end points, connections and streams on quinn |
//! | `tcp` | the same over TLS and TCP, for networks without UDP |
//! | `tls` | identities, pins, authorities, and the judgement of a peer's certificate |
//! | `receive_window` | how much a peer may send ahead |
//! | `error`, `path_report` | what keeps a connection from being made, and what is known of the path of one that is |
//! | `tuning` | every number given to quinn, with its unit and its reason |
//!
//! This crate knows nothing of messages or stores. Above it, only connection handling on either side sees these types; the pump
//! and the handlers work on the traits of [`qfs_core::stream`].

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job"))]

mod connection;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod path_report;
mod quic;
mod receive_window;
mod tcp;
mod tls;
mod tuning;

pub use connection::{Connection, RequestReader, Sink, Source, Way};
pub use error::{ConnectError, TransportError};
pub use path_report::PathReport;
pub use qfs_congestion::Congestion;
pub use quic::{BoundEndpoint, ClientEndpoint, Incoming, Listener, MAX_ENDPOINTS, SocketBuffers, packets_a_call};
#[doc(hidden)]
pub use tcp::exercise;
pub use tcp::{BoundTcp, TcpAcceptor, TlsStream, connect_tcp};
pub use tls::{
    CertificateFault, Identity, IdentityError, IdentityFileError, IdentityPem, MAX_NAME_CHARS, PeerCertificate, Roots,
    RootsError, ShownIdentity, Trust,
};
pub use tuning::{ClientTuning, IDLE_TIMEOUT, ServerTuning};
