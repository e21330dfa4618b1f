//! What a TCP client has taken of what was written to it. Counts; judges nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::gate::patience::{Progress, Taken};

/// Numbers of one connection; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Flow(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    writes: AtomicU64,
    bytes: AtomicU64,
    /// Whether the kernel took no more when it was last asked.
    is_blocked: AtomicBool,
}

impl Flow {
    /// Whether something waits for the client to take what was sent before.
    pub(super) fn is_blocked(&self) -> bool {
        self.0.is_blocked.load(Ordering::Relaxed)
    }
}

impl Progress for Flow {
    fn taken(&self) -> Taken {
        Taken { pieces: self.0.writes.load(Ordering::Relaxed), bytes: self.0.bytes.load(Ordering::Relaxed) }
    }
}

/// As [`Flow`], for whoever waits for the connection as a whole: a client to which there is nothing to say takes all there is.
pub(super) struct Unblocked<'a> {
    flow: &'a Flow,
    quiet: AtomicU64,
}

impl<'a> Unblocked<'a> {
    pub(super) fn new(flow: &'a Flow) -> Self {
        Self { flow, quiet: AtomicU64::new(0) }
    }
}

impl Progress for Unblocked<'_> {
    fn taken(&self) -> Taken {
        /// More than any patience asks for.
        const PLENTY: u64 = 1 << 20;
        if !self.flow.is_blocked() {
            self.quiet.fetch_add(1, Ordering::Relaxed);
        }
        let (quiet, taken) = (self.quiet.load(Ordering::Relaxed), self.flow.taken());
        Taken { pieces: taken.pieces + quiet, bytes: taken.bytes + quiet * PLENTY }
    }
}

/// A stream that counts what is written to it.
pub(super) struct Counted<T> {
    inner: T,
    flow: Flow,
}

impl<T> Counted<T> {
    pub(super) fn new(inner: T) -> (Self, Flow) {
        let flow = Flow::default();
        (Self { inner, flow: flow.clone() }, flow)
    }

    fn count(&self, written: &Poll<io::Result<usize>>) {
        self.flow.0.is_blocked.store(written.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(bytes)) = written {
            self.flow.0.writes.fetch_add(1, Ordering::Relaxed);
            self.flow.0.bytes.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.count(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.count(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.flow.0.is_blocked.store(flushed.is_pending(), Ordering::Relaxed);
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
