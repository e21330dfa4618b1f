//! One stream, as the pump and the handlers see it: an ordered byte sink and a source of chunks with offsets.
//!
//! These are small traits of our own, so that everything above them runs in tests without a network. `qfs-transport`
//! implements them for its streams.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::wire::StatusCode;

/// Bytes of a stream, and their place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Offset of the first byte, counted from the start of the stream.
    pub offset: u64,
    /// The bytes; never empty.
    pub bytes: Bytes,
}

/// The order in which a [`ChunkSource`] hands out what has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By offset, without gaps.
    Ordered,
    /// In order of arrival, every byte exactly once. After the first unordered read, no ordered read is possible.
    Unordered,
}

/// The receiving half of a stream.
pub trait ChunkSource: Send {
    /// The next chunk of at most `limit` bytes; None when every byte up to the end of the stream has been handed out.
    ///
    /// # Errors
    /// [`StreamError`] when the peer reset the stream or the connection is gone.
    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
        order: Order,
    ) -> Poll<Result<Option<Chunk>, StreamError>>;

    /// Tells the peer that no more is wanted. This is harmless on a stream that has ended.
    fn stop(&mut self, code: StatusCode);
}

/// The sending half of a stream.
pub trait ByteSink: Send {
    /// Sends `bytes`, and waits until the send window has taken all of them.
    ///
    /// # Errors
    /// [`StreamError`] when the peer stopped the stream or the connection is gone.
    fn send(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), StreamError>> + Send;

    /// Ends the stream in an orderly way.
    fn finish(&mut self);

    /// Ends the stream as failed: the peer sees `code` and no regular end.
    fn reset(&mut self, code: StatusCode);

    /// Sets the priority. Streams with a higher number are sent first.
    fn set_priority(&mut self, priority: i32);

    /// Resolves when the peer no longer wants the stream or the connection is gone.
    fn stopped(&mut self) -> impl Future<Output = ()> + Send;
}

/// Why a stream ended too early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer gave up sending.
    #[error("the other side ended the stream: {0}")]
    Reset(StatusCode),
    /// The peer no longer wants what is sent.
    #[error("the other side stopped reading: {0}")]
    Stopped(StatusCode),
    /// The connection is gone.
    #[error(transparent)]
    Lost(#[from] Lost),
}

/// Why a connection is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// Nothing arrived for the duration of the idle time-out.
    #[error("nothing heard from the other side")]
    TimedOut,
    /// The peer does not know the connection (a stateless reset), because it was restarted.
    #[error("the other side was restarted")]
    Restarted,
    /// The peer closed it.
    #[error("the other side closed the connection: {0}")]
    Closed(StatusCode),
    /// The server lets in only clients with a certificate that it accepts.
    #[error("no connection without a client certificate: {0}")]
    CertificateRefused(
        /// What is wrong with our certificate.
        &'static str,
    ),
    /// This side closed it.
    #[error("the connection was closed here")]
    ClosedHere,
    /// The peer violated QUIC or TLS, or we did.
    #[error("{0}")]
    Transport(String),
}
