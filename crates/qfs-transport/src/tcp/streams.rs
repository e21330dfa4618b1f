//! The stream traits for streams of the TCP way.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use qfs_core::stream::{ByteSink, Chunk, ChunkSource, Order, StreamError};
use qfs_core::wire::StatusCode;
use tokio::io::{AsyncRead, ReadBuf};

use super::handle::Handle;
use super::mux::Mux;

/// The sending half. Dropped before [`ByteSink::finish`], it resets the stream.
#[derive(Debug)]
pub(crate) struct TcpSink {
    handle: Arc<Handle>,
    id: u64,
    ended: bool,
}

impl TcpSink {
    pub(super) fn new(handle: Arc<Handle>, id: u64) -> Self {
        Self { handle, id, ended: false }
    }

    fn mux(&self) -> MutexGuard<'_, Mux> {
        self.handle.0.mux()
    }
}

impl ByteSink for TcpSink {
    async fn send(&mut self, mut bytes: Bytes) -> Result<(), StreamError> {
        poll_fn(|cx| self.mux().poll_send(self.id, &mut bytes, cx)).await
    }

    fn finish(&mut self) {
        self.ended = true;
        self.mux().finish(self.id);
    }

    fn reset(&mut self, code: StatusCode) {
        self.ended = true;
        self.mux().reset(self.id, code);
    }

    fn set_priority(&mut self, priority: i32) {
        self.mux().set_priority(self.id, priority);
    }

    async fn stopped(&mut self) {
        poll_fn(|cx| self.mux().poll_stopped(self.id, cx)).await;
    }
}

impl Drop for TcpSink {
    fn drop(&mut self) {
        let mut mux = self.mux();
        if !self.ended {
            mux.reset(self.id, StatusCode::CANCELLED);
        }
        mux.release(self.id);
    }
}

/// The receiving half, on either end. Bytes come in order.
#[derive(Debug)]
pub(crate) struct TcpSource {
    handle: Arc<Handle>,
    id: u64,
}

impl TcpSource {
    pub(super) fn new(handle: Arc<Handle>, id: u64) -> Self {
        Self { handle, id }
    }

    fn mux(&self) -> MutexGuard<'_, Mux> {
        self.handle.0.mux()
    }

    pub(crate) fn stop(&mut self, code: StatusCode) {
        self.mux().stop(self.id, code);
    }
}

impl ChunkSource for TcpSource {
    fn poll_chunk(&mut self, cx: &mut Context<'_>, limit: usize, _: Order) -> Poll<Result<Option<Chunk>, StreamError>> {
        let taken = ready!(self.mux().poll_take(self.id, limit, cx))?;
        Poll::Ready(Ok(taken.map(|(offset, bytes)| Chunk { offset, bytes })))
    }

    fn stop(&mut self, code: StatusCode) {
        Self::stop(self, code);
    }
}

impl AsyncRead for TcpSource {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let taken = ready!(self.mux().poll_take(self.id, buf.remaining(), cx)).map_err(io::Error::other)?;
        if let Some((_, bytes)) = taken {
            buf.put_slice(&bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for TcpSource {
    fn drop(&mut self) {
        let mut mux = self.mux();
        // As QUIC has it: whoever no longer holds this half wants no more of it. Harmless behind its end.
        mux.stop(self.id, StatusCode::OK);
        mux.release(self.id);
    }
}
