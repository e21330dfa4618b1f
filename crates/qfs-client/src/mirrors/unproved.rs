//! Content that has come and is not proved and written yet: it is held in memory, so there is a bound on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Once so many bytes are held, nothing more is asked for until some of them are written. What has been asked for by then comes on top.
const MOST_BYTES: u64 = 32 << 20;

/// What is held, of all files of a run.
pub(crate) struct Unproved {
    bytes: AtomicU64,
    changed: Arc<Notify>,
}

impl Unproved {
    /// Nothing yet; `changed` rings whenever it becomes less.
    pub(super) fn new(changed: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicU64::new(0), changed })
    }

    /// Whether nothing more is to be asked for.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= MOST_BYTES
    }

    /// Counts `bytes` as long as it lives.
    pub(crate) fn hold(self: &Arc<Self>, bytes: u64) -> Held {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Held { of: Arc::clone(self), bytes }
    }
}

/// Some of it.
pub(crate) struct Held {
    of: Arc<Unproved>,
    bytes: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.of.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_counts_until_it_is_let_go() {
        let unproved = Unproved::new(Arc::default());
        let (most, more) = (unproved.hold(MOST_BYTES), unproved.hold(1));
        assert!(unproved.is_full());
        drop(more);
        assert!(unproved.is_full());
        drop(most);
        assert!(!unproved.is_full());
    }
}
