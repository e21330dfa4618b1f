//! Chunk maps of the server's versions, in either direction: when one is worth it, and how long it is waited for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use qfs_core::chunks::{ChunkMap, MapError};
use qfs_core::wire::{ChunkMapHead, ChunkMapRequest, StatusCode};
use qfs_store::blocking;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::error::AttemptError;
use crate::session::{Lease, Session, delta};

/// Smallest file that is worth a map, in bytes: below it, what the map and the round trip for it cost is no less than what is saved.
const LEAST_BYTES: u64 = 1 << 20;

/// Where another version is less than this part of a file, the map costs about as much as it can save.
const LEAST_SHARE: u64 = 64;

/// How long a map is waited for, in addition to [`SLOWEST_MAP`]: then the file is transferred whole.
const PATIENCE: Duration = Duration::from_secs(10);

/// Slowest making of a map that is waited for, in bytes a second.
const SLOWEST_MAP: u64 = 64 << 20;

/// Files whose maps are had and compared at once. Each may take 21 MiB for the map, as much for its chunks, 32 MiB for those of
/// the seeds, and 100 MiB while they are compared, all of it for the largest maps; that of a file of 1 GiB is a sixteenth of that.
const AT_ONCE: usize = 2;

/// Whether a map is worth the trouble for a file of `size` bytes, where `other` bytes of other versions are at hand.
pub(super) fn is_worth_it(size: u64, other: u64) -> bool {
    size > LEAST_BYTES && other > 0 && other >= size / LEAST_SHARE
}

/// What all files of a run share for asking.
#[derive(Debug)]
pub(crate) struct Maps {
    /// Whether the server has said that it knows no maps.
    unknown: AtomicBool,
    turns: Semaphore,
}

impl Default for Maps {
    fn default() -> Self {
        Self { unknown: AtomicBool::new(false), turns: Semaphore::new(AT_ONCE) }
    }
}

/// A map as it came.
pub(super) struct Answer {
    pub(super) head: ChunkMapHead,
    /// Of the version that the head names.
    pub(super) map: ChunkMap,
    /// Bytes that it took on the way.
    pub(super) received: u64,
}

impl Maps {
    /// Whether the server may have maps.
    pub(super) fn may_be_had(&self) -> bool {
        !self.unknown.load(Ordering::Relaxed)
    }

    /// The leave to have a map and to compare with it.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.turns.acquire().await.ok()
    }

    /// Asks for a map of a file of about `size` bytes. None where the server gives none, or none that can be used.
    ///
    /// # Errors
    /// [`AttemptError::Lost`], and what a further attempt is needed for.
    pub(super) async fn ask(
        &self,
        session: &Session,
        lease: &Lease,
        request: ChunkMapRequest,
        size: u64,
    ) -> Result<Option<Answer>, AttemptError> {
        let patience = PATIENCE + Duration::from_secs(size / SLOWEST_MAP);
        let (head, bytes) = match timeout(patience, delta::chunk_map(session, lease, request, size)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(AttemptError::Remote(error))) if error.code == StatusCode::UNKNOWN_COMMAND => {
                self.unknown.store(true, Ordering::Relaxed);
                return Ok(None);
            }
            // Whatever is wrong with the file shows when all of it is transferred.
            Ok(Err(error @ (AttemptError::Remote(_) | AttemptError::Protocol(_)))) => return Ok(without(&error)),
            Ok(Err(error)) => return Err(error),
            Err(elapsed) => return Ok(without(&elapsed)),
        };
        let received = bytes.len() as u64;
        match blocking(move || Ok(ChunkMap::decode(&bytes))).await? {
            Ok(map) if map.size() == head.size => Ok(Some(Answer { head, map, received })),
            Ok(_) => Ok(without(&MapError::Size(head.size))),
            Err(error) => Ok(without(&error)),
        }
    }
}

/// Goes on without a map.
pub(super) fn without<T>(why: &dyn std::fmt::Display) -> Option<T> {
    tracing::debug!(%why, "transferred without a map");
    None
}
