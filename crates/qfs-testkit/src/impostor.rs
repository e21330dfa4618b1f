//! A server, over UDP and over TCP, that shows a certificate it has copied and signs with a key of its own, as anybody can who has seen a handshake.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::certificates::{Subject, self_signed};

/// The impostor, on a thread of its own; ends when dropped.
#[derive(Debug)]
pub struct Impostor {
    address: SocketAddr,
    asked_for: Arc<Mutex<Option<String>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Impostor {
    /// Starts one on a free port of `ip` that shows the certificate of somebody else, given as PEM.
    ///
    /// # Errors
    /// When `certificate` is none, or there is no socket, key or thread.
    pub fn start(ip: IpAddr, certificate: &str) -> io::Result<Self> {
        let asked_for = Arc::new(Mutex::new(None));
        let tls = config(certificate, Arc::clone(&asked_for))?;
        let (bound, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("impostor".into()).spawn(move || {
            runtime.block_on(async {
                let ports = bind(ip, &tls).await;
                // Whoever started it waits for this.
                let _ = bound.send(ports.as_ref().map_err(ToString::to_string).map(|(_, tcp)| tcp.local_addr()));
                let Ok((endpoint, tcp)) = ports else { return };
                tokio::select! {
                    () = serve(&endpoint) => {}
                    () = serve_tcp(&tcp, tls) => {}
                    _ = stopped => {}
                }
            });
        })?;
        let address = address.recv().map_err(io::Error::other)?.map_err(io::Error::other)??;
        Ok(Self { address, asked_for, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The host name in the last client's server name indication (RFC 6066 §3).
    #[must_use]
    pub fn asked_for(&self) -> Option<String> {
        self.asked_for.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic over there was printed over there.
            let _ = thread.join();
        }
    }
}

/// A TLS configuration whose certificate and key do not belong together, which rustls makes only when it is forced to.
fn config(certificate: &str, asked_for: Arc<Mutex<Option<String>>>) -> io::Result<rustls::ServerConfig> {
    let copied = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(io::Error::other)?;
    let own = self_signed(Subject::new("impostor", &[]))?;
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let signer = provider.key_provider.load_private_key(key).map_err(io::Error::other)?;
    let shown = Shown { key: Arc::new(CertifiedKey::new(vec![copied], signer)), asked_for };
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    tls.alpn_protocols = vec![qfs_core::wire::ALPN.to_vec()];
    Ok(tls)
}

/// Ports of the same number, for UDP and for TCP.
async fn bind(ip: IpAddr, tls: &rustls::ServerConfig) -> io::Result<(quinn::Endpoint, TcpListener)> {
    loop {
        let quic = QuicServerConfig::try_from(tls.clone()).map_err(io::Error::other)?;
        let endpoint = quinn::Endpoint::server(quinn::ServerConfig::with_crypto(Arc::new(quic)), (ip, 0).into())?;
        match TcpListener::bind(endpoint.local_addr()?).await {
            // Somebody else has that number for TCP.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            tcp => return Ok((endpoint, tcp?)),
        }
    }
}

/// Shows the same to everybody, and remembers whom they asked for.
#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    asked_for: Arc<Mutex<Option<String>>>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked_for = hello.server_name().map(str::to_owned);
        *self.asked_for.lock().unwrap_or_else(PoisonError::into_inner) = asked_for;
        Some(Arc::clone(&self.key))
    }
}

/// Lets everybody in who believes it; what they ask stays unanswered.
async fn serve(endpoint: &quinn::Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            if let Ok(connection) = incoming.await {
                connection.closed().await;
            }
        });
    }
}

/// The same over TLS and TCP.
async fn serve_tcp(listener: &TcpListener, tls: rustls::ServerConfig) {
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                // What comes is not understood.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            }
        });
    }
}
