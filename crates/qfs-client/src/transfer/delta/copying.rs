//! Copies what is here: out of seeds, and within the version that is put together.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::join_all;
use qfs_core::body::Assembly;
use qfs_core::model::ETag;
use qfs_core::store::{Object, StoreError};
use qfs_core::stream::Chunk;
use qfs_store::blocking;

use super::library::SeedFile;
use super::rest::{Copy, Rest};
use crate::sync::lock;

/// Bytes copied in one step on a blocking thread: an interrupted run does not wait for more.
const STEP_BYTES: u64 = 2 << 20;

/// Steps at once: while one is hashed, the next is copied.
const LANES: usize = 2;

/// Bytes read at once.
const READ_BYTES: u64 = 256 << 10;

/// A file that bytes are copied from, and the version of it that was cut.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(super) file: SeedFile,
    pub(super) etag: ETag,
}

/// Copies out of `origins` what is missing of `assembly`, and tells `copied` of it step by step; returns how many bytes that were. What
/// cannot be read, or is of another version by now, stays missing.
///
/// # Errors
/// What writing failed with.
pub(crate) async fn copy_seeds(
    copies: Vec<Copy>,
    origins: Arc<[Origin]>,
    assembly: &Arc<Assembly>,
    copied: &(dyn Fn(u64) + Sync),
) -> Result<u64, StoreError> {
    let sources = (0..LANES).map(|_| Source::Seeds { origins: Arc::clone(&origins), opened: None });
    run(sources, copies, assembly, copied).await
}

/// Copies within `assembly` what `rest` says, all of which is copied from the version itself. What it would be copied from and is not there stays missing.
///
/// # Errors
/// What writing failed with.
pub(crate) async fn copy_itself(
    rest: &Rest,
    assembly: &Arc<Assembly>,
    copied: &(dyn Fn(u64) + Sync),
) -> Result<u64, StoreError> {
    // One after the other: what one writes the next may read.
    run([Source::Itself], rest.copies.clone(), assembly, copied).await
}

/// Copies step by step, as many steps at once as there are `sources`.
async fn run(
    sources: impl IntoIterator<Item = Source>,
    copies: Vec<Copy>,
    assembly: &Arc<Assembly>,
    copied: &(dyn Fn(u64) + Sync),
) -> Result<u64, StoreError> {
    let steps = Mutex::new(Steps { copies: copies.into_iter(), open: None });
    let lane = async |source: Source| {
        let (mut lane, mut total) = (Lane { source, assembly: Arc::clone(assembly) }, 0);
        loop {
            let parts = lock(&steps).next();
            if parts.is_empty() {
                return Ok(total);
            }
            let (next, written) = blocking(move || {
                let written = lane.copy(&parts)?;
                Ok((lane, written))
            })
            .await?;
            lane = next;
            if written > 0 {
                copied(written);
                total += written;
            }
        }
    };
    // All of them end before anything is decided: one given up halfway could still be writing.
    let totals: Vec<Result<u64, StoreError>> = join_all(sources.into_iter().map(lane)).await;
    totals.into_iter().sum()
}

/// Copies that have not been begun, in steps.
struct Steps {
    copies: std::vec::IntoIter<Copy>,
    /// The one that was begun.
    open: Option<Copy>,
}

impl Steps {
    /// The next step; nothing behind the last.
    fn next(&mut self) -> Vec<Copy> {
        let (mut parts, mut left) = (Vec::new(), STEP_BYTES);
        while left > 0 {
            let Some(mut copy) = self.open.take().or_else(|| self.copies.next()) else { break };
            let length = copy.length.min(left);
            parts.push(Copy { length, ..copy });
            left -= length;
            (copy.offset, copy.at, copy.length) = (copy.offset + length, copy.at + length, copy.length - length);
            self.open = (copy.length > 0).then_some(copy);
        }
        parts
    }
}

/// Where bytes are copied from.
enum Source {
    Seeds {
        origins: Arc<[Origin]>,
        /// The one that is open, if it could be opened as what it was.
        opened: Option<(u32, Option<Arc<dyn Object>>)>,
    },
    Itself,
}

impl Source {
    /// Bytes of the seed that `copy` is from, or of the version itself.
    fn read(&mut self, copy: &Copy, offset: u64, length: usize, assembly: &Assembly) -> Option<Bytes> {
        let Self::Seeds { origins, opened } = self else {
            // What is missing reads as zeros, or as what a former run left.
            let range = offset..offset + length as u64;
            return if assembly.missing_in(&range).is_empty() {
                assembly.stage().read_at(offset, length).ok()
            } else {
                None
            };
        };
        let seed = copy.seed?;
        if opened.as_ref().is_none_or(|(number, _)| *number != seed) {
            let origin = origins.get(usize::try_from(seed).ok()?)?;
            let object = origin.file.open().ok().filter(|object| object.meta().etag == origin.etag);
            *opened = Some((seed, object));
        }
        let (_, object) = opened.as_ref()?;
        object.as_ref()?.read_at(offset, length).ok()
    }
}

/// One step after the other.
struct Lane {
    source: Source,
    assembly: Arc<Assembly>,
}

impl Lane {
    /// Copies a step; how many bytes. Blocks.
    fn copy(&mut self, parts: &[Copy]) -> Result<u64, StoreError> {
        let (mut chunks, mut written) = (Vec::new(), 0);
        for part in parts {
            for gap in self.assembly.missing_in(&part.target()) {
                written += self.read(part, gap, &mut chunks);
            }
        }
        self.assembly.write(chunks)?;
        Ok(written)
    }

    /// Reads what of `copy` belongs into `gap`, as far as that can be read.
    fn read(&mut self, copy: &Copy, gap: std::ops::Range<u64>, chunks: &mut Vec<Chunk>) -> u64 {
        let mut position = gap.start;
        while position < gap.end {
            let length = READ_BYTES.min(gap.end - position);
            // At most what is read at once.
            let bytes = self.source.read(copy, copy.offset + (position - copy.at), length as usize, &self.assembly);
            let Some(bytes) = bytes else { break };
            chunks.push(Chunk { offset: position, bytes });
            position += length;
        }
        position - gap.start
    }
}
