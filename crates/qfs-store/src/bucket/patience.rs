//! Waits between attempts: with jitter, each longer than the one before, and until a deadline.

use std::time::Duration;

use object_store::{BackoffConfig, RetryConfig};
use tokio::time::Instant;

use super::error::CloudError;
use super::limits::{LIMITS, Limits};

/// The first wait is about this long, each further one twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// The same waits for what `object_store` tries again by itself.
pub(super) fn config() -> RetryConfig {
    let backoff = BackoffConfig { init_backoff: FIRST_WAIT, max_backoff: LONGEST_WAIT, base: 2.0 };
    RetryConfig { backoff, max_retries: usize::MAX, retry_timeout: LIMITS.deadline }
}

/// Waits between attempts.
pub(super) struct Patience {
    until: Instant,
    wait: Duration,
    /// Attempts that failed.
    pub(super) failed: u32,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self::within(&LIMITS)
    }

    pub(super) fn within(limits: &Limits) -> Self {
        Self { until: Instant::now() + limits.deadline, wait: FIRST_WAIT, failed: 0 }
    }

    /// Moves the deadline by what an attempt took for its content.
    pub(super) fn pass_over(&mut self, sending: Duration) {
        self.until += sending;
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
