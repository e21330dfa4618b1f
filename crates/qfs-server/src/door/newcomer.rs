//! A client that came over TCP, between the port that let it in and the door that serves it.

use std::net::SocketAddr;

use qfs_transport::TlsStream;
use tokio::time::Instant;

use crate::gate::admission::Admitted;

/// A client whose handshake is done.
pub(crate) struct Newcomer {
    pub(crate) peer: SocketAddr,
    /// The port it came to.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "only HTTP tells clients of it"))]
    pub(crate) port: u16,
    pub(crate) stream: TlsStream,
    /// Until when it must have asked for something.
    pub(crate) deadline: Instant,
    /// Counts it among the connections until it is dropped.
    pub(crate) admitted: Admitted,
}
