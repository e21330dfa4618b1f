//! Clients that take nothing, or next to nothing: how long an answer waits for one.
//!
//! Watches a connection as a whole: a stream may rightly wait while others of its connection go before it.

use std::sync::Arc;
use std::time::Duration;

use qfs_core::body::Budget;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How far a client has come.
pub(crate) trait Progress: Send + Sync {
    /// Numbers that grow when the client lets something of its answers be sent.
    fn taken(&self) -> Taken;
}

/// What a client has let be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Taken {
    /// Pieces of answers.
    pub(crate) pieces: u64,
    /// Bytes on the wire.
    pub(crate) bytes: u64,
}

/// How often a waiting answer looks.
const LOOK: Duration = Duration::from_secs(1);

/// The least that counts as progress while memory is short, in bytes within the patience there is then: 3 s, so some 22 kbit/s. Whoever
/// asks for one byte at a time would otherwise keep what he holds for ever.
const LEAST_BYTES: u64 = 8 << 10;

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

    /// Resolves when nothing was taken for too long, or too little of it while memory is short.
    pub(crate) async fn ends(&self, progress: &impl Progress) {
        let mut taken = progress.taken();
        let mut since = Instant::now();
        let look = LOOK.min(self.usual / 4).max(Duration::from_millis(1));
        let mut looks = interval_at(since + look, look);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = looks.tick().await;
            let current = progress.taken();
            let patience = self.budget.patience(self.usual);
            let is_short = patience < self.usual;
            if current.pieces != taken.pieces && (!is_short || current.bytes - taken.bytes >= LEAST_BYTES) {
                (taken, since) = (current, now);
            } else if now.duration_since(since) >= patience {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Pieces of a byte each.
    impl Progress for AtomicU64 {
        fn taken(&self) -> Taken {
            let pieces = self.load(Ordering::Relaxed);
            Taken { pieces, bytes: pieces }
        }
    }

    /// For how many seconds a client is borne with that takes `bytes` a second for five minutes.
    async fn borne_with(bytes: u64, budget: &Arc<Budget>) -> u64 {
        let client = AtomicU64::new(0);
        let start = Instant::now();
        let reader = async {
            for _ in 0..300 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                client.fetch_add(bytes, Ordering::Relaxed);
            }
            std::future::pending::<()>().await;
        };
        let patience = Patience::new(Duration::from_secs(30), Arc::clone(budget));
        tokio::select! {
            () = reader => unreachable!(),
            () = patience.ends(&client) => start.elapsed().as_secs(),
        }
    }

    /// Fails when: any piece counts as progress although memory is short; too little counts as nothing although it is not.
    #[tokio::test(start_paused = true)]
    async fn a_trickle_will_do_only_while_there_is_room() {
        let budget = Budget::new(1 << 20);
        assert!(borne_with(1, &budget).await >= 300);
        // As much is taken as those can have who hold on.
        let shares: Vec<_> = (0..8).map(|_| budget.share()).collect();
        let _held: Vec<_> =
            shares.iter().flat_map(|share| std::iter::from_fn(|| share.try_reserve(128 << 10))).collect();
        assert_eq!(budget.free_bytes(), 256 << 10);
        assert!(borne_with(1, &budget).await <= 4);
        assert!(borne_with(0, &budget).await <= 4);
        assert!(borne_with(LEAST_BYTES / 2, &budget).await >= 300);
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
