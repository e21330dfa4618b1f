//! A connection and the halves of its streams, over whichever way they travel: nobody above asks, but to say so.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use qfs_core::model::{Fingerprint, PathNote};
use qfs_core::stream::{ByteSink, Chunk, ChunkSource, Lost, Order, StreamError};
use qfs_core::wire::{ALPN, StatusCode};
use tokio::io::{AsyncRead, ReadBuf};

use crate::path_report::PathReport;
use crate::quic::{self, QuicRequestReader, QuicSink, QuicSource};
use crate::tcp::{self, TcpSink, TcpSource};
use crate::tls::PeerCertificate;

/// How a connection travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Way {
    /// QUIC over UDP.
    #[default]
    Udp,
    /// TLS over TCP (PROTOCOL §9).
    Tcp,
}

impl Way {
    /// The word for it on command lines and in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An established connection; cheap to clone.
#[derive(Debug, Clone)]
pub struct Connection(Over<quic::Connection, tcp::Connection>);

/// One thing or the other, by the way.
#[derive(Debug, Clone)]
enum Over<Q, T> {
    Udp(Q),
    Tcp(T),
}

/// Does the same on either way.
macro_rules! either {
    ($over:expr, $it:ident => $act:expr) => {
        match $over {
            Over::Udp($it) => $act,
            Over::Tcp($it) => $act,
        }
    };
}

impl From<quic::Connection> for Connection {
    fn from(connection: quic::Connection) -> Self {
        Self(Over::Udp(connection))
    }
}

impl From<tcp::Connection> for Connection {
    fn from(connection: tcp::Connection) -> Self {
        Self(Over::Tcp(connection))
    }
}

impl Connection {
    /// How it travels.
    #[must_use]
    pub fn way(&self) -> Way {
        match self.0 {
            Over::Udp(_) => Way::Udp,
            Over::Tcp(_) => Way::Tcp,
        }
    }

    /// Opens a stream for one command, waiting while the peer's limit is reached.
    ///
    /// # Errors
    /// [`Lost`] when the connection is gone.
    pub async fn open_stream(&self) -> Result<(Sink, Source), Lost> {
        Ok(match &self.0 {
            Over::Udp(quic) => {
                let (sink, source) = quic.open_stream().await?;
                (Sink(Over::Udp(sink)), Source(Over::Udp(source)))
            }
            Over::Tcp(tcp) => {
                let (sink, source) = tcp.open_stream().await?;
                (Sink(Over::Tcp(sink)), Source(Over::Tcp(source)))
            }
        })
    }

    /// The next stream that the peer opens.
    ///
    /// # Errors
    /// [`Lost`] when the connection is gone.
    pub async fn accept_stream(&self) -> Result<(Sink, RequestReader), Lost> {
        Ok(match &self.0 {
            Over::Udp(quic) => {
                let (sink, reader) = quic.accept_stream().await?;
                (Sink(Over::Udp(sink)), RequestReader(Over::Udp(reader)))
            }
            Over::Tcp(tcp) => {
                let (sink, reader) = tcp.accept_stream().await?;
                (Sink(Over::Tcp(sink)), RequestReader(Over::Tcp(reader)))
            }
        })
    }

    /// The protocol that was agreed on (RFC 7301); empty where none was.
    #[must_use]
    pub fn protocol(&self) -> Vec<u8> {
        match &self.0 {
            Over::Udp(quic) => quic.protocol(),
            // No other gets so far.
            Over::Tcp(_) => ALPN.to_vec(),
        }
    }

    /// The connection itself, for another protocol on the same port, which brings its own streams; None over TCP.
    #[must_use]
    pub fn quic(&self) -> Option<quinn::Connection> {
        match &self.0 {
            Over::Udp(quic) => Some(quic.quic()),
            Over::Tcp(_) => None,
        }
    }

    /// Resolves when the peer opens a unidirectional stream, which `qfs/1` has none of (PROTOCOL §1.4), or the connection is gone.
    pub async fn uni_stream_opened(&self) {
        match &self.0 {
            Over::Udp(quic) => quic.uni_stream_opened().await,
            // Whoever does is cut off there and then.
            Over::Tcp(tcp) => drop(tcp.closed().await),
        }
    }

    /// Counts `bytes` as sent by another protocol on the same port; does nothing over TCP.
    pub fn note_sent(&self, bytes: usize) {
        if let Over::Udp(quic) = &self.0 {
            quic.note_sent(bytes);
        }
    }

    /// Lets at most `bytes` be sent ahead, for a sender whose data no budget counts; does nothing over TCP.
    pub fn bound_send_window(&self, bytes: u64) {
        if let Over::Udp(quic) = &self.0 {
            quic.bound_send_window(bytes);
        }
    }

    /// Closes the connection with a code of another protocol than `qfs/1`, at most 2^62 - 1.
    pub fn close_with(&self, code: u64) {
        match &self.0 {
            Over::Udp(quic) => quic.close_with(code),
            Over::Tcp(tcp) => tcp.close(StatusCode::OK),
        }
    }

    /// Closes the connection; every stream fails.
    pub fn close(&self, code: StatusCode) {
        either!(&self.0, it => it.close(code));
    }

    /// Has the peer show that it hears this end, soon. Over TCP that happens every second while a stream is open.
    pub fn ask_for_a_sign(&self) {
        if let Over::Udp(quic) = &self.0 {
            quic.ask_for_a_sign();
        }
    }

    /// Resolves when the connection is gone, with the reason.
    pub async fn closed(&self) -> Lost {
        either!(&self.0, it => it.closed().await)
    }

    /// Resolves, behind [`Self::close`], when the peer was told of it or cannot be. Over UDP the end point sees to that: at once.
    pub async fn told(&self) {
        if let Over::Tcp(tcp) = &self.0 {
            tcp.told().await;
        }
    }

    /// Resolves, behind [`Self::close`], when the peer has everything that was sent before, or is not waited for any longer. Over
    /// UDP whoever closes has waited for that already (see [`ByteSink::stopped`]): at once.
    pub async fn gone(&self) {
        if let Over::Tcp(tcp) = &self.0 {
            tcp.gone().await;
        }
    }

    /// Why the connection is gone, or None while it is not.
    #[must_use]
    pub fn close_reason(&self) -> Option<Lost> {
        either!(&self.0, it => it.close_reason())
    }

    /// Where the peer is now.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        either!(&self.0, it => it.remote_address())
    }

    /// A number that no other connection of its way has in this process.
    #[must_use]
    pub fn id(&self) -> usize {
        either!(&self.0, it => it.id())
    }

    /// The certificate that the client proved to hold; None when it was not asked for one.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<PeerCertificate> {
        either!(&self.0, it => it.peer_certificate())
    }

    /// The key that the peer proved to hold; None on the server, unless it asks clients for certificates.
    #[must_use]
    pub fn peer_fingerprint(&self) -> Option<Fingerprint> {
        either!(&self.0, it => it.peer_fingerprint())
    }

    /// Takes up what an earlier connection found out about the path, if this server has written the note for this very client, not
    /// long ago; does nothing over TCP and on the client (PROTOCOL §4.9).
    pub fn recall_path(&self, note: &PathNote) {
        if let Over::Udp(quic) = &self.0 {
            quic.recall_path(note);
        }
    }

    /// A note about the path for the client to bring along, and the bytes that the path held; None where nothing is known yet or the
    /// path is not worth it, over TCP, and on the client.
    #[must_use]
    pub fn path_note(&self) -> Option<(PathNote, u64)> {
        match &self.0 {
            Over::Udp(quic) => quic.path_note(),
            Over::Tcp(_) => None,
        }
    }

    /// What is known of the path.
    #[must_use]
    pub fn path_report(&self) -> PathReport {
        either!(&self.0, it => it.path_report())
    }
}

/// The sending half of a stream. Dropped before [`ByteSink::finish`], it resets the stream.
#[derive(Debug)]
pub struct Sink(Over<QuicSink, TcpSink>);

impl Sink {
    /// Sends a request's frame and ends this half.
    ///
    /// # Errors
    /// [`StreamError`] when the connection is gone.
    pub async fn send_request(mut self, frame: Bytes) -> Result<(), StreamError> {
        self.send(frame).await?;
        self.finish();
        Ok(())
    }
}

impl ByteSink for Sink {
    async fn send(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        either!(&mut self.0, it => it.send(bytes).await)
    }

    fn finish(&mut self) {
        either!(&mut self.0, it => it.finish());
    }

    fn reset(&mut self, code: StatusCode) {
        either!(&mut self.0, it => it.reset(code));
    }

    fn set_priority(&mut self, priority: i32) {
        either!(&mut self.0, it => it.set_priority(priority));
    }

    async fn stopped(&mut self) {
        either!(&mut self.0, it => it.stopped().await);
    }
}

/// The receiving half on the client: chunks as they arrive.
#[derive(Debug)]
pub struct Source(Over<QuicSource, TcpSource>);

impl ChunkSource for Source {
    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
        order: Order,
    ) -> Poll<Result<Option<Chunk>, StreamError>> {
        either!(&mut self.0, it => it.poll_chunk(cx, limit, order))
    }

    fn stop(&mut self, code: StatusCode) {
        either!(&mut self.0, it => ChunkSource::stop(it, code));
    }
}

/// The receiving half on the server: a request, read in order.
#[derive(Debug)]
pub struct RequestReader(Over<QuicRequestReader, TcpSource>);

impl RequestReader {
    /// Tells the client that no more is read.
    pub fn stop(&mut self, code: StatusCode) {
        either!(&mut self.0, it => it.stop(code));
    }
}

impl RequestReader {
    /// What follows the request, as chunks whose offsets count from the start of the stream.
    #[must_use]
    pub fn into_source(self) -> Source {
        Source(match self.0 {
            Over::Udp(quic) => Over::Udp(quic.into_source()),
            Over::Tcp(tcp) => Over::Tcp(tcp),
        })
    }
}

impl AsyncRead for RequestReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.get_mut().0, it => Pin::new(it).poll_read(cx, buf))
    }
}
