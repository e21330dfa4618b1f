//! How long a server may do nothing: one that keeps the connection alive, and says nothing or takes nothing, must not hold a run for ever.
//!
//! Knows streams and the session's clock, nothing of messages.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use qfs_core::stream::{Chunk, ChunkSource, Lost, Order, StreamError};
use qfs_core::wire::StatusCode;
use qfs_transport::Source;
use tokio::time::{Instant, Sleep, timeout};

use super::handle::Session;

/// The least that is allowed, whatever the retry time-out: what a server's own deadlines are made of (PROTOCOL §1.5).
const LEAST: Duration = Duration::from_secs(10);

/// Slowest reading and hashing of a file that is waited for, in bytes a second: the trailer may have to wait for all of it
/// (PROTOCOL §4.2).
const SLOWEST_DIGEST: u64 = 32 << 20;

/// Most that is allowed for a digest.
const LONGEST_DIGEST: Duration = Duration::from_secs(3600);

/// How long a server of `session` may do nothing, unless there is more to do than to answer.
fn allowed(session: &Session) -> Duration {
    session.retry_timeout().max(LEAST)
}

/// Waits for `work`, for which the server has to take something: given up when it lasts too long while nothing else of the session makes
/// progress.
///
/// # Errors
/// [`Lost::TimedOut`] then; otherwise those of `work`.
pub(super) async fn patiently<T, E: From<Lost>>(
    session: &Session,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let (allowed, begun, mut work) = (allowed(session), Instant::now(), pin!(work));
    loop {
        let silent = begun.elapsed().min(session.silent_for());
        if silent >= allowed {
            return Err(Lost::TimedOut.into());
        }
        if let Ok(done) = timeout(allowed - silent, &mut work).await {
            return done;
        }
    }
}

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
        let allowed = allowed(session);
        let alarm = Box::pin(tokio::time::sleep(allowed));
        session.note_waiting(true);
        Self { source, session: session.clone(), allowed, silent_since: None, alarm }
    }

    /// The server has taken something: what it does with that may take as long as anything else.
    pub(super) fn note_taken(&mut self) {
        self.silent_since = None;
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
