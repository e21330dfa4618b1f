//! How long an answer may be silent: a server that keeps the connection alive and says nothing must not hold a run for ever.
//!
//! Knows streams and the session's clock, nothing of messages.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use qfs_core::stream::{Chunk, ChunkSource, Lost, Order, StreamError};
use qfs_core::wire::StatusCode;
use qfs_transport::Source;
use tokio::time::{Instant, Sleep};

use super::handle::Session;

/// The least that is allowed, whatever the retry time-out: what a server's own deadlines are made of (PROTOCOL §1.5).
const LEAST: Duration = Duration::from_secs(10);

/// Slowest reading and hashing of a file that is waited for, in bytes a second: the trailer may have to wait for all of it
/// (PROTOCOL §4.2).
const SLOWEST_DIGEST: u64 = 32 << 20;

/// Most that is allowed for a digest.
const LONGEST_DIGEST: Duration = Duration::from_secs(3600);

/// An answer's stream that is lost when neither it nor its session has brought anything for too long.
pub(crate) struct Patience {
    source: Source,
    session: Session,
    allowed: Duration,
    /// Since when nothing has come; None when something just did.
    silent_since: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl Patience {
    pub(crate) fn new(source: Source, session: &Session) -> Self {
        let allowed = session.retry_timeout().max(LEAST);
        let alarm = Box::pin(tokio::time::sleep(allowed));
        session.note_waiting(true);
        Self { source, session: session.clone(), allowed, silent_since: None, alarm }
    }

    /// Allows the time in which the digest of a file of `size` bytes can be had.
    pub(crate) fn allow_digest(&mut self, size: u64) {
        self.allowed += Duration::from_secs(size / SLOWEST_DIGEST).min(LONGEST_DIGEST);
    }
}

impl ChunkSource for Patience {
    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
        order: Order,
    ) -> Poll<Result<Option<Chunk>, StreamError>> {
        if let Poll::Ready(chunk) = self.source.poll_chunk(cx, limit, order) {
            self.silent_since = None;
            return Poll::Ready(chunk);
        }
        let since = *self.silent_since.get_or_insert_with(Instant::now);
        // The alarm is set anew only when it rings: this is polled for every packet.
        while self.alarm.as_mut().poll(cx).is_ready() {
            // Others of the session may be sent before this one.
            let silent = since.elapsed().min(self.session.silent_for());
            if silent >= self.allowed {
                return Poll::Ready(Err(StreamError::Lost(Lost::TimedOut)));
            }
            self.alarm.as_mut().reset(Instant::now() + (self.allowed - silent));
        }
        Poll::Pending
    }

    fn stop(&mut self, code: StatusCode) {
        self.source.stop(code);
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        self.session.note_waiting(false);
    }
}
