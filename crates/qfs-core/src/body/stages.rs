//! Where the time of a run goes, counted while bodies are received: what was waited for, and what worked.
//!
//! Read by whoever wants to know what limited a run. Costs two looks at the clock for each wait and each batch, nothing for a
//! packet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counters shared by all pumps of a run. Times of pumps that run side by side add up.
#[derive(Debug, Default)]
pub struct Stages {
    receiving: AtomicU64,
    network: AtomicU64,
    store: AtomicU64,
    writing: AtomicU64,
    hashing: AtomicU64,
    committing: AtomicU64,
    bytes: AtomicU64,
    late_bytes: AtomicU64,
}

/// What [`Stages`] counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Time in which a body was being received.
    pub receiving: Duration,
    /// Of it: nothing had come, and nothing else was waited for.
    pub network: Duration,
    /// Of it: nothing more was taken, because all that may wait for the store waited for it.
    pub store: Duration,
    /// Time in writes, on blocking threads.
    pub writing: Duration,
    /// Time in hashing, on blocking threads; of files that came in one piece it is part of `committing`.
    pub hashing: Duration,
    /// Time in which files that came in one piece were hashed, written and committed, on blocking threads.
    pub committing: Duration,
    /// Bytes that pumps received.
    pub bytes: u64,
    /// Of them: bytes that came behind others with a higher offset. They were sent again, or overtaken on the way.
    pub late_bytes: u64,
}

/// A stage of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Receiving a body, all of it.
    Receiving,
    /// Waiting for the network.
    Network,
    /// Waiting for the store.
    Store,
    /// Writing.
    Writing,
    /// Hashing.
    Hashing,
    /// Hashing, writing and committing a file that came in one piece.
    Committing,
}

impl Stages {
    /// Counts `time` for `stage`.
    pub fn add(&self, stage: Stage, time: Duration) {
        let counter = match stage {
            Stage::Receiving => &self.receiving,
            Stage::Network => &self.network,
            Stage::Store => &self.store,
            Stage::Writing => &self.writing,
            Stage::Hashing => &self.hashing,
            Stage::Committing => &self.committing,
        };
        // 2⁶⁴ ns are 584 years.
        counter.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts the time that `work` takes for `stage`.
    pub fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = work();
        self.add(stage, begun.elapsed());
        result
    }

    /// Counts received bytes, `late` ones among them.
    pub fn add_bytes(&self, bytes: u64, late: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.late_bytes.fetch_add(late, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn times(&self) -> StageTimes {
        let time = |counter: &AtomicU64| Duration::from_nanos(counter.load(Ordering::Relaxed));
        StageTimes {
            receiving: time(&self.receiving),
            network: time(&self.network),
            store: time(&self.store),
            writing: time(&self.writing),
            hashing: time(&self.hashing),
            committing: time(&self.committing),
            bytes: self.bytes.load(Ordering::Relaxed),
            late_bytes: self.late_bytes.load(Ordering::Relaxed),
        }
    }
}

/// What one pump waits for, and since when.
#[derive(Debug)]
pub(super) struct Waits {
    begun: Instant,
    /// The stage that the pump stands still for.
    since: Option<(Stage, Instant)>,
    bytes: u64,
    late_bytes: u64,
    /// End of the highest piece so far.
    highest: u64,
}

impl Waits {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), since: None, bytes: 0, late_bytes: 0, highest: 0 }
    }

    /// The pump stands still until `stage` goes on.
    pub(super) fn stand(&mut self, stage: Stage) {
        self.since = Some((stage, Instant::now()));
    }

    /// The pump goes on.
    pub(super) fn go_on(&mut self, stages: &Stages) {
        if let Some((stage, since)) = self.since.take() {
            stages.add(stage, since.elapsed());
        }
    }

    /// A piece arrived.
    pub(super) fn note(&mut self, offset: u64, length: u64) {
        self.bytes += length;
        if offset < self.highest {
            self.late_bytes += length;
        }
        self.highest = self.highest.max(offset + length);
    }

    /// The body has ended.
    pub(super) fn end(&mut self, stages: &Stages) {
        self.go_on(stages);
        stages.add(Stage::Receiving, self.begun.elapsed());
        stages.add_bytes(self.bytes, self.late_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when a stage is counted for another, or when what overtook is taken for what was late.
    #[test]
    fn every_stage_has_its_own_counter() {
        let stages = Stages::default();
        let all = [Stage::Receiving, Stage::Network, Stage::Store, Stage::Writing, Stage::Hashing, Stage::Committing];
        for (stage, n) in all.into_iter().zip(1..) {
            stages.add(stage, Duration::from_nanos(n));
        }
        let mut waits = Waits::new();
        for (offset, length) in [(0, 10), (20, 10), (10, 10), (30, 5)] {
            waits.note(offset, length);
        }
        stages.add_bytes(waits.bytes, waits.late_bytes);
        let nanos = Duration::from_nanos;
        assert_eq!(
            stages.times(),
            StageTimes {
                receiving: nanos(1),
                network: nanos(2),
                store: nanos(3),
                writing: nanos(4),
                hashing: nanos(5),
                committing: nanos(6),
                bytes: 35,
                late_bytes: 10,
            }
        );
    }
}
