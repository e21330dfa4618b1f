//! A file being put together from pieces that arrive in any order, and from holes.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::coverage::Kind;
use super::progress::Progress;
use super::{Stage, Stages};
use crate::model::{Digest, HashKind, Holes, Part, Scratch};
use crate::offload::Threads;
use crate::store::{StagedObject, StoreError};
use crate::stream::Chunk;

/// Bytes between two records of the frontier: what a killed client fetches again at most, for each file under way.
const RECORD_BYTES: u64 = 8 << 20;

/// Bytes of a hole that a write hashes besides, some 10 ms: what arrives does not wait for more, and the rest is hashed later.
const HOLE_STEP_BYTES: u64 = 16 << 20;

/// Writes pieces at their offsets and hashes them: a SHA-256 behind the contiguous frontier, a BLAKE3 as they come. Several
/// streams may feed one assembly. All methods block.
pub struct Assembly {
    stage: Arc<dyn StagedObject>,
    size: u64,
    progress: Mutex<Progress>,
    /// Whether parts are hashed apart: told without waiting for a SHA-256, which is made under the lock.
    is_tree: AtomicBool,
    /// As many as there are threads that hash at once.
    scratches: Mutex<Vec<Scratch>>,
    stages: Arc<Stages>,
    threads: Threads,
}

impl Assembly {
    /// Starts, or goes on where a former run stopped: what it recorded is read back and hashed, never trusted. For a SHA-256.
    ///
    /// # Errors
    /// What reading back failed with, unless the bytes are not there: then it starts anew.
    pub fn new(stage: Arc<dyn StagedObject>, size: u64, threads: Threads) -> Result<Self, StoreError> {
        Self::of_kind(HashKind::Sha256, stage, size, threads)
    }

    /// As [`Self::new`], for a digest of `kind`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_kind(
        kind: HashKind,
        stage: Arc<dyn StagedObject>,
        size: u64,
        threads: Threads,
    ) -> Result<Self, StoreError> {
        let recorded = stage.recorded_frontier().min(size);
        let mut progress = Progress::new(kind, size, recorded);
        match progress.hash_stored(&*stage, recorded) {
            Ok(()) => {}
            Err(StoreError::Changed) => {
                progress = Progress::new(kind, size, 0);
                stage.record_frontier(0)?;
            }
            Err(error) => return Err(error),
        }
        let (progress, scratches) = (Mutex::new(progress), Mutex::default());
        let is_tree = AtomicBool::new(kind == HashKind::Blake3);
        Ok(Self { stage, size, progress, is_tree, scratches, stages: Arc::default(), threads })
    }

    /// What its digest is made with.
    #[must_use]
    pub fn kind(&self) -> HashKind {
        self.lock().kind()
    }

    /// Goes on for a digest of `kind`. Where it was for another, what is there is read back and hashed anew.
    ///
    /// # Errors
    /// What reading back failed with.
    pub fn hash_as(&self, kind: HashKind) -> Result<(), StoreError> {
        let mut progress = self.lock();
        if progress.kind() == kind {
            return Ok(());
        }
        progress.start_over(kind, self.size);
        self.is_tree.store(kind == HashKind::Blake3, Ordering::Relaxed);
        self.advance(&mut progress, HOLE_STEP_BYTES)
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

    /// Writes pieces of the file. Their offsets count from the file's start. What is there already is not written again: the
    /// first that came is what was or will be hashed.
    ///
    /// # Errors
    /// What writing failed with.
    pub fn write(&self, mut pieces: Vec<Chunk>) -> Result<(), StoreError> {
        pieces.sort_unstable_by_key(|piece| piece.offset);
        let mut rest = &pieces[..];
        while !rest.is_empty() {
            let (run, behind) = rest.split_at(contiguous(rest));
            self.write_new(run)?;
            rest = behind;
        }
        Ok(())
    }

    /// Makes `holes` read as zeros where nothing was written. Bytes that were missing and are not any more.
    ///
    /// # Errors
    /// What writing failed with.
    pub fn write_holes(&self, holes: &Holes) -> Result<u64, StoreError> {
        let mut filled = 0;
        for hole in holes.iter() {
            let missing = self.lock().missing_in(hole.start..hole.end.min(self.size));
            for part in missing {
                self.stage.write_zeros(part.clone())?;
                filled += part.end - part.start;
                let mut progress = self.lock();
                progress.beyond.add(part, Kind::Zeros);
            }
        }
        self.advance(&mut self.lock(), HOLE_STEP_BYTES)?;
        Ok(filled)
    }

    /// Writes what of `run`, pieces without a gap between them, is not there yet.
    fn write_new(&self, run: &[Chunk]) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
        let whole = first.offset..last.offset + last.bytes.len() as u64;
        let missing = self.lock().missing_in(whole.clone());
        if missing[..] == [whole] {
            return self.write_run(run);
        }
        for part in missing {
            let within = run.iter().filter_map(|piece| clip(piece, &part));
            self.write_run(&within.collect::<Vec<_>>())?;
        }
        Ok(())
    }

    fn write_run(&self, run: &[Chunk]) -> Result<(), StoreError> {
        let Some(first) = run.first() else { return Ok(()) };
        let start = first.offset;
        let bytes: Vec<_> = run.iter().map(|piece| piece.bytes.clone()).collect();
        let end = start + bytes.iter().map(|b| b.len() as u64).sum::<u64>();
        // Beside what other threads write and hash, and while it is warm.
        let part = self.hash_apart(start, &bytes);
        self.stages.time(Stage::Writing, || self.stage.write_at(start, &bytes))?;

        let mut progress = self.lock();
        let is_hashed = part.is_some_and(|part| progress.add(part));
        if start != progress.frontier {
            progress.beyond.add(start..end, if is_hashed { Kind::Hashed } else { Kind::Stored });
        } else if is_hashed {
            progress.frontier = end;
        } else {
            self.stages.time(Stage::Hashing, || progress.append(&bytes));
        }
        // More than what was written where a hole at the frontier is still being hashed.
        self.advance(&mut progress, HOLE_STEP_BYTES)
    }

    /// Hashes what belongs at `start`, where its digest can be made of parts in any order.
    fn hash_apart(&self, start: u64, bytes: &[Bytes]) -> Option<Part> {
        if !self.is_tree.load(Ordering::Relaxed) || !self.lock().takes_parts() {
            return None;
        }
        let scratches = || self.scratches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = scratches().pop().unwrap_or_default();
        let part = self.stages.time(Stage::Hashing, || Part::hash(self.size, start, bytes, &mut scratch));
        scratches().push(scratch);
        Some(part)
    }

    /// Moves the frontier over what adjoins it, but over `zeros` bytes of holes at most.
    fn advance(&self, progress: &mut Progress, zeros: u64) -> Result<(), StoreError> {
        if progress.beyond.first().is_some_and(|(start, ..)| start == progress.frontier) {
            self.stages.time(Stage::Hashing, || progress.hash_adjoining(&*self.stage, zeros))?;
        }
        if progress.frontier - progress.recorded >= RECORD_BYTES && progress.frontier < self.size {
            self.stage.record_frontier(progress.frontier)?;
            progress.recorded = progress.frontier;
        }
        Ok(())
    }

    /// The parts of the file that are missing, in order. Two of them with nothing but a hole between them are one part, which costs
    /// no more to ask for.
    #[must_use]
    pub fn missing(&self) -> Vec<Range<u64>> {
        self.missing_in(&(0..self.size))
    }

    /// As [`Self::missing`], of `range` alone.
    #[must_use]
    pub fn missing_in(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let progress = self.lock();
        let missing = progress.missing_in(range.clone());
        let mut joined: Vec<Range<u64>> = Vec::new();
        for part in missing {
            match joined.last_mut() {
                Some(last) if progress.beyond.is_zeros(&(last.end..part.start)) => last.end = part.end,
                _ => joined.push(part),
            }
        }
        joined
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

    /// Hashes what of holes is left to hash, for as long as that takes, and what waits behind it.
    ///
    /// # Errors
    /// What reading back failed with.
    pub fn finish(&self) -> Result<(), StoreError> {
        self.advance(&mut self.lock(), u64::MAX)
    }

    /// The digest of the file, or None while something is missing; where there were holes, behind [`Self::finish`].
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        let progress = self.lock();
        if progress.frontier == self.size { progress.digest() } else { None }
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

/// How many pieces from the first on follow each other without a gap.
fn contiguous(pieces: &[Chunk]) -> usize {
    let touch = |pair: &[Chunk]| pair[0].offset + pair[0].bytes.len() as u64 == pair[1].offset;
    1 + pieces.windows(2).take_while(|pair| touch(pair)).count()
}

/// What of `piece` lies in `range`.
fn clip(piece: &Chunk, range: &Range<u64>) -> Option<Chunk> {
    let end = piece.offset + piece.bytes.len() as u64;
    let (start, end) = (piece.offset.max(range.start), end.min(range.end));
    // Both differences are at most the length of the piece.
    let place = |offset: u64| (offset - piece.offset) as usize;
    (start < end).then(|| Chunk { offset: start, bytes: piece.bytes.slice(place(start)..place(end)) })
}
