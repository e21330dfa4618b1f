//! How much the peer of a connection may send ahead, on either way.
//!
//! Knows bytes and round trips, and no connection.

use std::time::{Duration, Instant};

use crate::tuning::MAX_RECEIVE_WINDOW;

/// How much the peer may send ahead.
#[derive(Debug)]
pub(crate) struct ReceiveWindow {
    /// The window in force.
    pub(crate) bytes: u64,
    /// Taken by the application since `since`.
    taken: u64,
    since: Instant,
    /// The shortest round trip lately.
    shortest: Duration,
}

impl ReceiveWindow {
    pub(crate) fn new(bytes: u64, now: Instant) -> Self {
        Self { bytes, taken: 0, since: now, shortest: Duration::MAX }
    }

    /// Counts `bytes` as taken by the application; returns a new window. When half of it is taken in a round trip, the window is what holds the sender,
    /// and doubles; a slow disk takes less and leaves it small, so that little accumulates before the disk.
    ///
    /// The round trip is the shortest one lately. A disk that stands still makes the present one long, and all that waited is
    /// taken at once when it goes on: a window that grew then would be filled at the next stop.
    pub(crate) fn take(&mut self, bytes: u64, round_trip: impl FnOnce() -> Duration, now: Instant) -> Option<u64> {
        self.taken += bytes;
        if self.taken < self.bytes / 2 {
            return None;
        }
        // A path that became longer is believed after some dozen looks.
        self.shortest = round_trip().min(self.shortest.saturating_add(self.shortest / 16));
        let grows = now.duration_since(self.since) <= self.shortest && self.bytes < MAX_RECEIVE_WINDOW;
        self.taken = 0;
        self.since = now;
        if grows {
            self.bytes *= 2;
        }
        grows.then_some(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when a stop of the disk widens the window (the present round trip in place of the shortest), when a long path leaves
    /// it small, or when a path that became longer is not believed.
    #[test]
    fn the_receive_window_follows_the_path_and_not_the_disk() {
        const MIB: u64 = 1 << 20;
        let ms = Duration::from_millis;
        let now = std::cell::Cell::new(Instant::now());
        let mut window = ReceiveWindow::new(4 * MIB, now.get());
        let take = |window: &mut ReceiveWindow, after, rtt| {
            now.set(now.get() + after);
            window.take(window.bytes / 2, || rtt, now.get());
            window.bytes / MIB
        };
        // A fast path: 2 MiB in 4 ms, of which one takes 1 ms. Then the disk stands still.
        assert_eq!(take(&mut window, ms(4), ms(1)), 4);
        assert_eq!(take(&mut window, ms(900), ms(700)), 4);
        assert_eq!((0..8).map(|_| take(&mut window, ms(2), ms(600))).max(), Some(4));
        // A far path that brings 20 MiB in a round trip.
        let mut far = ReceiveWindow::new(4 * MIB, now.get());
        for width in [8, 16, 32, 64, 64, 64] {
            let after = ms(far.bytes / MIB * 5 / 2);
            assert_eq!(take(&mut far, after, ms(100)), width);
        }
        // The near one becomes far.
        let widths: Vec<_> = (0..200).map(|_| take(&mut window, ms(50), ms(100))).collect();
        assert!(widths.last() > Some(&4), "{widths:?}");
    }
}
