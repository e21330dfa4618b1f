//! From a map and what is here to a plan: what is copied from where, and what is left to ask for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use qfs_core::chunks::{ChunkMap, Grain, Limits, MAX_SEED_CHUNKS, MapError, Seeds, Source, Step, assemble};
use qfs_core::model::ETag;
use qfs_core::store::Store;
use qfs_core::wire::{ChunkMapHead, ChunkMapRequest, StatusCode};
use qfs_store::blocking;
use tokio::time::timeout;

use super::copying::Origin;
use super::library::{Cut, SeedFile};
use super::rest::{Copy, Rest};
use super::together::PlannedSeeds;
use crate::error::AttemptError;
use crate::session::{Lease, Session, delta};
use crate::transfer::job::{Context, Job};

/// How long a map is waited for, in addition to [`SLOWEST_MAP`]: then the whole is fetched, which is under way at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Slowest making of a map that is waited for, in bytes a second.
const SLOWEST_MAP: u64 = 64 << 20;

/// How a version is put together from what is here.
pub(crate) struct Plan {
    /// Size of the file in bytes.
    pub(crate) size: u64,
    /// The version.
    pub(crate) etag: ETag,
    /// Bytes that the map took on the way.
    pub(crate) received: u64,
    /// What is copied out of seeds.
    pub(crate) seeds: PlannedSeeds,
    /// What is copied within the version, when all else is there.
    pub(crate) rest: Rest,
}

/// Asks for the map of `job`'s file, which has about `size` bytes, cuts what is here, and compares. None where the server gives no map,
/// or nothing that is here is of use: then the whole is fetched.
///
/// # Errors
/// [`AttemptError::Lost`], and what a further attempt is needed for.
pub(crate) async fn prepare(
    context: &Context,
    session: &Session,
    lease: &Lease,
    job: &Job,
    size: u64,
) -> Result<Option<Plan>, AttemptError> {
    let Some(grain) = Grain::for_size(size) else { return Ok(None) };
    // The semaphore is never closed.
    let _turn = context.delta.turns.acquire().await.ok();
    let asked = ask(session, lease, job, size);
    let (asked, mut cuts) = tokio::join!(timeout(PATIENCE + patience(size), asked), cut(context, job, grain));
    let (head, bytes) = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(AttemptError::Remote(error))) if error.code == StatusCode::UNKNOWN_COMMAND => {
            context.delta.note_unknown();
            return Ok(None);
        }
        // Whatever is wrong with the file shows when all of it is asked for.
        Ok(Err(error @ (AttemptError::Remote(_) | AttemptError::Protocol(_)))) => return Ok(without(&error)),
        Ok(Err(error)) => return Err(error),
        Err(elapsed) => return Ok(without(&elapsed)),
    };
    let received = bytes.len() as u64;
    let map = match blocking(move || Ok(ChunkMap::decode(&bytes))).await? {
        Ok(map) if map.size() == head.size => map,
        Ok(_) => return Ok(without(&MapError::Size(head.size))),
        Err(error) => return Ok(without(&error)),
    };
    if map.grain() != grain {
        // The file has changed its size since, or the server cuts otherwise than it should.
        cuts = cut(context, job, map.grain()).await;
    }
    let plan = blocking(move || Ok(plan(&head, &map, cuts))).await?;
    Ok(plan.map(|plan| Plan { received, ..plan }))
}

fn patience(size: u64) -> Duration {
    Duration::from_secs(size / SLOWEST_MAP)
}

fn without<T>(why: &dyn std::fmt::Display) -> Option<T> {
    tracing::debug!(%why, "fetched without a map");
    None
}

async fn ask(session: &Session, lease: &Lease, job: &Job, size: u64) -> Result<(ChunkMapHead, Bytes), AttemptError> {
    let request = ChunkMapRequest { filename: job.path.as_str().to_owned(), if_match: None, priority: job.priority };
    delta::chunk_map(session, lease, request, size).await
}

/// The chunks of what is here: the older version first.
async fn cut(context: &Context, job: &Job, grain: Grain) -> Vec<Cut> {
    let mut cuts = Vec::new();
    if let Ok(Some(old)) = &job.local {
        let store: Arc<dyn Store> = Arc::clone(&context.store) as _;
        let file = SeedFile::new(store, job.path.clone(), old.size);
        cuts.extend(Cut::of(&file, grain, MAX_SEED_CHUNKS).await);
    }
    cuts.extend_from_slice(&context.delta.library.cut(grain).await);
    cuts
}

/// None where nothing can be copied.
fn plan(head: &ChunkMapHead, map: &ChunkMap, cuts: Vec<Cut>) -> Option<Plan> {
    let mut seeds = Seeds::new();
    let mut origins = Vec::new();
    for cut in cuts {
        // Of those that find no room as much is used as did.
        let is_full = seeds.add(&cut.chunks).is_err();
        origins.push(Origin { file: cut.file, etag: cut.etag });
        if is_full {
            break;
        }
    }
    let recipe = assemble(map, &seeds, &Limits::default());
    let (mut all, mut copies, mut itself) = (Vec::new(), Vec::new(), Vec::new());
    for step in recipe.steps() {
        let &Step::Copy { from, offset, at, length } = step else { continue };
        let seed = if let Source::Seed(seed) = from { Some(seed) } else { None };
        let copy = Copy { seed, offset, at, length };
        all.push(copy);
        if seed.is_some() { copies.push(copy) } else { itself.push(copy) }
    }
    (recipe.reused() > 0).then(|| Plan {
        size: head.size,
        etag: head.etag.clone(),
        received: 0,
        seeds: PlannedSeeds { copies, origins: origins.into(), all: Rest { copies: all } },
        rest: Rest { copies: itself },
    })
}
