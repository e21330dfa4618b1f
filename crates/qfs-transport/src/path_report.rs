//! What is known of the path of a connection, in the same words over either way.

use std::time::Duration;

/// What is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathReport {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// The shortest one.
    pub min_rtt: Duration,
    /// Largest UDP payload in use, or what a TLS record carries, in bytes.
    pub payload: u16,
    /// Packets sent that were lost; 0 where the kernel sees to them.
    pub lost_packets: u64,
    /// Bytes that the socket brought: UDP payload, or what was in TLS records.
    pub received: u64,
    /// A number that grows whenever the peer shows that it hears this end
    /// ([`Connection::ask_for_a_sign`](crate::Connection::ask_for_a_sign)).
    pub signs: u64,
    /// Bytes that it took.
    pub sent: u64,
    /// Pieces of what is sent that the peer has let pass.
    pub pieces: u64,
    /// Times the peer said that this end's window held it (RFC 9000 §19.12, §19.13).
    pub blocked: u64,
}
