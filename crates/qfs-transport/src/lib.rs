//! How the bytes of qfs travel: QUIC end points, TLS identities and pins, streams, and every quinn number with its reason.
//!
//! | module | owns |
//! |---|---|
//! | `quic` | end points, connections and streams on quinn |
//! | `tcp` | the server's TLS over TCP, whatever is spoken inside |
//! | `tls` | identities, pins, authorities, and the judgement of a peer's certificate |
//! | `tuning` | every number given to quinn, with its unit and its reason |
//!
//! This crate knows nothing of messages or stores. Above it, only connection handling on either side sees these types; the pump
//! and the handlers work on the traits of [`qfs_core::stream`].

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job"))]

mod quic;
mod tcp;
mod tls;
mod tuning;

pub use qfs_congestion::Congestion;
pub use quic::{
    BoundEndpoint, ClientEndpoint, ConnectError, Connection, Incoming, Listener, MAX_ENDPOINTS, PathReport,
    QuicRequestReader, QuicSink, QuicSource, SocketBuffers, TransportError,
};
pub use tcp::{BoundTcp, TcpAcceptor, TlsStream};
pub use tls::{
    CertificateFault, Identity, IdentityError, IdentityFileError, IdentityPem, MAX_NAME_CHARS, PeerCertificate, Roots,
    RootsError, ShownIdentity, Trust,
};
pub use tuning::{ClientTuning, IDLE_TIMEOUT, ServerTuning};
