//! The stream traits, implemented for QUIC streams.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use quinn::{ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::io::{AsyncRead, ReadBuf};

use super::lost::lost;
use super::windows::Windows;
use qfs_core::stream::{ByteSink, Chunk, ChunkSource, Lost, Order, StreamError};
use qfs_core::wire::StatusCode;

/// The sending half. If it is dropped before [`ByteSink::finish`], it resets the stream, because quinn would end the
/// stream as if it were complete.
#[derive(Debug)]
pub struct QuicSink {
    stream: SendStream,
    windows: Windows,
    ended: bool,
}

impl QuicSink {
    pub(super) fn new(stream: SendStream, windows: Windows) -> Self {
        Self { stream, windows, ended: false }
    }
}

impl ByteSink for QuicSink {
    async fn send(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.windows.note_sent(bytes.len());
        self.stream.write_chunk(bytes).await.map_err(|error| match error {
            WriteError::Stopped(code) => StreamError::Stopped(StatusCode::from_quic(code.into_inner())),
            WriteError::ConnectionLost(e) => StreamError::Lost(lost(&e)),
            other => StreamError::Lost(Lost::Transport(other.to_string())),
        })
    }

    fn finish(&mut self) {
        self.ended = true;
        // This fails only on a stream that has already ended, which is the wanted state.
        let _ = self.stream.finish();
    }

    fn reset(&mut self, code: StatusCode) {
        self.ended = true;
        let _ = self.stream.reset(VarInt::from_u32(code.0));
    }

    fn set_priority(&mut self, priority: i32) {
        let _ = self.stream.set_priority(priority);
    }

    async fn stopped(&mut self) {
        let _ = self.stream.stopped().await;
    }
}

impl Drop for QuicSink {
    fn drop(&mut self) {
        if !self.ended {
            self.reset(StatusCode::CANCELLED);
        }
    }
}

/// The receiving half: chunks as they arrive.
#[derive(Debug)]
pub struct QuicSource {
    stream: RecvStream,
    windows: Windows,
}

impl QuicSource {
    pub(super) fn new(stream: RecvStream, windows: Windows) -> Self {
        Self { stream, windows }
    }
}

impl ChunkSource for QuicSource {
    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
        order: Order,
    ) -> Poll<Result<Option<Chunk>, StreamError>> {
        // The future holds no state between polls, so a new one for each poll loses nothing.
        let chunk = pin!(self.stream.read_chunk(limit, order == Order::Ordered)).poll(cx);
        chunk.map(|result| match result {
            Ok(Some(chunk)) => {
                self.windows.note_taken(chunk.bytes.len());
                Ok(Some(Chunk { offset: chunk.offset, bytes: chunk.bytes }))
            }
            Ok(None) => Ok(None),
            Err(ReadError::Reset(code)) => Err(StreamError::Reset(StatusCode::from_quic(code.into_inner()))),
            Err(ReadError::ConnectionLost(e)) => Err(StreamError::Lost(lost(&e))),
            Err(other) => Err(StreamError::Lost(Lost::Transport(other.to_string()))),
        })
    }

    fn stop(&mut self, code: StatusCode) {
        let _ = self.stream.stop(VarInt::from_u32(code.0));
    }
}

/// The receiving half on the server: a request, read in order.
#[derive(Debug)]
pub struct QuicRequestReader {
    stream: RecvStream,
    windows: Windows,
}

impl QuicRequestReader {
    pub(super) fn new(stream: RecvStream, windows: Windows) -> Self {
        Self { stream, windows }
    }

    /// What follows the request, as chunks whose offsets count from the start of the stream.
    #[must_use]
    pub fn into_source(self) -> QuicSource {
        QuicSource::new(self.stream, self.windows)
    }

    /// Tells the client that nothing more will be read.
    pub fn stop(&mut self, code: StatusCode) {
        let _ = self.stream.stop(VarInt::from_u32(code.0));
    }
}

impl AsyncRead for QuicRequestReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.get_mut().stream), cx, buf)
    }
}
