//! How long a server may do nothing: one that keeps the connection alive, and says nothing or takes nothing, must not hold a run for ever.
//!
//! Knows streams and the session's clock, nothing of messages.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::thread::ThreadId;
use std::time::Duration;

use qfs_core::stream::{Chunk, ChunkSource, Lost, Order, StreamError};
use qfs_core::wire::StatusCode;
use qfs_transport::Source;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

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
    alarm: Alarm,
}

impl Patience {
    pub(crate) fn new(source: Source, session: &Session) -> Self {
        session.note_waiting(true);
        let (session, alarm) = (session.clone(), Alarm::default());
        Self { source, allowed: allowed(&session), session, silent_since: None, alarm }
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
        let mut due = since + self.allowed;
        while self.alarm.poll(cx, due).is_ready() {
            // Others of the session may be sent before this one.
            let silent = since.elapsed().min(self.session.silent_for());
            if silent >= self.allowed {
                return Poll::Ready(Err(StreamError::Lost(Lost::TimedOut)));
            }
            due = Instant::now() + (self.allowed - silent);
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

/// Rings once at a time. What waits for it may go over to another thread, which may have a runtime of its own, and go on when that of the
/// first one has ended: a timer cannot be asked any more then.
#[derive(Default)]
struct Alarm(Option<(ThreadId, Pin<Box<Sleep>>)>);

impl Alarm {
    /// Ready when it has rung, which it does at `due` if it was not set yet. It is not set any more then.
    fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let here = std::thread::current().id();
        let timer = match &mut self.0 {
            Some((set_on, timer)) if *set_on == here => timer,
            away => {
                let due = away.as_ref().map_or(due, |(_, timer)| timer.deadline());
                &mut away.insert((here, Box::pin(sleep_until(due)))).1
            }
        };
        let rung = timer.as_mut().poll(cx);
        if rung.is_ready() {
            self.0 = None;
        }
        rung
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::super::lane::{Lane, run_on};
    use super::*;

    async fn polled(mut alarm: Alarm, due: Instant) -> (Alarm, Poll<()>) {
        let polled = poll_fn(|cx| Poll::Ready(alarm.poll(cx, due))).await;
        (alarm, polled)
    }

    // Fails with a panic when a timer is asked whose runtime has ended.
    #[tokio::test]
    async fn an_alarm_outlives_the_thread_on_which_it_was_set() {
        let (first, second) = (Lane::start(1).unwrap(), Lane::start(2).unwrap());
        let far = Instant::now() + Duration::from_secs(3600);
        let (alarm, rung) = run_on(first.handle(), polled(Alarm::default(), far)).await;
        assert_eq!(rung, Poll::Pending);
        drop(first);
        let (alarm, rung) = run_on(second.handle(), polled(alarm, Instant::now())).await;
        assert_eq!(rung, Poll::Pending, "it is still set for when it was");
        drop((second, alarm));
    }
}
