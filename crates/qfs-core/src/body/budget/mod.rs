//! A bound on the file contents that a process holds: read and not yet acknowledged by whom they are for.
//!
//! A block counts from before it is read until the last reference to it is gone, the one that QUIC keeps for sending it
//! again included. Readers that stand still cannot take everything: a share may hold the less, the less is free.
//!
//! What is scarce is room times time. So the budget keeps for each share how long it usually holds what it is given. Those
//! who hold on have a block each and never the last quarter, so that a client that takes much is not slowed down by a crowd
//! that asks again and again and takes little.

mod room;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use self::room::{Level, Purpose, Room, Taken};
use crate::store::BLOCK_BYTES;

/// What is counted, in bytes; reservations are rounded up to it.
const UNIT_BYTES: usize = 1024;

/// What a share may always hold, in bytes, once it is its turn: a block on its way and the next one being read.
const LEAST_SHARE_BYTES: usize = 2 * BLOCK_BYTES as usize;

/// What a connection costs beside the contents that it holds, in bytes: what QUIC keeps for sending, its tables of streams, and
/// tasks. A heap profile of a thousand that stalled has 145 KiB for each; not all is charged, since half of the budget is for
/// contents, and many that stand still are what this is for.
const CONNECTION_BYTES: usize = 124 << 10;

/// Who usually holds longer than this is slow.
const SLOW: Duration = Duration::from_secs(1);

/// What is assumed of who has not given anything back yet: quick, and slow after holding on twice.
const NEWCOMER: Duration = Duration::from_millis(700);

/// How many of the slow open files and read at once, so that the quick do not wait for threads and disks behind a crowd.
const SLOW_TURNS: usize = 2;

/// The units of a block.
const BLOCK_UNITS: usize = BLOCK_BYTES as usize / UNIT_BYTES;

/// Patience with a reader that takes nothing, when more than half of the budget is in use.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);
/// The same, when three quarters are, which is all that those who hold on can have.
const LEAST_PATIENCE: Duration = Duration::from_secs(3);

/// The bound, for all connections of a process.
#[derive(Debug)]
pub struct Budget {
    room: Arc<Room>,
    /// Those of the slow who may open and read now. Nothing closes it.
    turns: Arc<Semaphore>,
}

impl Budget {
    /// A budget of `bytes`, at least one share's.
    #[must_use]
    pub fn new(bytes: usize) -> Arc<Self> {
        let units = bytes.max(LEAST_SHARE_BYTES).div_ceil(UNIT_BYTES);
        Arc::new(Self { room: Room::new(units), turns: Arc::new(Semaphore::new(SLOW_TURNS)) })
    }

    /// A share, for one connection. What the connection itself costs is charged to the budget, up to half of it.
    #[must_use]
    pub fn share(self: &Arc<Self>) -> Share {
        let account = Account {
            _kept: self.keep(),
            budget: Arc::clone(self),
            held: AtomicUsize::new(0),
            usual: AtomicU64::new(NEWCOMER.as_micros() as u64),
            released: Notify::new(),
        };
        Share { account: Arc::new(account) }
    }

    /// Bytes not in use.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.room.level().free * UNIT_BYTES
    }

    /// Takes what a connection costs, as long as enough is left for contents; a connection that is let in is not refused for it.
    fn keep(&self) -> Option<Taken> {
        let units = CONNECTION_BYTES.div_ceil(UNIT_BYTES);
        let all = self.room.units();
        let least = (all / 2).max(2 * LEAST_SHARE_BYTES / UNIT_BYTES);
        (self.room.level().contents >= least + units).then(|| self.room.try_take(units, Purpose::Kept)).flatten()
    }

    /// How long to bear with a reader that takes nothing, where `usual` is the answer while there is room. What such readers
    /// hold is missing to the others.
    #[must_use]
    pub fn patience(&self, usual: Duration) -> Duration {
        let Level { free, contents, .. } = self.room.level();
        match free as f64 / contents as f64 {
            // A quarter is what one kind leaves to the other, whole blocks or not.
            ..0.3 => usual.min(LEAST_PATIENCE),
            ..0.5 => usual.min(SHORT_PATIENCE),
            _ => usual,
        }
    }

    /// Most units one share may hold now. For a quick one that is half of what the slow leave while nothing is in use, and less
    /// with the fourth power of what is free of it. So one alone fills the longest path, twenty have a good deal each, and a
    /// hundred that stand still leave room for one that does not. A slow one has a block as soon as a quarter is in use; those
    /// who stand still lose patience's race (see [`Self::patience`]).
    fn limit(&self, purpose: Purpose) -> usize {
        let Level { free, contents, slow } = self.room.level();
        if purpose == Purpose::Slow && free * 4 < contents * 3 {
            return BLOCK_UNITS;
        }
        // What is free is never more than what the slow do not have.
        let left = (contents - slow) as f64;
        // Positive and at most half of `units`.
        let limit = (left / 2.0 * (free as f64 / left.max(1.0)).powi(4)) as usize;
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
    /// What is kept for the connection itself.
    _kept: Option<Taken>,
    /// Units reserved.
    held: AtomicUsize,
    /// For how long contents were held, lately, in microseconds.
    usual: AtomicU64,
    released: Notify,
}

impl Share {
    /// A share of a budget of its own that no one reaches.
    #[must_use]
    pub fn unlimited() -> Self {
        Budget::new(usize::MAX / 2).share()
    }

    /// The budget this is a share of.
    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        &self.account.budget
    }

    /// Waits until it is this share's turn to have a file opened or read, and for nothing else: a client must not be waited for
    /// while one has a turn. The quick always have one.
    pub async fn turn(&self) -> Turn {
        match self.account.purpose() {
            Purpose::Slow => Turn(Arc::clone(&self.account.budget.turns).acquire_owned().await.ok()),
            _ => Turn(None),
        }
    }

    /// The turn of a quick one, which needs no waiting.
    #[must_use]
    pub fn quick_turn(&self) -> Option<Turn> {
        (self.account.purpose() != Purpose::Slow).then_some(Turn(None))
    }

    /// Reserves `bytes`, at most two blocks, waiting its turn. A caller that waits must not hold what it could send.
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
        let taken = self.account.budget.room.take(units, self.account.purpose()).await;
        Reservation { taken, held, since: Instant::now() }
    }

    /// Reserves `bytes` if that needs no waiting.
    #[must_use]
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        let units = to_units(bytes);
        let held = self.hold(units)?;
        let taken = self.account.budget.room.try_take(units, self.account.purpose())?;
        Some(Reservation { taken, held, since: Instant::now() })
    }

    fn hold(&self, units: usize) -> Option<Held> {
        let limit = self.account.budget.limit(self.account.purpose());
        // The first is always let in, whatever it is.
        let fits = |held: usize| (held == 0 || held + units <= limit).then_some(held + units);
        self.account.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Held { account: Arc::clone(&self.account), units })
    }
}

/// Room for some bytes; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    /// Declared first, so that it is given back first: whoever the share wakes finds it.
    taken: Taken,
    held: Held,
    since: Instant,
}

/// The leave to have a file opened or read; given back when dropped.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>);

impl Reservation {
    /// Gives back what `bytes` do not need.
    pub fn shrink(&mut self, bytes: usize) {
        let excess = self.held.units.saturating_sub(to_units(bytes));
        if excess > 0 {
            self.taken.give_back(excess);
            self.held.units -= excess;
            self.held.account.release(excess);
        }
    }

    /// `bytes`, which keep this room until the last reference to them is gone.
    #[must_use]
    pub fn attach(self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() { bytes } else { Bytes::from_owner(Charged { bytes, reservation: self }) }
    }
}

#[derive(Debug)]
struct Held {
    account: Arc<Account>,
    units: usize,
}

impl Account {
    /// For how long contents are usually held.
    fn usual(&self) -> Duration {
        Duration::from_micros(self.usual.load(Ordering::Relaxed))
    }

    fn purpose(&self) -> Purpose {
        if self.usual() < SLOW { Purpose::Quick } else { Purpose::Slow }
    }

    /// Notes for how long `units` were held: a mean in which a block weighs a quarter, and less what is smaller, so that nobody
    /// looks quick by a few small files. Of two at once one may be lost, which does no harm.
    fn note(&self, held: Duration, units: usize) {
        let held = held.as_micros().min(u128::from(u32::MAX)) as u64;
        let (weight, whole) = (units.min(BLOCK_UNITS) as u64, 4 * BLOCK_UNITS as u64);
        let usual = (self.usual.load(Ordering::Relaxed) * (whole - weight) + held * weight) / whole;
        self.usual.store(usual, Ordering::Relaxed);
    }

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
    reservation: Reservation,
}

impl Drop for Charged {
    fn drop(&mut self) {
        let Reservation { held, since, .. } = &self.reservation;
        held.account.note(since.elapsed(), held.units);
    }
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

    /// A share of one who holds what it is given for a moment.
    fn quick(budget: &Arc<Budget>) -> Share {
        let share = budget.share();
        (0..20).for_each(|_| share.account.note(Duration::from_millis(1), BLOCK_UNITS));
        share
    }

    /// A share of one who has held on twice.
    fn slow(budget: &Arc<Budget>) -> Share {
        let share = budget.share();
        (0..2).for_each(|_| share.account.note(Duration::from_secs(2), BLOCK_UNITS));
        share
    }

    /// Reserves blocks until there are no more.
    fn fill(share: &Share) -> Vec<Reservation> {
        std::iter::from_fn(|| share.try_reserve(BLOCK)).collect()
    }

    #[test]
    fn one_alone_has_plenty_and_a_hundred_leave_room() {
        let budget = Budget::new(256 * MIB);
        let alone = fill(&quick(&budget));
        assert!(alone.len() * BLOCK > 32 * MIB, "{}", alone.len());
        drop(alone);
        assert_eq!(budget.free_bytes(), 256 * MIB);

        let twenty: Vec<_> = (0..20).map(|_| quick(&budget)).collect();
        let held: Vec<_> = twenty.iter().map(|share| fill(share).len()).collect();
        assert!(held.iter().all(|blocks| *blocks >= 2));

        let stalled: Vec<_> = (0..100).map(|_| slow(&budget)).map(|share| (fill(&share), share)).collect();
        assert!(stalled.iter().all(|(held, _)| !held.is_empty()));
        assert!(budget.free_bytes() > 16 * MIB, "{}", budget.free_bytes());
        assert!(fill(&quick(&budget)).len() >= 2);
        assert_eq!(fill(&slow(&budget)).len(), 1);
        assert!(fill(&budget.share()).len() >= 2, "a newcomer");
    }

    #[test]
    fn patience_shrinks_with_room() {
        let budget = Budget::new(64 * MIB);
        let usual = Duration::from_secs(30);
        assert_eq!(budget.patience(usual), usual);
        let shares: Vec<_> = (0..400).map(|n| if n % 2 == 0 { slow(&budget) } else { quick(&budget) }).collect();
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
        let share = Budget::new(4 * MIB).share();
        let all = 4 * MIB - CONNECTION_BYTES;
        assert_eq!(share.budget().free_bytes(), all);
        let block = share.reserve(BLOCK).await.attach(Bytes::from(vec![1; BLOCK]));
        let unacknowledged = block.slice(BLOCK - 1..);
        drop(block);
        assert_eq!(share.budget().free_bytes(), all - BLOCK);
        drop(unacknowledged);
        assert_eq!(share.budget().free_bytes(), all);
        let mut small = share.reserve(BLOCK).await;
        small.shrink(5000);
        assert_eq!(share.budget().free_bytes(), all - 5 * UNIT_BYTES);
        assert!(small.attach(Bytes::new()).is_empty());
        assert_eq!(share.budget().free_bytes(), all);
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
        let budget = Arc::clone(share.budget());
        drop(share);
        assert_eq!(budget.free_bytes(), MIB);
    }

    /// Fails when: who is slow may have everything; what connections cost is not charged, or takes the room of contents.
    #[tokio::test]
    async fn a_crowd_that_holds_on_does_not_stop_one_that_gives_back() {
        let budget = Budget::new(64 * MIB);
        let crowd: Vec<_> = (0..1000).map(|_| slow(&budget)).collect();
        assert!(budget.free_bytes() >= 32 * MIB, "half is left for contents: {}", budget.free_bytes());
        let honest = budget.share();
        // Every one of them holds a block, or waits for one.
        let held: Vec<_> = crowd.iter().map_while(|share| share.try_reserve(BLOCK)).collect();
        for share in &crowd[held.len()..] {
            let share = share.clone();
            tokio::spawn(async move { std::mem::forget(share.reserve(BLOCK).await) });
        }
        let in_line = crowd.len() - held.len();
        assert!(in_line > 100, "{in_line}");
        while budget.room.waiting() != in_line {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            assert!(fill(&honest).len() >= 4);
            drop(honest.reserve(BLOCK).await);
        }
        assert_eq!(budget.room.waiting(), in_line);
    }

    #[test]
    fn small_files_make_nobody_look_quick() {
        let budget = Budget::new(64 * MIB);
        let share = budget.share();
        (0..20).for_each(|_| share.account.note(Duration::from_secs(3), BLOCK_UNITS));
        (0..50).for_each(|_| share.account.note(Duration::ZERO, 1));
        assert!(share.account.usual() > SLOW);
        (0..20).for_each(|_| share.account.note(Duration::ZERO, BLOCK_UNITS));
        assert!(share.account.usual() < SLOW / 10);
    }

    #[tokio::test]
    async fn a_full_budget_makes_newcomers_wait() {
        let budget = Budget::new(2 * LEAST_SHARE_BYTES);
        let (one, two, three) = (quick(&budget), slow(&budget), slow(&budget));
        let held = (fill(&one), fill(&quick(&budget)), fill(&two));
        assert_eq!((held.0.len(), held.1.len(), held.2.len()), (2, 1, 1));
        assert!(three.try_reserve(1).is_none());
        let waiting = tokio::spawn(async move { three.reserve(BLOCK).await });
        tokio::task::yield_now().await;
        drop(held.0);
        waiting.await.unwrap();
    }
}
