//! A bound on the file contents that a process holds: read and not yet acknowledged by whom they are for.
//!
//! A block counts from before it is read until the last reference to it is gone, the one that QUIC keeps for sending it
//! again included. Readers that stand still cannot take everything: a share may hold the less, the less is free.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::store::BLOCK_BYTES;

/// What is counted, in bytes; reservations are rounded up to it.
const UNIT_BYTES: usize = 1024;

/// What a share may always hold, in bytes, once it is its turn: a block on its way and the next one being read.
const LEAST_SHARE_BYTES: usize = 2 * BLOCK_BYTES as usize;

/// Patience with a reader that takes nothing, when more than half of the budget is in use.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);
/// The same, when more than three quarters are.
const LEAST_PATIENCE: Duration = Duration::from_secs(3);

/// The bound, for all connections of a process.
#[derive(Debug)]
pub struct Budget {
    units: usize,
    free: Arc<Semaphore>,
}

impl Budget {
    /// A budget of `bytes`, at least one share's.
    #[must_use]
    pub fn new(bytes: usize) -> Arc<Self> {
        let units = bytes.max(LEAST_SHARE_BYTES).div_ceil(UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Arc::new(Self { units, free: Arc::new(Semaphore::new(units)) })
    }

    /// A share, for one connection.
    #[must_use]
    pub fn share(self: &Arc<Self>) -> Share {
        let account = Account { budget: Arc::clone(self), held: AtomicUsize::new(0), released: Notify::new() };
        Share { account: Arc::new(account) }
    }

    /// Bytes not in use.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.free.available_permits() * UNIT_BYTES
    }

    /// How long to bear with a reader that takes nothing, where `usual` is the answer while there is room. What such readers
    /// hold is missing to the others.
    #[must_use]
    pub fn patience(&self, usual: Duration) -> Duration {
        match self.free.available_permits() * 4 / self.units {
            0 => usual.min(LEAST_PATIENCE),
            1 => usual.min(SHORT_PATIENCE),
            _ => usual,
        }
    }

    /// Most units one share may hold now: half of the budget while nothing is in use, and with the fourth power of what is
    /// free less. So one alone fills the longest path, twenty have a good deal each, and a hundred that stand still leave room
    /// for one that does not; of more than that, those who stand still lose patience's race (see [`Self::patience`]).
    fn limit(&self) -> usize {
        let free = self.free.available_permits() as f64 / self.units as f64;
        // Positive and at most half of `units`.
        let limit = (self.units as f64 / 2.0 * free.powi(4)) as usize;
        limit.max(LEAST_SHARE_BYTES / UNIT_BYTES)
    }
}

/// What one connection takes out of a [`Budget`]; cheap to clone.
#[derive(Debug, Clone)]
pub struct Share {
    account: Arc<Account>,
}

#[derive(Debug)]
struct Account {
    budget: Arc<Budget>,
    /// Units reserved.
    held: AtomicUsize,
    released: Notify,
}

impl Share {
    /// A share of a budget of its own that no one reaches.
    #[must_use]
    pub fn unlimited() -> Self {
        Budget::new(Semaphore::MAX_PERMITS).share()
    }

    /// The budget this is a share of.
    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        &self.account.budget
    }

    /// Reserves `bytes`, at most a block, waiting its turn. A caller that waits must not hold what it could send.
    pub async fn reserve(&self, bytes: usize) -> Reservation {
        let units = to_units(bytes);
        let held = loop {
            let released = self.account.released.notified();
            if let Some(held) = self.hold(units) {
                break held;
            }
            // Something is held, or the limit would have let this in; its release wakes one of those who wait.
            released.await;
        };
        // There may be room for another of those who wait, and each wakes the next.
        self.account.released.notify_one();
        let permit = Arc::clone(&self.account.budget.free).acquire_many_owned(units as u32).await.ok();
        Reservation { _permit: permit, held }
    }

    /// Reserves `bytes` if that needs no waiting.
    #[must_use]
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        let units = to_units(bytes);
        let held = self.hold(units)?;
        let permit = Arc::clone(&self.account.budget.free).try_acquire_many_owned(units as u32).ok()?;
        Some(Reservation { _permit: Some(permit), held })
    }

    fn hold(&self, units: usize) -> Option<Held> {
        let limit = self.account.budget.limit();
        let fits = |held: usize| (held + units <= limit).then_some(held + units);
        self.account.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Held { account: Arc::clone(&self.account), units })
    }
}

/// Room for some bytes; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    /// None only if the semaphore were closed, which nobody does. Declared first, so that it is given back first: whoever the
    /// share wakes finds it.
    _permit: Option<OwnedSemaphorePermit>,
    held: Held,
}

impl Reservation {
    /// Gives back what `bytes` do not need.
    pub fn shrink(&mut self, bytes: usize) {
        let excess = self.held.units.saturating_sub(to_units(bytes));
        if excess > 0 {
            drop(self._permit.as_mut().and_then(|permit| permit.split(excess)));
            self.held.units -= excess;
            self.held.account.release(excess);
        }
    }

    /// `bytes`, which keep this room until the last reference to them is gone.
    #[must_use]
    pub fn attach(self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() { bytes } else { Bytes::from_owner(Charged { bytes, _reservation: self }) }
    }
}

#[derive(Debug)]
struct Held {
    account: Arc<Account>,
    units: usize,
}

impl Account {
    fn release(&self, units: usize) {
        self.held.fetch_sub(units, Ordering::Relaxed);
        self.released.notify_one();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.release(self.units);
    }
}

struct Charged {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// At most a share's least, so that a wait always ends.
fn to_units(bytes: usize) -> usize {
    bytes.clamp(1, LEAST_SHARE_BYTES).div_ceil(UNIT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = BLOCK_BYTES as usize;
    const MIB: usize = 1 << 20;

    /// Reserves blocks until there are no more.
    fn fill(share: &Share) -> Vec<Reservation> {
        std::iter::from_fn(|| share.try_reserve(BLOCK)).collect()
    }

    #[test]
    fn one_alone_has_plenty_and_a_hundred_leave_room() {
        let budget = Budget::new(256 * MIB);
        let alone = fill(&budget.share());
        assert!(alone.len() * BLOCK > 32 * MIB, "{}", alone.len());
        drop(alone);
        assert_eq!(budget.free_bytes(), 256 * MIB);

        let twenty: Vec<_> = (0..20).map(|_| budget.share()).collect();
        let held: Vec<_> = twenty.iter().map(|share| fill(share).len()).collect();
        assert!(held.iter().all(|blocks| *blocks >= 2));

        let stalled: Vec<_> = (0..100).map(|_| budget.share()).map(|share| (fill(&share), share)).collect();
        assert!(stalled.iter().all(|(held, _)| held.len() >= 2));
        assert!(budget.free_bytes() > 16 * MIB, "{}", budget.free_bytes());
        assert!(fill(&budget.share()).len() >= 2);
    }

    #[test]
    fn patience_shrinks_with_room() {
        let budget = Budget::new(64 * MIB);
        let usual = Duration::from_secs(30);
        assert_eq!(budget.patience(usual), usual);
        let shares: Vec<_> = (0..200).map(|_| budget.share()).collect();
        let mut held = Vec::new();
        let (mut seen, mut last) = (vec![usual], usual);
        for share in &shares {
            held.extend(fill(share));
            if budget.patience(usual) != last {
                last = budget.patience(usual);
                seen.push(last);
            }
        }
        assert_eq!(seen, [usual, SHORT_PATIENCE, LEAST_PATIENCE]);
        assert_eq!(budget.patience(Duration::from_millis(1)), Duration::from_millis(1));
    }

    #[tokio::test]
    async fn what_quic_still_holds_counts() {
        let share = Budget::new(MIB).share();
        let block = share.reserve(BLOCK).await.attach(Bytes::from(vec![1; BLOCK]));
        let unacknowledged = block.slice(BLOCK - 1..);
        drop(block);
        assert_eq!(share.budget().free_bytes(), MIB - BLOCK);
        drop(unacknowledged);
        assert_eq!(share.budget().free_bytes(), MIB);
        let mut small = share.reserve(BLOCK).await;
        small.shrink(5000);
        assert_eq!(share.budget().free_bytes(), MIB - 5 * UNIT_BYTES);
        assert!(small.attach(Bytes::new()).is_empty());
        assert_eq!(share.budget().free_bytes(), MIB);
    }

    #[tokio::test]
    async fn those_who_wait_get_their_turn() {
        let share = Budget::new(MIB).share();
        let first = fill(&share);
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let share = share.clone();
                tokio::spawn(async move { drop(share.reserve(BLOCK).await) })
            })
            .collect();
        tokio::task::yield_now().await;
        // One that gives up in between must not take its wake-up with it.
        waiting[0].abort();
        drop(first);
        for task in waiting.into_iter().skip(1) {
            task.await.unwrap();
        }
        assert_eq!(share.budget().free_bytes(), MIB);
    }

    #[tokio::test]
    async fn a_full_budget_makes_newcomers_wait() {
        let budget = Budget::new(2 * LEAST_SHARE_BYTES);
        let (one, two, three) = (budget.share(), budget.share(), budget.share());
        let held = (fill(&one), fill(&two));
        assert_eq!((held.0.len(), held.1.len()), (2, 2));
        assert!(three.try_reserve(1).is_none());
        let waiting = tokio::spawn(async move { three.reserve(BLOCK).await });
        tokio::task::yield_now().await;
        drop(held.0);
        waiting.await.unwrap();
    }
}
