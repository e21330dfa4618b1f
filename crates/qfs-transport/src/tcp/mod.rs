//! TLS 1.3 over TCP, on the port of the same number as QUIC's: for clients whose network carries no UDP, and for HTTP.
//!
//! Owns the listening sockets and the handshake. What is spoken inside is settled there by its name (RFC 7301) and is not known
//! here.

mod listener;

pub use listener::{BoundTcp, TcpAcceptor, TlsStream};
