//! From a map and what is here to a plan: what is copied from where, and what is left to ask for.

use std::sync::Arc;

use qfs_core::chunks::{ChunkMap, Grain, Limits, MAX_SEED_CHUNKS, Seeds, Source, Step, assemble};
use qfs_core::model::ETag;
use qfs_core::store::Store;
use qfs_core::wire::{ChunkMapHead, ChunkMapRequest};
use qfs_store::blocking;

use super::copying::Origin;
use super::library::{Cut, SeedFile};
use super::rest::{Copy, Rest};
use super::together::PlannedSeeds;
use crate::error::AttemptError;
use crate::session::{Lease, Session};
use crate::transfer::job::{Context, Job};
use crate::transfer::maps::Answer;

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
    let maps = &context.delta.maps;
    let _turn = maps.turn().await;
    let request = ChunkMapRequest { filename: job.path.as_str().to_owned(), if_match: None, priority: job.priority };
    let asked = maps.ask(session, lease, request, size);
    let (asked, mut cuts) = tokio::join!(asked, cut(context, job, grain));
    let Some(Answer { head, map, received }) = asked? else { return Ok(None) };
    if map.grain() != grain {
        // The file has changed its size since, or the server cuts otherwise than it should.
        cuts = cut(context, job, map.grain()).await;
    }
    let plan = blocking(move || Ok(plan(&head, &map, cuts))).await?;
    Ok(plan.map(|plan| Plan { received, ..plan }))
}

/// The chunks of what is here: the older version first.
async fn cut(context: &Context, job: &Job, grain: Grain) -> Vec<Cut> {
    let mut cuts = Vec::new();
    if let Some(old) = job.older() {
        let store: Arc<dyn Store> = Arc::clone(&context.store) as _;
        let file = SeedFile::new(store, job.path.clone(), old);
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
