//! A socket that is read in large pieces: rustls asks for 4 KiB at a time, which would be one system call for each.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// A byte stream with a buffer for what is read.
#[derive(Debug)]
pub(super) struct ReadAhead<S> {
    inner: S,
    /// Made at the first read: a connection that brings nothing costs nothing.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<S> ReadAhead<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, buffer: Vec::new(), start: 0, end: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.start == this.end {
            if out.remaining() >= BUFFER_BYTES {
                return Pin::new(&mut this.inner).poll_read(cx, out);
            }
            this.buffer.resize(BUFFER_BYTES, 0);
            let mut filled = ReadBuf::new(&mut this.buffer);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut filled))?;
            (this.start, this.end) = (0, filled.filled().len());
        }
        let length = out.remaining().min(this.end - this.start);
        out.put_slice(&this.buffer[this.start..this.start + length]);
        this.start += length;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
