//! What is known of a path from an earlier connection, and the handle over which a running controller is told of it.
//!
//! quinn gives no access to the controller of a connection. The handle is therefore made before the connection is, and goes into
//! the controller with [`Congestion::remembering`](crate::Congestion::remembering).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a path could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownPath {
    /// Bytes per second that it delivered.
    pub rate: u64,
    /// Its shortest round trip.
    pub rtt: Duration,
}

impl KnownPath {
    /// The most bytes that a jump puts in flight at once.
    pub const MAX_JUMP_BYTES: u64 = 32 << 20;

    /// The window of a jump on this path, in bytes, where a round trip takes `rtt` now: half of what was in flight
    /// (draft-ietf-tsvwg-careful-resume), over the shorter round trip of the two.
    #[must_use]
    pub fn jump_bytes(&self, rtt: Duration) -> u64 {
        let bytes = u128::from(self.rate) * self.rtt.min(rtt).as_nanos() / 2_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX).min(Self::MAX_JUMP_BYTES)
    }
}

/// What one connection's controller is told of the path, and tells of it; cheap to clone, and all clones are one.
#[derive(Clone, Debug, Default)]
pub struct PathMemory(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Whether [`Paths::recalled`] is set: the controller looks here for every packet it sends.
    pending: AtomicBool,
    paths: Mutex<Paths>,
}

#[derive(Debug, Default)]
struct Paths {
    recalled: Option<KnownPath>,
    observed: Option<KnownPath>,
}

impl PathMemory {
    /// Tells the controller what the path could do before. It starts from there, once, if it is still in start-up, has seen no
    /// congestion, and finds a round trip like the earlier one.
    pub fn recall(&self, known: KnownPath) {
        self.paths().recalled = Some(known);
        self.0.pending.store(true, Ordering::Release);
    }

    /// What the controller has found out about the path; None before the end of start-up, and from controllers that have no model.
    #[must_use]
    pub fn observed(&self) -> Option<KnownPath> {
        self.paths().observed
    }

    pub(crate) fn observe(&self, path: KnownPath) {
        self.paths().observed = Some(path);
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.0.pending.load(Ordering::Acquire)
    }

    pub(crate) fn take(&self) -> Option<KnownPath> {
        self.0.pending.store(false, Ordering::Release);
        self.paths().recalled.take()
    }

    /// What was known and found out is of another path: forgets both.
    pub(crate) fn clear(&self) {
        *self.paths() = Paths::default();
    }

    fn paths(&self) -> MutexGuard<'_, Paths> {
        self.0.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_half_of_what_was_in_flight_and_bounded() {
        let path = |rate, ms| KnownPath { rate, rtt: Duration::from_millis(ms) };
        assert_eq!(path(25_000_000, 100).jump_bytes(Duration::from_millis(100)), 1_250_000);
        assert_eq!(path(25_000_000, 100).jump_bytes(Duration::from_millis(60)), 750_000);
        assert_eq!(path(25_000_000, 100).jump_bytes(Duration::from_secs(1)), 1_250_000);
        assert_eq!(path(u64::MAX, 60_000).jump_bytes(Duration::MAX), KnownPath::MAX_JUMP_BYTES);
    }
}
