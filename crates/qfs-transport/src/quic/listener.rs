//! The server's end points: one, or several on one port.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, Incoming, Runtime, TokioRuntime, VarInt};
use socket2::Socket;

use super::bundling::BundlingSocket;
use super::connection::Connection;
use super::endpoint::{SocketBuffers, accept_payloads, bind_shared, enlarge_buffers};
use super::lost::lost;
use super::notes::{Notes, PathNotes};
use super::steering::{self, CidKey, Cids, Hatch, MAX_ENDPOINTS, SteeredSocket};
use crate::error::TransportError;
use crate::tls;
use crate::tls::Identity;
use crate::tls::Roots;
use crate::tuning::{REQUEST_WINDOW, ServerTuning, path_mtu};
use qfs_congestion::PathMemory;
use qfs_core::stream::Lost;
use qfs_core::wire::{ALPN, StatusCode};

/// Accepts connections on one UDP port, alone or beside others of this process.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    template: quinn::ServerConfig,
    tuning: ServerTuning,
    buffers: SocketBuffers,
    notes: Arc<Notes>,
}

/// The socket of an end point that nobody drives yet.
#[derive(Debug)]
pub struct BoundEndpoint {
    socket: UdpSocket,
    buffers: SocketBuffers,
    /// The same for all end points on a port, so that a token that one gave out is valid at the others.
    template: quinn::ServerConfig,
    config: EndpointConfig,
    tuning: ServerTuning,
    steering: Option<(Arc<CidKey>, Hatch)>,
    /// The same for all end points on a port: a client may meet another one of them the next time.
    notes: Arc<Notes>,
}

impl BoundEndpoint {
    /// The address really bound.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Starts the end point, inside the tokio runtime that is to drive it.
    ///
    /// # Errors
    /// [`TransportError::Io`] when the runtime cannot take the socket.
    pub fn start(self) -> Result<Listener, TransportError> {
        let runtime = Arc::new(TokioRuntime);
        let socket = BundlingSocket::new(runtime.wrap_udp_socket(self.socket)?);
        let socket: Arc<dyn AsyncUdpSocket> = match self.steering {
            Some((key, hatch)) => Arc::new(SteeredSocket::new(socket, key, hatch)),
            None => socket,
        };
        let template = self.template;
        let endpoint = Endpoint::new_with_abstract_socket(self.config, Some(template.clone()), socket, runtime)?;
        Ok(Listener { endpoint, template, tuning: self.tuning, buffers: self.buffers, notes: self.notes })
    }
}

impl Listener {
    /// Binds `address` (port 0: any free one) inside a tokio runtime.
    ///
    /// # Errors
    /// [`TransportError::Bind`] when the port is taken or not allowed.
    pub fn bind(address: SocketAddr, identity: &Identity, tuning: ServerTuning) -> Result<Self, TransportError> {
        let (first, _) = Self::bind_several(address, identity, None, &tuning, 1)?;
        first.start()
    }

    /// Binds `count` end points, at most [`MAX_ENDPOINTS`], to `address` (port 0: any free one), and returns the first
    /// and the others. The kernel distributes clients over them, and a client that moves to another address stays with
    /// its own. With `clients`, only those who hold a certificate from one of these authorities are let in.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn bind_several(
        address: SocketAddr,
        identity: &Identity,
        clients: Option<&Roots>,
        tuning: &ServerTuning,
        count: usize,
    ) -> Result<(BoundEndpoint, Vec<BoundEndpoint>), TransportError> {
        let count = count.clamp(1, MAX_ENDPOINTS);
        let sockets = bind_sockets(address, count).map_err(|source| TransportError::Bind { address, source })?;
        Self::over(sockets, identity, clients, tuning)
    }

    /// One end point on a socket that somebody else has bound, such as a service manager.
    ///
    /// # Errors
    /// [`TransportError::Io`] when it cannot be used.
    pub fn on_socket(
        socket: UdpSocket,
        identity: &Identity,
        clients: Option<&Roots>,
        tuning: &ServerTuning,
    ) -> Result<BoundEndpoint, TransportError> {
        let socket = Socket::from(socket);
        let buffers = enlarge_buffers(&socket)?;
        let (bound, _) = Self::over(vec![(socket.into(), buffers)], identity, clients, tuning)?;
        Ok(bound)
    }

    fn over(
        sockets: Vec<(UdpSocket, SocketBuffers)>,
        identity: &Identity,
        clients: Option<&Roots>,
        tuning: &ServerTuning,
    ) -> Result<(BoundEndpoint, Vec<BoundEndpoint>), TransportError> {
        let count = sockets.len();
        let key = CidKey::new(&cid_secret(identity))?;
        let notes = notes(identity)?;
        let template = template(identity, clients, tuning)?;
        let numbered = (0..=u8::MAX).zip(sockets).zip(steering::hatches(count));
        let mut bound = numbered.map(|((number, (socket, buffers)), hatch)| BoundEndpoint {
            socket,
            buffers,
            template: template.clone(),
            config: endpoint_config(identity, &key, number, tuning.max_payload),
            tuning: tuning.clone(),
            steering: (count > 1).then(|| (Arc::clone(&key), hatch)),
            notes: Arc::clone(&notes),
        });
        let first = bound.next().ok_or_else(|| TransportError::Io(io::ErrorKind::InvalidInput.into()))?;
        Ok((first, bound.collect()))
    }

    /// The address really bound.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// What the kernel granted for socket buffers.
    #[must_use]
    pub fn buffers(&self) -> SocketBuffers {
        self.buffers
    }

    /// Waits for the next client; None when the socket has died or [`Self::close`] was called.
    pub async fn accept(&self) -> Option<Incoming> {
        self.endpoint.accept().await
    }

    /// Completes the handshake of `incoming`, with packets as large as the path to it carries.
    ///
    /// # Errors
    /// [`Lost`] when the client gave up or broke the protocol.
    pub async fn handshake(&self, incoming: Incoming) -> Result<crate::Connection, Lost> {
        let mut config = self.template.clone();
        let memory = PathMemory::default();
        config.transport_config(self.tuning.transport(path_mtu(incoming.remote_address().ip()), memory.clone()));
        let connecting = incoming.accept_with(Arc::new(config)).map_err(|e| lost(&e))?;
        let connection = Connection::new(connecting.await.map_err(|e| lost(&e))?, REQUEST_WINDOW.into());
        Ok(connection.with_notes(PathNotes::new(Arc::clone(&self.notes), memory)).into())
    }

    /// Closes every connection with `code` and waits until the peers have been told.
    pub async fn close(&self, code: StatusCode) {
        self.endpoint.close(VarInt::from_u32(code.0), b"");
        // A peer that is gone never confirms. Do not wait for the end of its closing period.
        let _ = tokio::time::timeout(Duration::from_millis(500), self.endpoint.wait_idle()).await;
    }
}

/// The most handshakes, per end point, that are held before they are accepted, refused or sent a Retry.
const MAX_INCOMING: usize = 4096;

/// The most bytes that are buffered of one such handshake. A ClientHello is about 300; worst case in all: 4096 × 16 KiB
/// / 16 = 4 MiB.
const INCOMING_BUFFER_BYTES: u64 = 16 << 10;

fn template(
    identity: &Identity,
    clients: Option<&Roots>,
    tuning: &ServerTuning,
) -> Result<quinn::ServerConfig, TransportError> {
    let protocols: Vec<&[u8]> = std::iter::once(ALPN).chain(tuning.other_protocol).collect();
    let crypto = QuicServerConfig::try_from(tls::server_config(identity, clients, &protocols)?)
        .map_err(|e| rustls::Error::General(e.to_string()))?;
    let mut template = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    template
        .transport_config(tuning.transport(None, PathMemory::default()))
        // Half-open handshakes held before admission decides; each buffers at most a few packets.
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BUFFER_BYTES)
        .incoming_buffer_size_total(INCOMING_BUFFER_BYTES * MAX_INCOMING as u64 / 16);
    Ok(template)
}

fn endpoint_config(identity: &Identity, key: &Arc<CidKey>, number: u8, max_payload: Option<u16>) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(reset_key(identity)));
    let key = Arc::clone(key);
    config.cid_generator(move || Box::new(Cids { key: Arc::clone(&key), end_point: number }));
    accept_payloads(&mut config, max_payload);
    config
}

/// `count` sockets on one port.
fn bind_sockets(address: SocketAddr, count: usize) -> io::Result<Vec<(UdpSocket, SocketBuffers)>> {
    // The first one is bound alone, so that binding fails when another program has the port, above all a second server.
    let (first, buffers) = bind_shared(address, false)?;
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    if count > 1 {
        first.set_reuse_port(true)?;
    }
    let mut sockets = vec![(first.into(), buffers)];
    for _ in 1..count {
        let (socket, buffers) = bind_shared(address, true)?;
        sockets.push((socket.into(), buffers));
    }
    Ok(sockets)
}

/// The stateless reset key (RFC 9000 §10.3), derived from the identity so that it survives a restart without a file of its
/// own: clients of the former process notice at once that it is gone.
fn reset_key(identity: &Identity) -> ring::hmac::Key {
    ring::hmac::Key::new(ring::hmac::HMAC_SHA256, derived(identity, b"qfs stateless reset v1").as_ref())
}

/// The secret by which a server recognises its own connection IDs, which must survive a restart like the reset key: quinn
/// resets no connection whose ID it does not recognise.
fn cid_secret(identity: &Identity) -> [u8; 16] {
    let mut secret = [0; 16];
    let derived = derived(identity, b"qfs connection ids v2");
    secret.iter_mut().zip(derived.as_ref()).for_each(|(to, from)| *to = *from);
    secret
}

/// The keeper of the notes about paths, whose key is derived in the same way: notes survive a restart.
fn notes(identity: &Identity) -> Result<Arc<Notes>, TransportError> {
    let mut secret = [0; 32];
    secret.iter_mut().zip(derived(identity, b"qfs path notes v1").as_ref()).for_each(|(to, from)| *to = *from);
    Notes::new(&secret).map_err(|_| rustls::Error::General("no key for notes about paths".to_owned()).into())
}

fn derived(identity: &Identity, label: &[u8]) -> ring::hmac::Tag {
    ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, identity.key.secret_der()), label)
}
