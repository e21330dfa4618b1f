//! Waits between attempts: with jitter, each longer than the one before, and until a deadline.

use std::time::Duration;

use tokio::time::Instant;

use super::error::CloudError;

/// No retry begins later than this after the first attempt.
const DEADLINE: Duration = Duration::from_secs(30);
/// The first wait is about this long, each further one twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// Waits between attempts.
pub(super) struct Patience {
    until: Instant,
    wait: Duration,
    /// Attempts that failed.
    pub(super) failed: u32,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { until: Instant::now() + DEADLINE, wait: FIRST_WAIT, failed: 0 }
    }

    /// Waits for the next attempt, or returns `why` when there is none.
    pub(super) async fn again(&mut self, why: CloudError) -> Result<(), CloudError> {
        let wait = self.wait.mul_f64(0.5 + fastrand::f64());
        if Instant::now() + wait > self.until {
            return Err(why);
        }
        tracing::debug!(failed = self.failed, "asking the bucket once more: {why}");
        self.failed += 1;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        tokio::time::sleep(wait).await;
        Ok(())
    }
}
