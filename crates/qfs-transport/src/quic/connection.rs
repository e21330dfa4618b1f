//! One connection.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::VarInt;
use quinn::crypto::rustls::HandshakeData;
use rustls::pki_types::CertificateDer;

use super::lost::lost;
use super::notes::PathNotes;
use super::streams::{QuicRequestReader, QuicSink, QuicSource};
use super::windows::Windows;
use crate::path_report::PathReport;
use crate::tls::{PeerCertificate, fingerprint_of};
use qfs_core::model::{Fingerprint, PathNote};
use qfs_core::stream::Lost;
use qfs_core::wire::StatusCode;

/// An established connection; cheap to clone.
#[derive(Debug, Clone)]
pub struct Connection {
    inner: quinn::Connection,
    windows: Windows,
    /// On the server.
    notes: Option<Arc<PathNotes>>,
}

impl Connection {
    /// `receive_window` is what the transport configuration granted the peer, in bytes.
    pub(super) fn new(inner: quinn::Connection, receive_window: u64) -> Self {
        let windows = Windows::new(inner.clone(), receive_window);
        Self { inner, windows, notes: None }
    }

    /// The same connection, which takes up and writes notes about its path.
    pub(super) fn with_notes(self, notes: PathNotes) -> Self {
        Self { notes: Some(Arc::new(notes)), ..self }
    }

    /// See [`crate::Connection::recall_path`].
    pub fn recall_path(&self, note: &PathNote) {
        let client = self.remote_address().ip();
        if let Some(bytes) = self.notes.as_ref().and_then(|notes| notes.recall(note, client, self.id() as u64)) {
            self.windows.expect(bytes);
        }
    }

    /// See [`crate::Connection::path_note`].
    #[must_use]
    pub fn path_note(&self) -> Option<(PathNote, u64)> {
        self.notes.as_ref()?.write(self.remote_address().ip())
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

    /// Resolves when the peer opens a unidirectional stream, which `qfs/1` has none of (PROTOCOL §1.4), or the connection is gone.
    pub async fn uni_stream_opened(&self) {
        let _ = self.inner.accept_uni().await;
    }

    /// The protocol that was agreed on (RFC 7301); empty where none was.
    #[must_use]
    pub fn protocol(&self) -> Vec<u8> {
        let data = self.inner.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
        data.and_then(|data| data.protocol).unwrap_or_default()
    }

    /// The connection itself, for another protocol on the same port, which brings its own streams.
    #[must_use]
    pub fn quic(&self) -> quinn::Connection {
        self.inner.clone()
    }

    /// Closes the connection with a code of another protocol than `qfs/1`, at most 2^62 - 1.
    pub fn close_with(&self, code: u64) {
        self.inner.close(VarInt::from_u64(code).unwrap_or(VarInt::MAX), b"");
    }

    /// Counts `bytes` as sent by another protocol, which brings its own streams; the send window follows.
    pub fn note_sent(&self, bytes: usize) {
        self.windows.note_sent(bytes);
    }

    /// Lets the send window be at most `bytes`.
    pub fn bound_send_window(&self, bytes: u64) {
        self.windows.bound_send_window(bytes);
    }

    /// Closes the connection; every stream fails.
    pub fn close(&self, code: StatusCode) {
        self.inner.close(VarInt::from_u32(code.0), b"");
    }

    /// See [`crate::Connection::ask_for_a_sign`].
    pub fn ask_for_a_sign(&self) {
        self.windows.nudge();
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
        PathReport {
            rtt: stats.path.rtt,
            min_rtt: stats.path.min_rtt,
            payload: stats.path.current_mtu,
            lost_packets: stats.path.lost_packets,
            received: stats.udp_rx.bytes,
            // Not every packet: a peer that hears nothing goes on sending, and repeating itself.
            signs: stats.frame_rx.acks,
            sent: stats.udp_tx.bytes,
            // Frames with stream data go out as the peer's flow control and acknowledgements permit, and not otherwise.
            pieces: stats.frame_tx.stream,
            blocked: stats.frame_rx.data_blocked + stats.frame_rx.stream_data_blocked,
        }
    }
}
