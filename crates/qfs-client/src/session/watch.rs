//! Goes over to the other way when the one in use has fallen silent while an answer is waited for, and the other one works.
//!
//! QUIC gives a connection up after 30 s (PROTOCOL §1.5). Until then a network that has begun to drop UDP looks like one that is
//! slow. So the silent way is not given up but raced: whichever brings something first is used.
//!
//! Where UDP had not answered when TCP did, it may have lost its first packets, no more: it is tried once more, and gone over to when it
//! answers. On a path that loses packets it is several times as fast.
//!
//! Whatever is under way on a connection that is left has to go on elsewhere. So none is left while something has to stay there (`stay`).

use std::time::Duration;

use qfs_transport::{Connection, Way};
use tokio::time::{Instant, sleep};

use super::dial::Link;
use crate::error::SessionError;

/// Between two looks at the connection.
const LOOK: Duration = Duration::from_millis(250);

/// Silence after which the server is asked for a sign, and between two such questions.
const QUESTION: Duration = Duration::from_secs(1);

/// The least silence that is taken for the end of a way: an answer to the first question is a second late by then.
const SILENCE: Duration = Duration::from_secs(2);

/// The same in round trips: a lost question and a lost answer.
const SILENT_ROUNDS: u32 = 4;

/// Wait before the other way is tried again; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest wait between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// A session, as far as this is concerned.
pub(super) trait Watched: Send + Sync {
    /// The connection in use, while an answer is waited for.
    fn awaited(&self) -> Option<Connection>;

    /// The connection in use.
    fn current(&self) -> Connection;

    /// Another connection to the same server, by `way`.
    fn connect_by(&self, way: Way) -> impl Future<Output = Result<Link, SessionError>> + Send;

    /// Whether something has to stay on the connection in use; `works`: as far as is known, it still works.
    fn must_stay(&self, works: bool) -> bool;

    /// Uses `link` in place of `old`, and remembers its way. `is_late`: not because `old` were silent.
    fn go_over(&self, old: &Connection, link: &Link, is_late: bool) -> impl Future<Output = Move> + Send;
}

/// Whether a session has gone over to another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// It has.
    Done,
    /// Something has to stay where it is for now.
    NotYet,
    /// The connection that was to be left is not in use any more, or the other is gone.
    TooLate,
}

/// Watches over what `session` finds, until that is nothing; tries UDP once more first where that `may_be_late`.
pub(super) fn begin<S: Watched + 'static>(may_be_late: bool, session: impl Fn() -> Option<S> + Send + 'static) {
    tokio::spawn(async move {
        let mut late = match session() {
            Some(session) if may_be_late => try_udp_again(&session).await,
            _ => None,
        };
        let mut silence = Silence::default();
        loop {
            if let Some((old, link)) = &late
                && let Some(session) = session()
                && session.go_over(old, link, true).await != Move::NotYet
            {
                late = None;
            }
            sleep(LOOK).await;
            // Whoever drops the session ends this.
            let Some(session) = session() else { return };
            let awaited = session.awaited().filter(|connection| connection.close_reason().is_none());
            let Some(connection) = awaited else {
                silence = Silence::default();
                continue;
            };
            if silence.asks(Instant::now()) {
                connection.ask_for_a_sign();
            }
            let is_silent = silence.look(&connection, Instant::now()) && !session.must_stay(false);
            if is_silent && !race(&session, &connection).await {
                silence.pause(Instant::now());
            }
        }
    });
}

/// How long a connection has been silent.
#[derive(Debug, Default)]
struct Silence {
    /// The connection's number, what it had brought, and since when.
    last: Option<(usize, u64, Instant)>,
    asked: Option<Instant>,
    pause: Duration,
    paused_until: Option<Instant>,
}

impl Silence {
    /// Whether it is time to ask for a sign.
    fn asks(&mut self, now: Instant) -> bool {
        let Some((_, _, since)) = self.last else { return false };
        let asks = now.saturating_duration_since(self.asked.unwrap_or(since)) >= QUESTION;
        if asks {
            self.asked = Some(now);
        }
        asks
    }

    /// Whether it is time to try the other way.
    fn look(&mut self, connection: &Connection, now: Instant) -> bool {
        let path = connection.path_report();
        self.note(connection.id(), path.signs, SILENCE.max(path.rtt * SILENT_ROUNDS), now)
    }

    fn note(&mut self, id: usize, signs: u64, allowed: Duration, now: Instant) -> bool {
        match self.last {
            Some((known, heard, since)) if known == id && heard == signs => {
                now.saturating_duration_since(since) >= allowed && self.paused_until.is_none_or(|until| now >= until)
            }
            _ => {
                *self = Self { last: Some((id, signs, now)), ..Self::default() };
                false
            }
        }
    }

    fn pause(&mut self, now: Instant) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.paused_until = Some(now + self.pause);
    }
}

/// The connection in use, and one over UDP in its place, if that answers now.
async fn try_udp_again(session: &impl Watched) -> Option<(Connection, Link)> {
    let connection = session.current();
    let link = session.connect_by(Way::Udp).await;
    link.inspect_err(|error| tracing::debug!(%error, "UDP does not answer")).ok().map(|link| (connection, link))
}

/// Tries the other way while listening to the present one; true when that has become the one in use.
async fn race(session: &impl Watched, connection: &Connection) -> bool {
    let from = connection.way();
    let to = match from {
        Way::Udp => Way::Tcp,
        Way::Tcp => Way::Udp,
    };
    tracing::info!(%from, %to, "nothing comes: trying the other way");
    let link = tokio::select! {
        link = session.connect_by(to) => link,
        () = sign_of_life(connection) => return false,
    };
    match link {
        Ok(link) => session.go_over(connection, &link, false).await == Move::Done,
        Err(error) => {
            tracing::info!(%to, %error, "the other way does not work either");
            false
        }
    }
}

/// Resolves when the server shows that it hears `connection`, or that is gone, which somebody else sees to.
async fn sign_of_life(connection: &Connection) {
    let before = connection.path_report().signs;
    while connection.path_report().signs == before && connection.close_reason().is_none() {
        sleep(LOOK / 5).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when a slow way is given up, a silent one is not, or one that does not answer either way is raced without a pause.
    #[test]
    fn only_silence_is_silence() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut silence = Silence::default();
        let look = |silence: &mut Silence, ms, signs| silence.note(1, signs, SILENCE, at(ms));
        // A sign every second and a half.
        assert!((0..40).all(|n| !look(&mut silence, n * 250, n / 6)));
        let last = 9_000;
        assert!(!look(&mut silence, last + 1999, 6));
        assert!(look(&mut silence, last + 2000, 6));
        silence.pause(at(last + 2000));
        assert!(!look(&mut silence, last + 2999, 6));
        assert!(look(&mut silence, last + 3000, 6));
        silence.pause(at(last + 3000));
        assert!(!look(&mut silence, last + 4999, 6));
        assert!(look(&mut silence, last + 5000, 6));
        for _ in 0..10 {
            silence.pause(at(20_000));
        }
        assert_eq!(silence.paused_until, Some(at(28_000)));
        // Another connection, and one that speaks again, begin anew.
        assert!(!silence.note(2, 6, SILENCE, at(60_000)));
        assert!(!silence.note(2, 7, SILENCE, at(61_999)));
        assert!(!silence.note(2, 7, SILENCE, at(63_998)));
        assert!(silence.note(2, 7, SILENCE, at(63_999)));
    }
}
