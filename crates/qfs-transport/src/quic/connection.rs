//! One connection.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::VarInt;
use rustls::pki_types::CertificateDer;

use super::lost::lost;
use super::streams::{QuicRequestReader, QuicSink, QuicSource};
use super::windows::Windows;
use crate::tls::PeerCertificate;
use crate::tls::fingerprint_of;
use qfs_core::model::Fingerprint;
use qfs_core::stream::Lost;
use qfs_core::wire::StatusCode;

/// An established connection; cheap to clone.
#[derive(Debug, Clone)]
pub struct Connection {
    inner: quinn::Connection,
    windows: Windows,
}

/// What quinn knows of a path.
#[derive(Debug, Clone)]
pub struct PathReport {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Congestion window in bytes.
    pub congestion_window: u64,
    /// Largest UDP payload in use, in bytes.
    pub payload: u16,
    /// All counters.
    pub stats: quinn::ConnectionStats,
}

impl Connection {
    /// `receive_window` is what the transport configuration granted the peer, in bytes.
    pub(super) fn new(inner: quinn::Connection, receive_window: u64) -> Self {
        let windows = Windows::new(inner.clone(), receive_window);
        Self { inner, windows }
    }

    /// Opens a stream for one command, waiting while the peer's limit is reached.
    ///
    /// # Errors
    /// [`Lost`] when the connection is gone.
    pub async fn open_stream(&self) -> Result<(QuicSink, QuicSource), Lost> {
        let (send, receive) = self.inner.open_bi().await.map_err(|e| lost(&e))?;
        Ok((QuicSink::new(send, self.windows.clone()), QuicSource::new(receive, self.windows.clone())))
    }

    /// Waits for the next stream that the peer opens.
    ///
    /// # Errors
    /// [`Lost`] when the connection is gone.
    pub async fn accept_stream(&self) -> Result<(QuicSink, QuicRequestReader), Lost> {
        let (send, receive) = self.inner.accept_bi().await.map_err(|e| lost(&e))?;
        Ok((QuicSink::new(send, self.windows.clone()), QuicRequestReader::new(receive, self.windows.clone())))
    }

    /// Closes the connection; every stream fails.
    pub fn close(&self, code: StatusCode) {
        self.inner.close(VarInt::from_u32(code.0), b"");
    }

    /// Resolves when the connection is gone, with the reason.
    pub async fn closed(&self) -> Lost {
        lost(&self.inner.closed().await)
    }

    /// Why the connection is gone, or None while it is not.
    #[must_use]
    pub fn close_reason(&self) -> Option<Lost> {
        self.inner.close_reason().map(|e| lost(&e))
    }

    /// Where the peer is now.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.inner.remote_address()
    }

    /// A number that no other connection of this process has.
    #[must_use]
    pub fn id(&self) -> usize {
        self.inner.stable_id()
    }

    /// The certificate that the client proved to hold; None when it was not asked for one.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<PeerCertificate> {
        let identity = self.inner.peer_identity()?;
        let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        PeerCertificate::of(chain.first()?)
    }

    /// The key that the peer proved to hold; None on the server, unless it asks clients for certificates.
    #[must_use]
    pub fn peer_fingerprint(&self) -> Option<Fingerprint> {
        let identity = self.inner.peer_identity()?;
        let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        fingerprint_of(chain.first()?).ok()
    }

    /// What is known of the path.
    #[must_use]
    pub fn path_report(&self) -> PathReport {
        let stats = self.inner.stats();
        PathReport { rtt: stats.path.rtt, congestion_window: stats.path.cwnd, payload: stats.path.current_mtu, stats }
    }
}
