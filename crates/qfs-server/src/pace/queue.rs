//! Those who wait until they may pass, one direction of one limit.
//!
//! The flows (clients) take turns by bytes: each piece is due when the flow's earlier ones would be through if all flows were as fast
//! (start-time fair queueing), so that one with many streams gets no more than one with a single stream.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::bucket::Bucket;
use super::limit::Timetable;

/// The clock on the wall: seconds into the day.
pub(super) type Wall = Arc<dyn Fn() -> u32 + Send + Sync>;

/// Longest wait without a look at the speed, which may have been changed, and at the clock, which may have been set.
const LOOK: Duration = Duration::from_secs(1);

/// How many pieces pass in a second, so that those who wait take turns often.
const PIECES_A_SECOND: u64 = 100;

/// The least and the largest piece, in bytes.
const PIECE: (u64, u64) = (1 << 10, 64 << 10);

/// The speed that was asked for, which may be changed while it is used.
#[derive(Debug, Default)]
pub(super) struct Table {
    table: Mutex<Timetable>,
    /// Grows with each change.
    version: AtomicU64,
    /// Whether there is a limit at any time.
    is_on: AtomicBool,
}

impl Table {
    pub(super) fn new(table: Timetable) -> Arc<Self> {
        Arc::new(Self { is_on: AtomicBool::new(!table.is_off()), table: Mutex::new(table), version: AtomicU64::new(1) })
    }

    pub(super) fn set(&self, table: Timetable) {
        let is_on = !table.is_off();
        *self.table.lock().unwrap_or_else(PoisonError::into_inner) = table;
        self.version.fetch_add(1, Ordering::Release);
        self.is_on.store(is_on, Ordering::Release);
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    fn at(&self, second: u32) -> (Option<NonZeroU64>, Duration) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).at(second)
    }
}

/// Whose bytes they are: when its next piece is due.
#[derive(Debug, Default)]
pub(super) struct Flow(AtomicU64);

/// Lets bytes pass at a speed.
pub(super) struct Queue {
    table: Arc<Table>,
    wall: Wall,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of the table that `speed` is from.
    version: u64,
    /// When to look at the clock again.
    look_at: Option<Instant>,
    speed: Option<NonZeroU64>,
    bucket: Option<Bucket>,
    /// By when they are due, and then in the order of their arrival.
    waiting: BTreeMap<(u64, u64), Arc<Notify>>,
    arrivals: u64,
    /// When the piece was due that passed last.
    passed: u64,
}

/// What one who waits is to do.
enum Step {
    Pass,
    Sleep(Duration),
    Wait,
}

impl Queue {
    pub(super) fn new(table: Arc<Table>, wall: Wall) -> Self {
        Self { table, wall, state: Mutex::default() }
    }

    /// The largest piece that passes at once, so that nobody is kept from passing for long.
    pub(super) fn piece(&self) -> usize {
        if !self.table.is_on() {
            return usize::MAX;
        }
        let speed = self.current(&mut self.lock(), Instant::now());
        // At most 64 KiB.
        speed.map_or(usize::MAX, |speed| (speed.get() / PIECES_A_SECOND).clamp(PIECE.0, PIECE.1) as usize)
    }

    /// Waits until it is the turn of `bytes` more of `flow`.
    pub(super) async fn pass(&self, flow: &Flow, bytes: usize) {
        if !self.table.is_on() {
            return;
        }
        let Some(place) = self.enter(flow, bytes) else { return };
        loop {
            match place.step(bytes) {
                Step::Pass => return,
                Step::Wait => place.called.notified().await,
                Step::Sleep(wait) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait.min(LOOK)) => {}
                        () = place.called.notified() => {}
                    }
                }
            }
        }
    }

    /// A place in the queue; None for one who may pass at once.
    fn enter(&self, flow: &Flow, bytes: usize) -> Option<Place<'_>> {
        let now = Instant::now();
        let mut state = self.lock();
        self.current(&mut state, now)?;
        let due = flow.0.load(Ordering::Relaxed).max(state.passed);
        // Written under the lock of this queue alone.
        flow.0.store(due.saturating_add(bytes as u64), Ordering::Relaxed);
        if state.waiting.is_empty()
            && let Some(bucket) = &mut state.bucket
            && bucket.wait(now) == Duration::ZERO
        {
            bucket.pass(bytes);
            state.passed = due;
            return None;
        }
        state.arrivals += 1;
        let key = (due, state.arrivals);
        let called = Arc::new(Notify::new());
        state.waiting.insert(key, Arc::clone(&called));
        // One that is due before all others takes the place of the one that sleeps for them; that one looks again when it is called.
        Some(Place { queue: self, key, called })
    }

    /// The speed now.
    fn current(&self, state: &mut State, now: Instant) -> Option<NonZeroU64> {
        let version = self.table.version.load(Ordering::Acquire);
        if state.version != version || state.look_at.is_none_or(|at| now >= at) {
            let (speed, left) = self.table.at((self.wall)());
            state.version = version;
            state.look_at = Some(now + left.min(LOOK));
            match (speed, &mut state.bucket) {
                (None, _) => state.bucket = None,
                (Some(speed), Some(bucket)) if state.speed != Some(speed) => bucket.set_speed(speed, now),
                (Some(_), Some(_)) => {}
                (Some(speed), none) => *none = Some(Bucket::new(speed, now)),
            }
            state.speed = speed;
        }
        state.speed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue, given up when dropped.
struct Place<'a> {
    queue: &'a Queue,
    key: (u64, u64),
    called: Arc<Notify>,
}

impl Place<'_> {
    fn step(&self, bytes: usize) -> Step {
        let now = Instant::now();
        let mut state = self.queue.lock();
        if state.waiting.keys().next() != Some(&self.key) {
            return Step::Wait;
        }
        if self.queue.current(&mut state, now).is_some()
            && let Some(bucket) = &mut state.bucket
        {
            match bucket.wait(now) {
                Duration::ZERO => bucket.pass(bytes),
                wait => return Step::Sleep(wait),
            }
        }
        state.passed = self.key.0;
        // The next is called when this place is given up.
        Step::Pass
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.waiting.remove(&self.key);
        if let Some(next) = state.waiting.values().next() {
            next.notify_one();
        }
    }
}
