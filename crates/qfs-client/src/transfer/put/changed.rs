//! What changed of a file that the server has in another version: which parts it can copy from there, and need not be sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use qfs_core::body;
use qfs_core::chunks::{ChunkMap, Limits, MapError, Seeds, Source, Step, assemble};
use qfs_core::model::ETag;
use qfs_core::store::{StoreError, Version};
use qfs_core::wire::{ChunkMapRequest, CopiedPart, Copies, StatusCode};
use qfs_store::blocking;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::error::{AttemptError, Failure, store_failure};
use crate::session::{Session, delta};

/// Smallest file that is worth a map, in bytes.
const LEAST_BYTES: u64 = 1 << 20;

/// Where what is there is less than this part of a file, the map costs about as much as it can save.
const LEAST_SHARE: u64 = 64;

/// How long a map is waited for, in addition to [`SLOWEST_MAP`]: then the whole is sent.
const PATIENCE: Duration = Duration::from_secs(10);

/// Slowest making of a map that is waited for, in bytes a second.
const SLOWEST_MAP: u64 = 64 << 20;

/// Files whose maps are compared at once; each may take some 150 MiB, for the largest maps.
const AT_ONCE: usize = 2;

/// What all uploads of a run share for it.
#[derive(Debug)]
pub(super) struct Means {
    /// Whether the server has said that it knows no maps.
    unknown: AtomicBool,
    turns: Semaphore,
}

impl Default for Means {
    fn default() -> Self {
        Self { unknown: AtomicBool::new(false), turns: Semaphore::new(AT_ONCE) }
    }
}

/// What the server can copy from the version that it has.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) etag: ETag,
    pub(super) copies: Copies,
    /// The version of the local file that was compared.
    pub(super) local: ETag,
    /// Bytes that the map took on the way.
    pub(super) received: u64,
}

impl Base {
    /// Bytes that are copied behind the first `offset` bytes.
    pub(super) fn reused(&self, offset: u64) -> u64 {
        let behind = |part: &CopiedPart| (part.at + part.length).saturating_sub(part.at.max(offset));
        self.copies.parts().iter().map(behind).sum()
    }
}

/// Compares `version` with what the server has of `name`: the version `etag`, of `there` bytes. None where nothing is gained by it, or the server gives no map.
///
/// # Errors
/// [`Failure::SourceChanged`], or what reading failed with.
pub(super) async fn compare(
    means: &Means,
    session: &Session,
    name: &str,
    version: &Arc<Version>,
    etag: &ETag,
    there: u64,
) -> Result<Option<Base>, Failure> {
    let size = version.meta().size;
    let is_worth_it = size > LEAST_BYTES && there >= size / LEAST_SHARE && there > 0;
    if !is_worth_it || means.unknown.load(Ordering::Relaxed) {
        return Ok(None);
    }
    // The semaphore is never closed.
    let _turn = means.turns.acquire().await.ok();
    let request = ChunkMapRequest { filename: name.to_owned(), if_match: Some(etag.clone()), priority: 0 };
    let lease = session.lease();
    let asked = delta::chunk_map(session, &lease, request, there);
    let patience = PATIENCE + Duration::from_secs(there / SLOWEST_MAP);
    let (head, bytes) = match timeout(patience, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(AttemptError::Remote(error))) if error.code == StatusCode::UNKNOWN_COMMAND => {
            means.unknown.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        // Whatever it is shows when the file is sent.
        Ok(Err(error)) => return Ok(without(&error)),
        Err(elapsed) => return Ok(without(&elapsed)),
    };
    let received = bytes.len() as u64;
    let theirs = match blocking(move || Ok(ChunkMap::decode(&bytes))).await.map_err(|e| store_failure(&e))? {
        Ok(map) if map.size() == head.size && head.etag == *etag => map,
        Ok(_) => return Ok(without(&MapError::Size(head.size))),
        Err(error) => return Ok(without(&error)),
    };
    let ours = match body::chunk_map(version, theirs.grain()).await {
        Ok(map) => map,
        Err(StoreError::Changed) => return Err(Failure::SourceChanged),
        // Such as one that is too large for the grain of theirs.
        Err(error) => return Ok(without(&error)),
    };
    let copies = blocking(move || Ok(copies(&ours, &theirs))).await.map_err(|e| store_failure(&e))?;
    let local = version.meta().etag.clone();
    Ok(copies.map(|copies| Base { etag: etag.clone(), copies, local, received }))
}

fn without<T>(why: &dyn std::fmt::Display) -> Option<T> {
    tracing::debug!(%why, "sent without a map");
    None
}

/// The parts of `ours` that are in `theirs`; None where there is none, or too many to tell.
fn copies(ours: &ChunkMap, theirs: &ChunkMap) -> Option<Copies> {
    let mut seeds = Seeds::new();
    // Of those that find no room as much is used as did.
    let _ = seeds.add(theirs.chunks());
    let recipe = assemble(ours, &seeds, &Limits::default());
    let part = |step: &Step| match *step {
        Step::Copy { from: Source::Seed(_), offset, at, length } => Some(CopiedPart { at, length, from: offset }),
        // What occurs more than once is sent more than once.
        _ => None,
    };
    let parts: Vec<_> = recipe.steps().iter().filter_map(part).collect();
    if parts.is_empty() { None } else { Copies::new(parts).ok() }
}
