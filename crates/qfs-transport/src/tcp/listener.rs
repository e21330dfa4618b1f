//! The server's side: sockets, accepting, the handshake.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::UNSENT_BYTES;
use super::connection::{Connection, Origin};
use super::mux::Side;
use super::read_ahead::ReadAhead;
use crate::error::TransportError;
use crate::tls::{self, Identity, PeerCertificate, Roots};
use crate::tuning::{IDLE_TIMEOUT, ServerTuning};

/// Connections that the kernel holds until they are accepted, for each socket.
const BACKLOG: i32 = 1024;

/// A listening socket that nobody accepts from yet.
#[derive(Debug)]
pub struct BoundTcp {
    socket: TcpListener,
    config: Arc<rustls::ServerConfig>,
}

impl BoundTcp {
    /// Binds `count` sockets to `address`, among which the kernel spreads the clients. `protocols`: what is offered in the
    /// handshake, the best first; a client that names none gets in as well. Where there are `clients`, only those are let in that
    /// hold a certificate which one of these authorities vouches for.
    ///
    /// # Errors
    /// [`TransportError::BindTcp`] when the port is taken or not allowed.
    pub fn bind_several(
        address: SocketAddr,
        identity: &Identity,
        clients: Option<&Roots>,
        protocols: &[&[u8]],
        count: usize,
    ) -> Result<Vec<Self>, TransportError> {
        let config = Arc::new(tls::server_config(identity, clients, protocols)?);
        let sockets = listen(address, count).map_err(|source| TransportError::BindTcp { address, source })?;
        Ok(sockets.into_iter().map(|socket| Self { socket: socket.into(), config: Arc::clone(&config) }).collect())
    }

    /// The same on a socket that listens already, because somebody else has made it, such as a service manager.
    ///
    /// # Errors
    /// [`TransportError::Io`] when it cannot be used.
    pub fn on_socket(
        socket: TcpListener,
        identity: &Identity,
        clients: Option<&Roots>,
        protocols: &[&[u8]],
    ) -> Result<Self, TransportError> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, config: Arc::new(tls::server_config(identity, clients, protocols)?) })
    }

    /// Starts accepting, inside the tokio runtime that is to drive it.
    ///
    /// # Errors
    /// [`TransportError::Io`] when the runtime cannot take the socket.
    pub fn start(self) -> Result<TcpAcceptor, TransportError> {
        let port = self.socket.local_addr()?.port();
        let listener = tokio::net::TcpListener::from_std(self.socket)?;
        Ok(TcpAcceptor { listener, port, tls: self.config.into() })
    }
}

/// `count` sockets on one port. As with QUIC's, the first is bound alone, so that a port which another program has is taken.
fn listen(address: SocketAddr, count: usize) -> io::Result<Vec<Socket>> {
    let bind = |address: SocketAddr, shared: bool| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        // Connections of a former run that linger must not keep the next one from its port; a listener does all the same.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok::<_, io::Error>(socket)
    };
    let first = bind(address, false)?;
    first.listen(BACKLOG)?;
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    if count > 1 {
        first.set_reuse_port(true)?;
    }
    let mut sockets = vec![first];
    for _ in 1..count {
        let socket = bind(address, true)?;
        socket.listen(BACKLOG)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Accepts connections and completes their handshakes.
pub struct TcpAcceptor {
    listener: tokio::net::TcpListener,
    port: u16,
    tls: tokio_rustls::TlsAcceptor,
}

impl TcpAcceptor {
    /// The port really bound.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next client that wants in.
    ///
    /// # Errors
    /// When descriptors ran out, or the client is gone already: the next call may do better.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.listener.accept().await?;
        // What is written is written in large pieces, or is all there is to say for now.
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES)?;
        // A client that is gone without a word is noticed as it is with QUIC.
        let alive = TcpKeepalive::new().with_time(IDLE_TIMEOUT).with_interval(IDLE_TIMEOUT / 3).with_retries(3);
        SockRef::from(&stream).set_tcp_keepalive(&alive)?;
        Ok((stream, peer))
    }

    /// Completes the handshake with the client at the other end of `stream`.
    ///
    /// # Errors
    /// When the client gave up, broke TLS, or was not let in.
    pub async fn handshake(&self, stream: TcpStream) -> io::Result<TlsStream> {
        match self.tls.accept(ReadAhead::new(stream)).into_fallible().await {
            Ok(stream) => Ok(TlsStream(stream)),
            Err((error, stream)) => {
                let _ = timeout(FAREWELL, farewell(stream)).await;
                Err(error)
            }
        }
    }
}

/// How long a client whose handshake failed has to hear why.
const FAREWELL: Duration = Duration::from_secs(1);

/// How much of what it has sent meanwhile is read, in bytes.
const FAREWELL_BYTES: usize = 64 << 10;

/// Has the alert arrive that was sent last: a connection that is closed while something of the client lies unread is reset, and the client
/// may never see what it was told. With TLS 1.3 it has sent a request before it hears that its certificate does not do. Nor is it told that
/// the connection ends: Chromium, which looks for that first, would not read the alert.
async fn farewell(mut stream: impl AsyncRead + Unpin) {
    let (mut buffer, mut read) = ([0; 1024], 0);
    while read < FAREWELL_BYTES {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(more) => read += more,
        }
    }
}

impl std::fmt::Debug for TcpAcceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TcpAcceptor")
    }
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct TlsStream(tokio_rustls::server::TlsStream<ReadAhead<TcpStream>>);

impl TlsStream {
    /// The protocol that was agreed on (RFC 7301); None where the client named none.
    #[must_use]
    pub fn protocol(&self) -> Option<&[u8]> {
        self.0.get_ref().1.alpn_protocol()
    }

    /// The certificate that the client proved to hold; None when it was not asked for one.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<PeerCertificate> {
        PeerCertificate::of(self.0.get_ref().1.peer_certificates()?.first()?)
    }
}

impl crate::Connection {
    /// The connection of a client at `peer` that agreed on `qfs/1` (PROTOCOL §9), in the tokio runtime that is to drive it.
    #[must_use]
    pub fn over_tls(stream: TlsStream, peer: SocketAddr, tuning: &ServerTuning) -> Self {
        let shown = stream.0.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let origin = Origin { peer, certificate: shown.map(|own| own.clone().into_owned()), round_trip: None };
        Connection::start(stream, origin, Side::Server, tuning.grants()).into()
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IdentityPem;

    fn identity() -> Identity {
        let pem = IdentityPem::generate().unwrap();
        Identity::from_pem(pem.key.as_bytes(), pem.certificate.as_bytes()).unwrap()
    }

    /// Fails when a second server gets a port that a first one has, or the sockets of one server do not share it.
    #[test]
    fn a_port_is_shared_within_a_server_and_taken_for_others() {
        let identity = identity();
        let bind = |address| BoundTcp::bind_several(address, &identity, None, &[b"x"], 3);
        let address = |bound: &BoundTcp| bound.socket.local_addr().unwrap();
        let held = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let taken = address(&held[0]);
        assert!(held.len() == 3 && held.iter().all(|bound| address(bound) == taken));
        assert!(
            matches!(bind(taken), Err(TransportError::BindTcp { source, .. }) if source.kind() == io::ErrorKind::AddrInUse)
        );
    }
}
