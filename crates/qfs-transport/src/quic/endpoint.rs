//! Sockets, and the client's end point.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint, EndpointConfig, TokioRuntime};
use socket2::{Domain, Protocol, Socket, Type};

use super::connection::Connection;
use super::lost::{lost, tls_alert};
use crate::error::{ConnectError, TransportError};
use crate::tls::Identity;
use crate::tls::{self, Trust};
use crate::tuning::{ClientTuning, SOCKET_BUFFER_BYTES, path_mtu, received_payload};
use qfs_core::stream::Lost;
use qfs_core::wire::StatusCode;

/// What the kernel granted of [`SOCKET_BUFFER_BYTES`], in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketBuffers {
    /// The size asked for, in each direction.
    pub wanted: usize,
    /// Send buffer.
    pub send: usize,
    /// Receive buffer.
    pub receive: usize,
}

impl SocketBuffers {
    /// Whether a larger `net.core.rmem_max` and `net.core.wmem_max` would help.
    #[must_use]
    pub fn are_short(&self) -> bool {
        self.send < self.wanted || self.receive < self.wanted
    }
}

/// How many packets towards `peer` the kernel takes in one call (UDP_SEGMENT, udp(7)); 1 where it takes no more.
///
/// # Errors
/// When there is no socket.
pub fn packets_a_call(peer: IpAddr) -> io::Result<usize> {
    let any: IpAddr = if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let (socket, _) = bind_socket(SocketAddr::new(any, 0))?;
    Ok(quinn::udp::UdpSocketState::new((&socket).into())?.max_gso_segments())
}

/// Makes connections from one UDP socket.
#[derive(Debug)]
pub struct ClientEndpoint {
    endpoint: Endpoint,
    identity: Option<Arc<Identity>>,
    buffers: SocketBuffers,
}

impl ClientEndpoint {
    /// Binds a free port that can reach `peer`, inside a tokio runtime. UDP payloads of up to `max_payload` bytes are taken, which
    /// the server is told (RFC 9000 §18.2, `max_udp_payload_size`); None for as many as a path carries.
    ///
    /// # Errors
    /// [`TransportError`] when the system has no socket for it.
    pub fn bind(peer: IpAddr, max_payload: Option<u16>) -> Result<Self, TransportError> {
        let any: IpAddr = if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let address = SocketAddr::new(any, 0);
        let (socket, buffers) = bind_socket(address).map_err(|source| TransportError::Bind { address, source })?;
        let mut config = EndpointConfig::default();
        accept_payloads(&mut config, max_payload);
        let endpoint = Endpoint::new(config, None, socket, Arc::new(TokioRuntime))?;
        Ok(Self { endpoint, identity: None, buffers })
    }

    /// Shows this certificate to servers that ask for one.
    #[must_use]
    pub fn with_identity(mut self, identity: Option<Arc<Identity>>) -> Self {
        self.identity = identity;
        self
    }

    /// What the kernel granted for socket buffers.
    #[must_use]
    pub fn buffers(&self) -> SocketBuffers {
        self.buffers
    }

    /// The address bound.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Connects to `peer`, or gives up after `patience`. `server_name` is the host name or address that was asked for.
    ///
    /// # Errors
    /// [`ConnectError`] distinguishes the cases that a person wants to distinguish.
    pub async fn connect(
        &self,
        peer: SocketAddr,
        server_name: &str,
        trust: Trust,
        tuning: &ClientTuning,
        patience: Duration,
    ) -> Result<crate::Connection, ConnectError> {
        let (crypto, verdict) = tls::client_config(trust, self.identity.as_deref()).map_err(TransportError::from)?;
        let crypto = QuicClientConfig::try_from(crypto).map_err(|e| ConnectError::Handshake(e.to_string()))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(tuning.transport(path_mtu(peer.ip())));
        let connecting = self
            .endpoint
            .connect_with(config, peer, server_name)
            .map_err(|e| ConnectError::Handshake(e.to_string()))?;
        let result = tokio::select! {
            result = connecting => result,
            () = refused(peer) => return Err(ConnectError::Refused),
            () = tokio::time::sleep(patience) => return Err(ConnectError::NoAnswer),
        };
        result
            .map(|connection| Connection::new(connection, tuning.receive_window).into())
            .map_err(|error| verdict.refusal().map_or_else(|| classify(&error), ConnectError::from))
    }

    /// Moves the end point to a new local socket, as after a change of network.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn rebind(&self, peer: IpAddr) -> io::Result<()> {
        let any: IpAddr = if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let (socket, _) = bind_socket(SocketAddr::new(any, 0))?;
        self.endpoint.rebind(socket)
    }

    /// Lets the driver send what is queued, such as a CONNECTION_CLOSE, without waiting for the end of the closing
    /// period.
    pub async fn flush(&self) {
        for _ in 0..FLUSH_TURNS {
            tokio::task::yield_now().await;
        }
    }
}

/// Turns of the scheduler within which the drivers of a connection and its end point send a last packet.
const FLUSH_TURNS: usize = 8;

fn classify(error: &ConnectionError) -> ConnectError {
    /// TLS alert no_application_protocol (RFC 7301 §3.2) as a QUIC error (RFC 9001 §4.8).
    const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;
    let code = match error {
        ConnectionError::TransportError(e) => Some(u64::from(e.code)),
        ConnectionError::ConnectionClosed(close) => Some(u64::from(close.error_code)),
        _ => None,
    };
    match error {
        _ if matches!(lost(error), Lost::CertificateRefused(_)) => ConnectError::Lost(lost(error)),
        _ if code == Some(NO_APPLICATION_PROTOCOL) => ConnectError::OtherProtocol,
        ConnectionError::VersionMismatch => ConnectError::OtherProtocol,
        ConnectionError::TimedOut => ConnectError::NoAnswer,
        ConnectionError::ConnectionClosed(close)
            if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED =>
        {
            ConnectError::Turned(StatusCode::BUSY)
        }
        ConnectionError::ApplicationClosed(close) => {
            ConnectError::Turned(StatusCode::from_quic(close.error_code.into_inner()))
        }
        _ => match code.and_then(tls_alert) {
            Some(alert) => ConnectError::Handshake(tls::said::alert(alert)),
            None => ConnectError::Lost(lost(error)),
        },
    }
}

/// Resolves when the host says that nothing listens at `peer` (an ICMP message that a connected socket is told of, and
/// QUIC's unconnected one is not); never otherwise.
async fn refused(peer: SocketAddr) {
    let probe = async {
        let any: IpAddr = if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = tokio::net::UdpSocket::bind((any, 0)).await?;
        socket.connect(peer).await?;
        // One byte is not a QUIC packet, and a server drops it without a trace.
        socket.send(&[0]).await?;
        socket.recv(&mut [0; 1]).await
    };
    match probe.await {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
        _ => std::future::pending().await,
    }
}

pub(super) fn accept_payloads(config: &mut EndpointConfig, max_payload: Option<u16>) {
    // Fails only below 1200.
    let _ = config.max_udp_payload_size(received_payload(max_payload));
}

pub(super) fn bind_socket(address: SocketAddr) -> io::Result<(UdpSocket, SocketBuffers)> {
    let (socket, buffers) = bind_shared(address, false)?;
    Ok((socket.into(), buffers))
}

/// As [`bind_socket`]. With `shared`, the port is shared with other sockets of this user that share it too.
pub(super) fn bind_shared(address: SocketAddr, shared: bool) -> io::Result<(Socket, SocketBuffers)> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // An address belongs to one family; a host name may have addresses of both.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    let buffers = enlarge_buffers(&socket)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok((socket, buffers))
}

/// Asks for the buffers that qfs wants, and says which the socket has.
pub(super) fn enlarge_buffers(socket: &Socket) -> io::Result<SocketBuffers> {
    // The kernel clips both to its limits without an error, also below what the socket has already.
    if socket.send_buffer_size()? / 2 < SOCKET_BUFFER_BYTES {
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    }
    if socket.recv_buffer_size()? / 2 < SOCKET_BUFFER_BYTES {
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    }
    // Linux reports twice the usable size (socket(7)).
    Ok(SocketBuffers {
        wanted: SOCKET_BUFFER_BYTES,
        send: socket.send_buffer_size()? / 2,
        receive: socket.recv_buffer_size()? / 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a first packet that is lost is sent again only when a client has long begun over TCP.
    #[tokio::test]
    async fn a_first_packet_without_an_answer_is_sent_again_within_a_second() {
        let silent = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (peer, patience) = (silent.local_addr().unwrap(), Duration::from_secs(30));
        let tuning = ClientTuning::default();
        let endpoint = ClientEndpoint::bind(peer.ip(), None).unwrap();
        let connecting = endpoint.connect(peer, "localhost", Trust::AnyKey, &tuning, patience);
        let sent_again = async {
            let mut buffer = [0; 2048];
            silent.recv(&mut buffer).await.unwrap();
            let begun = std::time::Instant::now();
            // All of the first flight.
            while tokio::time::timeout(Duration::from_millis(100), silent.recv(&mut buffer)).await.is_ok() {}
            silent.recv(&mut buffer).await.unwrap();
            begun.elapsed()
        };
        tokio::select! {
            _ = connecting => panic!("nobody answers"),
            // The timer of RFC 9002 with its own figures is a second and more.
            gap = sent_again => assert!(gap < Duration::from_millis(900), "{gap:?}"),
        }
    }
}
