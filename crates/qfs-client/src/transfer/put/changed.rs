//! What changed of a file that the server has in another version: which parts it can copy from there, and need not be sent.

use std::sync::Arc;

use qfs_core::body;
use qfs_core::chunks::{ChunkMap, Limits, Seeds, Source, Step, assemble};
use qfs_core::model::ETag;
use qfs_core::store::{StoreError, Version};
use qfs_core::wire::{ChunkMapRequest, CopiedPart, Copies};
use qfs_store::blocking;

use crate::error::{Failure, store_failure};
use crate::session::Session;
use crate::transfer::maps::{Answer, Maps, is_worth_it, without};

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
    maps: &Maps,
    session: &Session,
    name: &str,
    version: &Arc<Version>,
    etag: &ETag,
    there: u64,
) -> Result<Option<Base>, Failure> {
    let size = version.meta().size;
    if !is_worth_it(size, there) || !maps.may_be_had() {
        return Ok(None);
    }
    let _turn = maps.turn().await;
    let request = ChunkMapRequest { filename: name.to_owned(), if_match: Some(etag.clone()), priority: 0 };
    let (theirs, received) = match maps.ask(session, &session.lease(), request, there).await {
        Ok(Some(Answer { head, map, received })) if head.etag == *etag => (map, received),
        Ok(_) => return Ok(None),
        // Whatever it is shows when the file is sent.
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
