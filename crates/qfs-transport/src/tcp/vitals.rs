//! What a TCP connection tells of its path: round trips, and what was counted.

use std::time::{Duration, Instant};

/// Counters and clocks of a connection.
#[derive(Debug)]
pub(crate) struct Vitals {
    /// Smoothed round-trip time, and the shortest one.
    rtt: Option<Duration>,
    shortest: Option<Duration>,
    /// Challenges sent, and when the newest was.
    challenges: u64,
    challenged: Option<Instant>,
    /// When the peer was last heard.
    pub(super) heard: Instant,
    /// Bytes that the socket brought and took.
    pub(super) received: u64,
    pub(super) sent: u64,
    /// Times the socket took something.
    pub(super) pieces: u64,
    /// Times the peer said that the connection's window holds it.
    pub(super) blocked: u64,
}

impl Vitals {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            rtt: None,
            shortest: None,
            challenges: 0,
            challenged: None,
            heard: now,
            received: 0,
            sent: 0,
            pieces: 0,
            blocked: 0,
        }
    }

    /// The bytes of a new challenge; an answer to an older one no longer measures anything.
    pub(super) fn challenge(&mut self, now: Instant) -> [u8; 8] {
        self.challenges += 1;
        self.challenged = Some(now);
        self.challenges.to_be_bytes()
    }

    pub(super) fn answered(&mut self, data: [u8; 8], now: Instant) {
        if data == self.challenges.to_be_bytes()
            && let Some(then) = self.challenged.take()
        {
            self.measured(now.saturating_duration_since(then));
        }
    }

    /// The socket brought so many bytes.
    pub(super) fn read(&mut self, bytes: usize, now: Instant) {
        self.received += bytes as u64;
        self.heard = now;
    }

    /// The socket took so many bytes.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.pieces += 1;
    }

    /// A round trip took so long.
    pub(super) fn measured(&mut self, sample: Duration) {
        // As RFC 6298 §2 smooths it.
        self.rtt = Some(self.rtt.map_or(sample, |rtt| (rtt * 7 + sample) / 8));
        self.shortest = Some(self.shortest.map_or(sample, |shortest| shortest.min(sample)));
    }

    /// The smoothed round trip; zero before one was measured.
    pub(super) fn round_trip(&self) -> Duration {
        self.rtt.unwrap_or_default()
    }

    pub(super) fn shortest_round_trip(&self) -> Duration {
        self.shortest.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when an answer that was not asked for, or one that comes twice, is taken for a measurement.
    #[test]
    fn only_the_newest_challenge_measures() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut vitals = Vitals::new(start);
        let old = vitals.challenge(at(0));
        let new = vitals.challenge(at(100));
        vitals.answered(old, at(110));
        vitals.answered([7; 8], at(110));
        assert_eq!(vitals.round_trip(), Duration::ZERO);
        vitals.answered(new, at(120));
        vitals.answered(new, at(500));
        assert_eq!(vitals.round_trip(), Duration::from_millis(20));
        vitals.measured(Duration::from_millis(100));
        assert_eq!(vitals.round_trip(), Duration::from_millis(30));
        assert_eq!(vitals.shortest_round_trip(), Duration::from_millis(20));
    }
}
