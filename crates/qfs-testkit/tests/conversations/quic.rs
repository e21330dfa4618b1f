//! QUIC without the manners of `qfs-transport`: what is sent is exactly what a conversation says.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use qfs_testkit::gullible;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, ReadError, RecvStream, SendStream, TransportConfig, VarInt};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::format::End;

/// The application protocol (PROTOCOL §1.2), written out: it is one of the things that must not change.
const ALPN: &[u8] = b"qfs/1";

/// Longer than anything here takes; what needs it has hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How far a server may send ahead of what is taken from it, in bytes: little, so that it has not read a whole file when the file
/// changes or the connection goes.
const WINDOW: u32 = 512 << 10;

/// Most bytes that are read of one answer.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Waits for what must come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// An end point on loopback with the identity that is in `certs`.
pub(crate) fn accepting(certs: &Path) -> Endpoint {
    let key = PrivateKeyDer::from_pem_file(certs.join("server.key")).unwrap();
    let chain = CertificateDer::pem_file_iter(certs.join("server.crt")).unwrap().map(Result::unwrap).collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(1024u32.into()).max_concurrent_uni_streams(0u32.into());
    config.transport_config(Arc::new(transport));
    Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap()
}

/// A connection to `server`.
pub(crate) async fn connect(server: SocketAddr) -> Connection {
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(WINDOW.into()).keep_alive_interval(Some(Duration::from_secs(5)));
    let config = gullible::client_config(&[ALPN], transport).unwrap();
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    soon("a connection", endpoint.connect_with(config, server, "localhost").unwrap()).await.unwrap()
}

/// The code of a QUIC application error.
pub(crate) fn code(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap()
}

/// What has come in on one side of a stream.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) bytes: Vec<u8>,
    /// None while more may come.
    pub(crate) end: Option<End>,
}

impl Taken {
    /// Takes what there is next.
    pub(crate) async fn take(&mut self, stream: &mut RecvStream) {
        assert!(self.bytes.len() < MAX_ANSWER_BYTES, "an answer does not end");
        match soon("an answer", stream.read_chunk(64 << 10, true)).await {
            Ok(Some(chunk)) => self.bytes.extend_from_slice(&chunk.bytes),
            Ok(None) => self.end = Some(End::Fin),
            Err(ReadError::Reset(code)) => self.end = Some(End::Reset(code.into_inner())),
            Err(_) => self.end = Some(End::Lost),
        }
    }

    /// Takes everything up to `enough` bytes or the end.
    pub(crate) async fn take_up_to(&mut self, stream: &mut RecvStream, enough: usize) {
        while self.end.is_none() && self.bytes.len() < enough {
            self.take(stream).await;
        }
    }
}

/// Sends one side of a stream and ends it as it was ended.
pub(crate) async fn send(stream: &mut SendStream, bytes: &[u8], end: End) {
    // A server that has heard enough may stop it on the way.
    let _ = soon("room to send", stream.write_all(bytes)).await;
    match end {
        End::Fin => drop(stream.finish()),
        End::Reset(with) => drop(stream.reset(code(with))),
        End::Open | End::Stopped(_) | End::Lost => {}
    }
}
