//! Every number given to quinn, with its unit and its reason.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use qfs_congestion::{Congestion, PathMemory};

use crate::tcp::Grants;

/// A connection on which nothing was heard for this long is dead (PROTOCOL §1.5).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The client speaks at least this often, so that a long wait for a digest does not look like death.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(8);

/// What a round trip is taken for until one was measured. A first packet that is lost is sent again after three of these. RFC 9002
/// §6.2.2 recommends 333 ms, which makes that a whole second: by then a client has long begun over TCP, and stays there for one
/// packet lost in a hundred. On a path that is longer than 300 ms, a packet or two are sent twice for nothing.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// Wanted size of the kernel's socket buffers, in bytes. 4 MiB holds 4 ms at one gigabyte per second, which is longer
/// than the scheduler keeps a busy thread waiting. Smaller buffers lose packets on loopback.
pub(crate) const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Largest UDP payload on paths whose interface carries more than Ethernet's, in bytes. The work per packet dominates,
/// so large packets help most. But ten segments of one GSO batch must stay within 65,507 bytes, or the sender hangs
/// without an error.
const JUMBO_UDP_PAYLOAD: u16 = 6500;

/// Largest UDP payload on an Ethernet path, in bytes: 1500 less the IPv4 and UDP headers, rounded as quinn does.
const ETHERNET_UDP_PAYLOAD: u16 = 1452;

/// IPv6 and UDP headers, in bytes.
const HEADER_BYTES: u32 = 48;

/// Streams that a client may have open at once. QUIC keeps a place for each, open or not, in two tables that are full at seven
/// eighths of a power of two: one stream more than this, and a connection costs 22 KiB more.
const MAX_STREAMS: u32 = 448;

/// What the server lets a connection cost.
#[derive(Debug, Clone)]
pub struct ServerTuning {
    /// Congestion controller for what is sent.
    pub congestion: Congestion,
    /// Streams a client may have open at once. Each costs one request's buffers and a handler.
    pub max_streams: u32,
    /// Largest UDP payload in both directions, in bytes; None to follow the path.
    pub max_payload: Option<u16>,
    /// The name (RFC 7301) of a protocol that is offered on the same port besides `qfs/1`.
    pub other_protocol: Option<&'static [u8]>,
}

impl Default for ServerTuning {
    fn default() -> Self {
        Self { congestion: Congestion::Auto, max_streams: MAX_STREAMS, max_payload: None, other_protocol: None }
    }
}

/// Unidirectional streams that a client may open where another protocol is offered. HTTP/3 needs three, and clients open one or two
/// of a kind that is to be ignored (RFC 9114 §6.2). They are granted before it is known which protocol a client speaks, and are
/// none of `qfs/1` (PROTOCOL §1.4).
const OTHER_UNI_STREAMS: u32 = 8;

/// What the client lets a connection cost.
#[derive(Debug, Clone)]
pub struct ClientTuning {
    /// Congestion controller for what is sent.
    pub congestion: Congestion,
    /// Bytes that may be under way to this client on a connection at first. The window grows with the path up to 128
    /// MiB. While the disk keeps up, nothing accumulates, because chunks are taken as they arrive; when it does not,
    /// the window bounds what quinn holds.
    pub receive_window: u64,
    /// Largest UDP payload that is sent, in bytes; None to follow the path. [`ClientEndpoint::bind`](crate::ClientEndpoint::bind)
    /// takes the one that is received.
    pub max_payload: Option<u16>,
}

impl Default for ClientTuning {
    fn default() -> Self {
        Self { congestion: Congestion::Auto, receive_window: INITIAL_RECEIVE_WINDOW, max_payload: None }
    }
}

/// First receive window, in bytes. It covers 4 ms at one gigabyte per second, and a slow start until the window has
/// grown with it.
const INITIAL_RECEIVE_WINDOW: u64 = 4 << 20;

/// Largest receive window of a connection, in bytes: 2.5 Gbit/s at 400 ms.
pub(crate) const MAX_RECEIVE_WINDOW: u64 = 128 << 20;

/// Bytes that a client may have sent on all streams of a connection at first without the server having read them. Requests are
/// below 64 KiB and read at once; for uploads the window grows with what is taken, as a client's does.
pub(crate) const REQUEST_WINDOW: u32 = 1 << 20;

/// Bytes of unsent and unacknowledged data that the server allows on a connection at first. The limit grows with the
/// congestion window. A packet that is lost in the first rounds of start-up must not stop the server before it is sent
/// again, eight windows later.
pub(crate) const INITIAL_SEND_WINDOW: u64 = 2 << 20;

/// The most bytes of unsent and unacknowledged data on one connection.
pub(crate) const MAX_SEND_WINDOW: u64 = 64 << 20;

impl ServerTuning {
    /// `memory` is that of the one connection that this is for.
    pub(crate) fn transport(&self, path_mtu: Option<u32>, memory: PathMemory) -> Arc<TransportConfig> {
        let mut config = common(path_mtu, self.max_payload);
        config
            .congestion_controller_factory(self.congestion.remembering(memory))
            .max_concurrent_bidi_streams(VarInt::from_u32(self.max_streams))
            .max_concurrent_uni_streams(VarInt::from_u32(self.other_protocol.map_or(0, |_| OTHER_UNI_STREAMS)))
            // One upload may use all that the connection may.
            .stream_receive_window(VarInt::from_u64(MAX_RECEIVE_WINDOW).unwrap_or(VarInt::MAX))
            .receive_window(VarInt::from_u32(REQUEST_WINDOW))
            .send_window(INITIAL_SEND_WINDOW);
        Arc::new(config)
    }

    /// What a client is granted over TCP: the same.
    pub(crate) fn grants(&self) -> Grants {
        Grants { window: REQUEST_WINDOW.into(), stream_window: MAX_RECEIVE_WINDOW, streams: self.max_streams.into() }
    }
}

impl ClientTuning {
    pub(crate) fn transport(&self, path_mtu: Option<u32>) -> Arc<TransportConfig> {
        let window = VarInt::from_u64(self.receive_window).unwrap_or(VarInt::MAX);
        let mut config = common(path_mtu, self.max_payload);
        config
            .congestion_controller_factory(self.congestion.factory())
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            // One stream may use all that the connection may.
            .stream_receive_window(VarInt::from_u64(MAX_RECEIVE_WINDOW).unwrap_or(VarInt::MAX))
            .receive_window(window)
            .send_window(u64::from(REQUEST_WINDOW))
            .keep_alive_interval(Some(KEEP_ALIVE));
        Arc::new(config)
    }

    /// What a server is granted over TCP: the same.
    pub(crate) fn grants(&self) -> Grants {
        Grants { window: self.receive_window, stream_window: MAX_RECEIVE_WINDOW, streams: 0 }
    }
}

/// The part of the configuration that both ends share.
fn common(path_mtu: Option<u32>, max_payload: Option<u16>) -> TransportConfig {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(payload_bound(path_mtu, max_payload));
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .initial_rtt(INITIAL_RTT)
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(Some(mtu));
    config
}

/// The largest UDP payload that discovery tries.
fn payload_bound(path_mtu: Option<u32>, max_payload: Option<u16>) -> u16 {
    let path = match path_mtu {
        Some(mtu) if mtu > 1500 => mtu.saturating_sub(HEADER_BYTES).min(JUMBO_UDP_PAYLOAD.into()),
        _ => ETHERNET_UDP_PAYLOAD.into(),
    };
    let path = u16::try_from(path).unwrap_or(JUMBO_UDP_PAYLOAD);
    max_payload.unwrap_or(path).clamp(1200, JUMBO_UDP_PAYLOAD)
}

/// Largest UDP payload this end accepts, in bytes: whatever the other end's discovery may try, unless a bound was set. It is told to
/// the other end, so that the bound holds in both directions.
pub(crate) fn received_payload(max_payload: Option<u16>) -> u16 {
    max_payload.unwrap_or(JUMBO_UDP_PAYLOAD).clamp(1200, JUMBO_UDP_PAYLOAD)
}

/// The largest packet, in bytes with its headers, that the path to `peer` carries as far as the kernel knows; None when
/// the kernel cannot tell.
pub(crate) fn path_mtu(peer: IpAddr) -> Option<u32> {
    if peer.is_loopback() {
        return Some(65_536);
    }
    let any: IpAddr = if peer.is_ipv4() { [0u8; 4].into() } else { [0u8; 16].into() };
    // Connecting a UDP socket sends nothing; it makes the kernel look up the route.
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect((peer, 9)).ok()?;
    if peer.is_ipv4() { rustix::net::sockopt::ip_mtu(&socket).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gso_batch_of_the_largest_payload_fits_a_datagram() {
        assert!(u32::from(JUMBO_UDP_PAYLOAD) * 10 <= 65_507);
    }

    #[test]
    fn the_payload_follows_the_path() {
        assert_eq!(payload_bound(None, None), 1452);
        assert_eq!(payload_bound(Some(1500), None), 1452);
        assert_eq!(payload_bound(Some(4000), None), 3952);
        assert_eq!(payload_bound(Some(9000), None), 6500);
        assert_eq!(payload_bound(Some(65_536), None), 6500);
        assert_eq!(payload_bound(Some(65_536), Some(1452)), 1452);
        assert_eq!(payload_bound(None, Some(u16::MAX)), 6500);
        assert_eq!(payload_bound(None, Some(0)), 1200);
    }

    #[test]
    fn loopback_carries_large_packets() {
        assert_eq!(path_mtu([127, 0, 0, 1].into()), Some(65_536));
    }
}
