//! The parts of an upload that are here already, in the version that it replaces (PROTOCOL §4.5.4): which they are, and copying them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use qfs_core::body::{Answer, Assembly};
use qfs_core::model::{ETag, RemotePath};
use qfs_core::store::{BLOCK_BYTES, Store, StoreError, Version};
use qfs_core::stream::{Chunk, ChunkSource};
use qfs_core::wire::{Copies, MAX_COPIES_BYTES};
use qfs_store::blocking;

use crate::error::HandlerError;
use crate::view::View;

/// Bytes copied in one step on a blocking thread.
const STEP_BYTES: usize = 4 << 20;

/// The version `wanted` of `path`, if it is what is there now.
pub(super) async fn open<S: Store>(view: &View<S>, path: RemotePath, wanted: &ETag) -> Option<Arc<Version>> {
    let opened = view.open(path).await.ok()?;
    (opened.version.meta().etag == *wanted).then_some(opened.version)
}

/// Reads which parts of a version of `size` bytes come from one of `base` bytes.
pub(super) async fn read_copies<C: ChunkSource>(
    rest: &mut Answer<C>,
    size: u64,
    base: u64,
    stall: Duration,
) -> Result<Copies, HandlerError> {
    let mut bytes = Vec::new();
    loop {
        let block =
            tokio::time::timeout(stall, rest.next_block()).await.map_err(|_| HandlerError::RequestTimeout)??;
        let Some(block) = block else { break };
        if bytes.len() + block.len() > MAX_COPIES_BYTES {
            return Err(HandlerError::BadRequest("more parts than an upload may have"));
        }
        bytes.extend_from_slice(&block);
    }
    let copies = Copies::decode(&bytes)?;
    if copies.fit(size, base) { Ok(copies) } else { Err(HandlerError::BadRequest("a part beyond its file")) }
}

/// Copies what is missing of `assembly` out of `version`, and makes sure that all of it is of that version.
pub(super) async fn copy(version: &Arc<Version>, copies: &Copies, assembly: &Arc<Assembly>) -> Result<(), StoreError> {
    let mut pieces = copies.parts().iter().flat_map(|part| {
        let blocks = part.from / BLOCK_BYTES..(part.from + part.length).div_ceil(BLOCK_BYTES);
        blocks.map(move |index| {
            let start = part.from.max(index * BLOCK_BYTES);
            let end = (part.from + part.length).min((index + 1) * BLOCK_BYTES);
            Piece { at: part.at + (start - part.from), from: start..end }
        })
    });
    loop {
        let (mut step, mut length) = (Vec::new(), 0);
        while length < STEP_BYTES
            && let Some(piece) = pieces.next()
        {
            // A block at most.
            length += (piece.from.end - piece.from.start) as usize;
            step.push(piece);
        }
        if step.is_empty() {
            let version = Arc::clone(version);
            return blocking(move || version.ensure_unchanged()).await;
        }
        let (version, assembly) = (Arc::clone(version), Arc::clone(assembly));
        blocking(move || {
            let mut chunks = Vec::new();
            for piece in step {
                piece.read(&version, &assembly, &mut chunks)?;
            }
            assembly.write(chunks)
        })
        .await?;
    }
}

/// A part of one block.
struct Piece {
    /// Where it belongs.
    at: u64,
    from: Range<u64>,
}

impl Piece {
    /// Reads what of it is missing.
    fn read(&self, version: &Version, assembly: &Assembly, chunks: &mut Vec<Chunk>) -> Result<(), StoreError> {
        let target = self.at..self.at + (self.from.end - self.from.start);
        for gap in assembly.missing_in(&target) {
            let start = self.from.start + (gap.start - self.at);
            let (index, skipped) = (start / BLOCK_BYTES, start % BLOCK_BYTES);
            // Both are within a block.
            let place = skipped as usize..(skipped + (gap.end - gap.start)) as usize;
            chunks.push(Chunk { offset: gap.start, bytes: version.part(index, place)? });
        }
        Ok(())
    }
}
