//! A file being put together from pieces that arrive in any order, and from holes.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use bytes::Bytes;

use super::coverage::Kind;
use super::places::{Next, Places};
use super::running::Running;
use super::{Stage, Stages};
use crate::model::{Digest, HashKind, Holes, Part, Scratch};
use crate::offload::Threads;
use crate::store::{StagedObject, StoreError};
use crate::stream::Chunk;

/// Bytes between two records of the frontier: what a killed client fetches again at most, for each file under way.
const RECORD_BYTES: u64 = 8 << 20;

/// Bytes read back at once: to hash what arrived early, and what a former run left.
const READ_BACK_BYTES: u64 = 256 << 10;

/// Bytes of a hole that a write hashes besides, some 10 ms: what arrives does not wait for more, and the rest is hashed later.
const HOLE_STEP_BYTES: u64 = 16 << 20;

/// Writes pieces at their offsets and hashes them: a SHA-256 behind the contiguous frontier, a BLAKE3 as they come. Several
/// streams may feed one assembly: while one thread makes the SHA-256, the others write. All methods block.
pub struct Assembly {
    stage: Arc<dyn StagedObject>,
    size: u64,
    /// Where pieces are.
    places: Mutex<Places>,
    /// The digest. Whoever holds it hashes what adjoins the frontier and moves that. Whoever writes meanwhile relies on that, so that
    /// [`Self::advance`] follows wherever it was held while others may write: not at the end, nor at the start. It is locked before
    /// `places`, never behind.
    running: Mutex<Running>,
    /// Whether parts are hashed apart: told without waiting for a SHA-256.
    is_tree: AtomicBool,
    /// Held while a piece is copied to the file. The kernel lets one thread at a time write to a file, and who waits for that burns a
    /// processor: behind this lock it sleeps.
    turn: Mutex<()>,
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
        let assembly = Self {
            stage,
            size,
            places: Mutex::new(Places::new(recorded)),
            running: Mutex::new(Running::new(kind, size)),
            is_tree: AtomicBool::new(kind == HashKind::Blake3),
            turn: Mutex::default(),
            scratches: Mutex::default(),
            stages: Arc::default(),
            threads,
        };
        assembly.places().add(0..recorded, Kind::Stored);
        match assembly.hash_adjoining(&mut assembly.running(), 0) {
            Ok(()) => {}
            Err(StoreError::Changed) => {
                *assembly.running() = Running::new(kind, size);
                *assembly.places() = Places::new(0);
                assembly.stage.record_frontier(0)?;
            }
            Err(error) => return Err(error),
        }
        Ok(assembly)
    }

    /// What its digest is made with.
    #[must_use]
    pub fn kind(&self) -> HashKind {
        if self.is_tree.load(Ordering::Relaxed) { HashKind::Blake3 } else { HashKind::Sha256 }
    }

    /// Goes on for a digest of `kind`. Where it was for another, what is there is read back and hashed anew.
    ///
    /// # Errors
    /// What reading back failed with.
    pub fn hash_as(&self, kind: HashKind) -> Result<(), StoreError> {
        let mut running = self.running();
        if self.kind() == kind {
            return Ok(());
        }
        *running = Running::new(kind, self.size);
        self.places().start_over();
        self.is_tree.store(kind == HashKind::Blake3, Ordering::Relaxed);
        drop(running);
        self.advance(true)
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
            let missing = self.places().missing_in(hole.start..hole.end.min(self.size));
            for part in missing {
                self.stage.write_zeros(part.clone())?;
                filled += part.end - part.start;
                self.places().add(part, Kind::Zeros);
            }
        }
        self.advance(true)?;
        Ok(filled)
    }

    /// Writes what of `run`, pieces without a gap between them, is not there yet.
    fn write_new(&self, run: &[Chunk]) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
        let whole = first.offset..last.offset + last.bytes.len() as u64;
        let missing = self.places().missing_in(whole.clone());
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
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.stages.time(Stage::Writing, || self.stage.write_at(start, &bytes))?;
        drop(turn);

        let is_hashed = part.is_some_and(|part| {
            let mut running = self.running();
            let is_added = running.add(part);
            if is_added {
                // Before another digest can be begun, for which this part does not count as hashed.
                self.places().add(start..end, Kind::Hashed);
            }
            is_added
        });
        let has_to_wait = !is_hashed && self.places().add_warm(start, bytes);
        self.advance(has_to_wait)
    }

    /// Hashes what belongs at `start`, where its digest can be made of parts in any order.
    fn hash_apart(&self, start: u64, bytes: &[Bytes]) -> Option<Part> {
        if !self.is_tree.load(Ordering::Relaxed) || !self.running().takes_parts() {
            return None;
        }
        let scratches = || self.scratches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = scratches().pop().unwrap_or_default();
        let part = self.stages.time(Stage::Hashing, || Part::hash(self.size, start, bytes, &mut scratch));
        scratches().push(scratch);
        Some(part)
    }

    /// Has what adjoins the frontier hashed, here or by whoever is hashing already: then this returns at once, unless it
    /// `has_to_wait`, so that no more waits in memory than may.
    fn advance(&self, has_to_wait: bool) -> Result<(), StoreError> {
        loop {
            let mut running = match self.running.try_lock() {
                Ok(running) => running,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) if has_to_wait => self.running(),
                // Whoever holds it looks once more behind its end for what came meanwhile.
                Err(TryLockError::WouldBlock) => return Ok(()),
            };
            // More than what was written where a hole at the frontier is still being hashed.
            self.hash_adjoining(&mut running, HOLE_STEP_BYTES)?;
            drop(running);
            if !self.places().is_more() {
                return Ok(());
            }
        }
    }

    /// Moves the frontier over what adjoins it, but over `zeros` bytes of holes at most.
    fn hash_adjoining(&self, running: &mut Running, mut zeros: u64) -> Result<(), StoreError> {
        loop {
            let (start, next) = {
                let mut places = self.places();
                (places.frontier(), places.next())
            };
            let end = match next {
                None => return Ok(()),
                Some(Next::Hashed(end)) => end,
                Some(Next::Warm(bytes)) => {
                    self.stages.time(Stage::Hashing, || running.append(start, &bytes));
                    start + bytes.iter().map(|piece| piece.len() as u64).sum::<u64>()
                }
                // The page cache is the buffer for what arrived early.
                Some(Next::Stored(range)) => {
                    let length = READ_BACK_BYTES.min(range.end - start);
                    self.stages.time(Stage::Hashing, || {
                        let bytes = self.stage.read_at(start, length as usize)?;
                        running.append(start, &[bytes]);
                        Ok::<_, StoreError>(())
                    })?;
                    start + length
                }
                Some(Next::Zeros(_)) if zeros == 0 => return Ok(()),
                Some(Next::Zeros(hole)) => {
                    let step = zeros.min(hole.end - start);
                    self.stages.time(Stage::Hashing, || running.append_zeros(start..start + step));
                    zeros -= step;
                    start + step
                }
            };
            self.places().pass(end);
            self.record_after(RECORD_BYTES)?;
        }
    }

    /// Records the frontier if it has moved by `bytes` since that was done. Only for whoever holds the digest.
    fn record_after(&self, bytes: u64) -> Result<(), StoreError> {
        let frontier = {
            let mut places = self.places();
            let frontier = places.frontier();
            // Behind what is recorded, bytes are being read back.
            if frontier.saturating_sub(places.recorded) < bytes || frontier >= self.size {
                return Ok(());
            }
            places.recorded = frontier;
            frontier
        };
        self.stage.record_frontier(frontier)
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
        let places = self.places();
        let missing = places.missing_in(range.clone());
        let mut joined: Vec<Range<u64>> = Vec::new();
        for part in missing {
            match joined.last_mut() {
                Some(last) if places.is_hole(&(last.end..part.start)) => last.end = part.end,
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
        let running = self.running();
        self.record_after(1)?;
        drop(running);
        self.advance(false)
    }

    /// As [`Self::record`], unless somebody is hashing, however long that takes: then nothing is done here, and what that somebody records
    /// on the way counts. For whoever must not wait. What is written in this very moment is hashed with what comes next, or by
    /// [`Self::finish`].
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn try_record(&self) -> Result<(), StoreError> {
        let _running = match self.running.try_lock() {
            Ok(running) => running,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        self.record_after(1)
    }

    /// Bytes written and hashed from the start without a gap.
    #[must_use]
    pub fn frontier(&self) -> u64 {
        self.places().frontier()
    }

    /// Hashes what of holes is left to hash, for as long as that takes, and what waits behind it.
    ///
    /// # Errors
    /// What reading back failed with.
    pub fn finish(&self) -> Result<(), StoreError> {
        self.hash_adjoining(&mut self.running(), u64::MAX)
    }

    /// As [`Self::finish`], but no further than over `zeros` bytes of holes, for whoever has to be able to give up in between. Whether nothing
    /// is left to hash.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_some(&self, zeros: u64) -> Result<bool, StoreError> {
        let mut running = self.running();
        self.hash_adjoining(&mut running, zeros)?;
        Ok(self.places().next().is_none())
    }

    /// The digest of the file, or None while something is missing; where there were holes, behind [`Self::finish`].
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        let running = self.running();
        if self.frontier() == self.size { running.digest() } else { None }
    }

    /// The staged object.
    #[must_use]
    pub fn stage(&self) -> &Arc<dyn StagedObject> {
        &self.stage
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
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
