//! Clients that have promised a body and send nothing of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts what arrives.
#[derive(Debug, Default)]
pub(super) struct Arrivals(AtomicU64);

impl Arrivals {
    /// Something came.
    pub(super) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Polls `work` until it is done, or until nothing has arrived for `patience`; then None. A client that is given `patience` and
/// sends one byte in it goes on: what it holds is bounded, and it holds it alone.
pub(super) async fn watched<T>(work: impl Future<Output = T>, arrivals: &Arrivals, patience: Duration) -> Option<T> {
    let silence = async {
        let mut seen = arrivals.count();
        loop {
            tokio::time::sleep(patience).await;
            let now = arrivals.count();
            if now == seen {
                return;
            }
            seen = now;
        }
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = silence => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_and_anything_that_comes_goes_on() {
        let (arrivals, patience) = (Arrivals::default(), Duration::from_secs(30));
        assert_eq!(watched(std::future::pending::<()>(), &arrivals, patience).await, None);
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(20)).await;
                arrivals.note();
            }
        };
        assert_eq!(watched(slow, &arrivals, patience).await, Some(()));
    }
}
