//! A file being put together from pieces that arrive in any order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Stage, Stages};
use crate::model::{Digest, Hasher};
use crate::offload::Threads;
use crate::store::{StagedObject, StoreError};
use crate::stream::Chunk;

/// Bytes between two records of the frontier: what a killed client fetches again at most, for each file under way.
const RECORD_BYTES: u64 = 8 << 20;

/// Bytes read back at once: to hash what arrived early, and what a former run left.
const READ_BACK_BYTES: u64 = 256 << 10;

/// Writes pieces at their offsets and hashes behind the contiguous frontier. Several streams may feed one assembly. All
/// methods block.
pub struct Assembly {
    stage: Arc<dyn StagedObject>,
    size: u64,
    progress: Mutex<Progress>,
    stages: Arc<Stages>,
    threads: Threads,
}

struct Progress {
    hasher: Hasher,
    /// All bytes before this are written and hashed.
    frontier: u64,
    /// Written beyond the frontier: start → end, disjoint and not touching.
    beyond: BTreeMap<u64, u64>,
    /// The frontier last recorded on disk.
    recorded: u64,
}

impl Assembly {
    /// Starts, or goes on where a former run stopped: what it recorded is read back and hashed, never trusted.
    ///
    /// # Errors
    /// What reading back failed with, unless the bytes are not there: then it starts anew.
    pub fn new(stage: Arc<dyn StagedObject>, size: u64, threads: Threads) -> Result<Self, StoreError> {
        let recorded = stage.recorded_frontier().min(size);
        let mut progress = Progress { hasher: Hasher::new(), frontier: 0, beyond: BTreeMap::new(), recorded };
        match hash_stored(&*stage, &mut progress, recorded) {
            Ok(()) => {}
            Err(StoreError::Changed) => {
                progress = Progress { hasher: Hasher::new(), frontier: 0, beyond: BTreeMap::new(), recorded: 0 };
                stage.record_frontier(0)?;
            }
            Err(error) => return Err(error),
        }
        Ok(Self { stage, size, progress: Mutex::new(progress), stages: Arc::default(), threads })
    }

    /// Counts in `stages` what its pumps wait for, and its writing and hashing.
    #[must_use]
    pub fn counted_in(self, stages: Arc<Stages>) -> Self {
        Self { stages, ..self }
    }

    /// Where it counts.
    pub(super) fn stages(&self) -> &Stages {
        &self.stages
    }

    /// Where its pump has it write.
    pub(super) fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Writes pieces of the file. Their offsets count from the file's start; no byte was written before.
    ///
    /// # Errors
    /// What writing failed with.
    pub fn write(&self, mut pieces: Vec<Chunk>) -> Result<(), StoreError> {
        pieces.sort_unstable_by_key(|piece| piece.offset);
        let mut rest = &mut pieces[..];
        while !rest.is_empty() {
            let (run, behind) = rest.split_at_mut(contiguous(rest));
            self.write_run(run)?;
            rest = behind;
        }
        Ok(())
    }

    fn write_run(&self, run: &[Chunk]) -> Result<(), StoreError> {
        let Some(first) = run.first() else { return Ok(()) };
        let start = first.offset;
        let bytes: Vec<_> = run.iter().map(|piece| piece.bytes.clone()).collect();
        let end = start + bytes.iter().map(|b| b.len() as u64).sum::<u64>();
        self.stages.time(Stage::Writing, || self.stage.write_at(start, &bytes))?;

        let mut progress = self.lock();
        if start != progress.frontier {
            progress.add_beyond(start..end);
            return Ok(());
        }
        self.stages.time(Stage::Hashing, || {
            for piece in &bytes {
                progress.hasher.update(piece);
            }
            progress.frontier = end;
            // What arrived early and now touches the frontier is hashed from the file: the page cache is the buffer for it.
            while let Some(end) = progress.take_adjoining() {
                hash_stored(&*self.stage, &mut progress, end)?;
            }
            Ok::<_, StoreError>(())
        })?;
        if progress.frontier - progress.recorded >= RECORD_BYTES && progress.frontier < self.size {
            self.stage.record_frontier(progress.frontier)?;
            progress.recorded = progress.frontier;
        }
        Ok(())
    }

    /// The parts of the file not written yet, in order.
    #[must_use]
    pub fn missing(&self) -> Vec<Range<u64>> {
        let progress = self.lock();
        let mut missing = Vec::new();
        let mut position = progress.frontier;
        for (&start, &end) in &progress.beyond {
            missing.push(position..start);
            position = end;
        }
        if position < self.size {
            missing.push(position..self.size);
        }
        missing
    }

    /// Records how far the file is written, for a later run.
    ///
    /// # Errors
    /// What writing the record failed with.
    pub fn record(&self) -> Result<(), StoreError> {
        let mut progress = self.lock();
        if progress.frontier != progress.recorded && progress.frontier < self.size {
            self.stage.record_frontier(progress.frontier)?;
            progress.recorded = progress.frontier;
        }
        Ok(())
    }

    /// Bytes written and hashed from the start without a gap.
    #[must_use]
    pub fn frontier(&self) -> u64 {
        self.lock().frontier
    }

    /// The digest of the file, or None while something is missing.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        let progress = self.lock();
        (progress.frontier == self.size).then(|| progress.hasher.clone().finish())
    }

    /// The staged object.
    #[must_use]
    pub fn stage(&self) -> &Arc<dyn StagedObject> {
        &self.stage
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn add_beyond(&mut self, mut range: Range<u64>) {
        if let Some((&start, &end)) = self.beyond.range(..=range.start).next_back()
            && end == range.start
        {
            range.start = start;
        }
        if let Some(end) = self.beyond.remove(&range.end) {
            range.end = end;
        }
        self.beyond.insert(range.start, range.end);
    }

    /// The end of what was written right behind the frontier, if anything was.
    fn take_adjoining(&mut self) -> Option<u64> {
        self.beyond.remove(&self.frontier)
    }
}

/// How many pieces from the first on follow each other without a gap.
fn contiguous(pieces: &[Chunk]) -> usize {
    let touch = |pair: &[Chunk]| pair[0].offset + pair[0].bytes.len() as u64 == pair[1].offset;
    1 + pieces.windows(2).take_while(|pair| touch(pair)).count()
}

/// Hashes what is stored from the frontier up to `end` and moves the frontier there.
fn hash_stored(stage: &dyn StagedObject, progress: &mut Progress, end: u64) -> Result<(), StoreError> {
    while progress.frontier < end {
        let length = READ_BACK_BYTES.min(end - progress.frontier);
        let bytes = stage.read_at(progress.frontier, length as usize)?;
        progress.hasher.update(&bytes);
        progress.frontier += length;
    }
    Ok(())
}
