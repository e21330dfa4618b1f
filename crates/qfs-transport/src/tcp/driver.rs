//! Moves bytes between a byte stream and the streams of a connection, until the connection is gone.
//!
//! Knows time-outs and how a connection ends, nothing of what travels.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use qfs_core::stream::Lost;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::batch::Batch;
use super::fault;
use super::handle::{Ending, Shared};
use crate::tuning::{IDLE_TIMEOUT, KEEP_ALIVE};

/// How often the clocks are looked at, and a busy connection measures its round trip.
const TICK: Duration = Duration::from_secs(1);

/// Buffer for what is read, in bytes: streams keep parts of it (see `halves`).
const READ_BYTES: usize = 64 << 10;

/// Less room than this is not worth a read: a TLS record brings up to 16 KiB.
const LEAST_READ_BYTES: usize = 4 << 10;

/// Longest wait for the peer to close its half after it was told of the end. Whoever closes a socket at once makes the kernel
/// throw away what it has not delivered (RFC 9293 §3.10.4).
const LINGER: Duration = Duration::from_secs(10);

/// Reads or writes in a row before others have their turn.
const ROUNDS: usize = 16;

/// What a byte stream must do.
pub(super) trait Carrier: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Carrier for T {}

/// Runs the connection until it is gone, then lets it end.
pub(super) async fn drive(stream: impl Carrier, shared: Arc<Shared>) {
    let mut driver = Driver::new(stream, Arc::clone(&shared));
    let lost = poll_fn(|cx| driver.poll_run(cx)).await;
    if let Err(lost) = lost {
        // A peer that is gone is not told anything.
        shared.mux().fail(lost);
        return shared.note(Ending::Gone);
    }
    let told = tokio::time::timeout(LINGER, poll_fn(|cx| driver.poll_last_words(cx))).await;
    shared.note(Ending::Told);
    if matches!(told, Ok(Ok(()))) {
        let _ = tokio::time::timeout(LINGER, poll_fn(|cx| driver.poll_linger(cx))).await;
    }
    shared.note(Ending::Gone);
}

struct Driver<S> {
    stream: S,
    shared: Arc<Shared>,
    batch: Batch,
    input: BytesMut,
    ticks: Interval,
    /// When the stream last took something, or had nothing to take.
    moved: Instant,
    is_flushed: bool,
}

impl<S: Carrier> Driver<S> {
    fn new(stream: S, shared: Arc<Shared>) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (batch, input) = (Batch::default(), BytesMut::new());
        Self { stream, shared, batch, input, ticks, moved: Instant::now(), is_flushed: true }
    }

    /// Ready when the connection is gone: in order, or with the reason.
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        while self.ticks.poll_tick(cx).is_ready() {
            self.look_at_clocks()?;
        }
        for _ in 0..ROUNDS {
            let wrote = self.poll_write(cx).map_err(|error| fault::lost(&error))?;
            if self.shared.mux().end().is_some() {
                return Poll::Ready(Ok(()));
            }
            let read = self.poll_read(cx)?;
            if self.shared.mux().end().is_some() {
                return Poll::Ready(Ok(()));
            }
            if !wrote && !read {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn look_at_clocks(&mut self) -> Result<(), Lost> {
        let now = Instant::now();
        let mut mux = self.shared.mux();
        let silent = now.saturating_duration_since(mux.vitals.heard);
        let stuck = if self.batch.is_empty() { Duration::ZERO } else { now.saturating_duration_since(self.moved) };
        if silent.max(stuck) >= IDLE_TIMEOUT {
            return Err(Lost::TimedOut);
        }
        if mux.is_busy() || silent >= KEEP_ALIVE {
            mux.challenge(now);
        }
        Ok(())
    }

    /// Writes what is to be written; true when something was.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut wrote = false;
        for _ in 0..ROUNDS {
            let was_empty = self.batch.is_empty();
            if self.batch.has_room() {
                self.shared.mux().fill_for(&mut self.batch, cx);
                self.batch.seal();
            }
            if self.batch.is_empty() {
                break;
            }
            if was_empty {
                self.moved = Instant::now();
            }
            let (slices, count) = self.batch.slices();
            match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]) {
                Poll::Pending => return Ok(wrote),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    self.batch.advance(written);
                    self.shared.mux().vitals.wrote(written);
                    self.moved = Instant::now();
                    (self.is_flushed, wrote) = (false, true);
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        if self.batch.is_empty() && !self.is_flushed && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            self.is_flushed = true;
        }
        Ok(wrote)
    }

    /// Reads what has come; true when something has.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, Lost> {
        let mut read = false;
        for _ in 0..ROUNDS {
            match self.poll_fill(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Err(fault::lost(&error)),
                // The peer ends without a word: as after a crash.
                Poll::Ready(Ok(0)) => return Err(Lost::Restarted),
                Poll::Ready(Ok(length)) => {
                    read = true;
                    let now = Instant::now();
                    let mut mux = self.shared.mux();
                    mux.vitals.read(length, now);
                    if let Err(violation) = mux.receive(&mut self.input, now) {
                        mux.break_off(violation);
                    }
                    if mux.end().is_some() {
                        break;
                    }
                }
            }
        }
        Ok(read)
    }

    /// Appends to the input what one read brings.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < LEAST_READ_BYTES {
            // What is left of a frame moves along; the rest is kept by streams, if by anybody.
            self.input.reserve(READ_BYTES);
        }
        // The future holds no state between polls.
        pin!(self.stream.read_buf(&mut self.input)).poll(cx)
    }

    /// Writes what was chosen before the end, and the end, then ends this half.
    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let wrote = self.poll_write(cx)?;
            if self.batch.is_empty() {
                return Pin::new(&mut self.stream).poll_shutdown(cx);
            }
            if !wrote {
                return Poll::Pending;
            }
        }
    }

    /// Ready when the peer has ended its half too; what it still sends is not wanted.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            self.input.clear();
            match self.poll_fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
