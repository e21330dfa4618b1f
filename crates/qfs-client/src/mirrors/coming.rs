//! Content that is on its way from one server, and whether it comes so slowly that another one is asked for it too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long content may take to begin, in addition to four round trips.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Slowest content that is not asked of another server, in bytes a second: a modem does as much. A server that sends some bytes now and
/// then is never silent, and would hold a file for as long as it likes.
const SLOWEST: f64 = 4096.0;

/// What has come since it was asked for. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Coming {
    since: Instant,
    bytes: Arc<AtomicU64>,
}

impl Coming {
    /// It is asked for now.
    pub(crate) fn begin() -> Self {
        Self { since: Instant::now(), bytes: Arc::default() }
    }

    /// So many more bytes have come.
    pub(crate) fn came(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether it is slower than it may be, over a path of this round trip.
    pub(crate) fn is_slow(&self, rtt: Duration) -> bool {
        self.was_slow_after(self.since.elapsed(), rtt)
    }

    fn was_slow_after(&self, elapsed: Duration, rtt: Duration) -> bool {
        let begun = PATIENCE + 4 * rtt;
        // Files are far smaller than what a float holds exactly.
        elapsed > begun && (self.bytes.load(Ordering::Relaxed) as f64) < SLOWEST * elapsed.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_trickles_is_slow_and_what_only_takes_long_is_not() {
        let (coming, rtt) = (Coming::begin(), Duration::from_millis(50));
        let slow_after = |seconds| coming.was_slow_after(Duration::from_secs(seconds), rtt);
        assert!(!slow_after(1) && slow_after(2));
        assert!(!coming.was_slow_after(Duration::from_secs(2), Duration::from_millis(500)), "a long way");
        coming.clone().came(41_000);
        assert!(!slow_after(2) && !slow_after(10) && slow_after(11));
    }
}
