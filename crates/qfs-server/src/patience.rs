//! Clients that take nothing: how long an answer waits for one.
//!
//! Watches a connection as a whole: a stream may rightly wait while others of its connection go before it.

use std::sync::Arc;
use std::time::Duration;

use qfs_core::body::Budget;
use qfs_core::transport::Connection;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How far a client has come.
pub(crate) trait Progress: Send + Sync {
    /// A number that grows when the client lets something of its answers be sent.
    fn taken(&self) -> u64;
}

impl Progress for Connection {
    fn taken(&self) -> u64 {
        // Frames with stream data go out as the client's flow control and acknowledgements permit, and not otherwise.
        self.path_report().stats.frame_tx.stream
    }
}

/// How often a waiting answer looks.
const LOOK: Duration = Duration::from_secs(1);

/// How long to wait for a client that takes nothing; less while its share of memory is missing to others.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    usual: Duration,
    budget: Arc<Budget>,
}

impl Patience {
    pub(crate) fn new(usual: Duration, budget: Arc<Budget>) -> Self {
        Self { usual, budget }
    }

    /// Resolves when nothing was taken for too long.
    pub(crate) async fn ends(&self, progress: &impl Progress) {
        let mut taken = progress.taken();
        let mut since = Instant::now();
        let look = LOOK.min(self.usual / 4).max(Duration::from_millis(1));
        let mut looks = interval_at(since + look, look);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = looks.tick().await;
            let current = progress.taken();
            if current != taken {
                (taken, since) = (current, now);
            } else if now.duration_since(since) >= self.budget.patience(self.usual) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    impl Progress for AtomicU64 {
        fn taken(&self) -> u64 {
            self.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_only_after_silence() {
        let client = AtomicU64::new(0);
        let start = Instant::now();
        let slow_reader = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(29)).await;
                client.fetch_add(1, Ordering::Relaxed);
            }
        };
        let patience = Patience::new(Duration::from_secs(30), Budget::new(1 << 20));
        tokio::join!(slow_reader, patience.ends(&client));
        let waited = start.elapsed().as_secs();
        assert!((290 + 29..=290 + 32).contains(&waited), "{waited}");
    }
}
