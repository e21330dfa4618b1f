//! Copies what is here: out of seeds, and within the version that is put together.

use std::sync::Arc;

use bytes::Bytes;
use qfs_core::body::Assembly;
use qfs_core::model::ETag;
use qfs_core::store::{Object, StoreError};
use qfs_core::stream::Chunk;
use qfs_store::blocking;

use super::library::SeedFile;
use super::rest::{Copy, Rest};

/// Bytes copied in one step on a blocking thread: an interrupted run does not wait for more.
const STEP_BYTES: u64 = 4 << 20;

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
    run(Source::Seeds { origins, opened: None }, copies, assembly, copied).await
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
    run(Source::Itself, rest.copies.clone(), assembly, copied).await
}

async fn run(
    source: Source,
    copies: Vec<Copy>,
    assembly: &Arc<Assembly>,
    copied: &(dyn Fn(u64) + Sync),
) -> Result<u64, StoreError> {
    let mut work = Work { source, copies: copies.into_iter(), open: None, assembly: Arc::clone(assembly) };
    let mut total = 0;
    loop {
        let (next, written, is_end) = blocking(move || {
            let (written, is_end) = work.step()?;
            Ok((work, written, is_end))
        })
        .await?;
        work = next;
        if written > 0 {
            copied(written);
            total += written;
        }
        if is_end {
            return Ok(total);
        }
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

/// Copies under way.
struct Work {
    source: Source,
    copies: std::vec::IntoIter<Copy>,
    /// The one that was begun.
    open: Option<Copy>,
    assembly: Arc<Assembly>,
}

impl Work {
    /// Copies some; how many bytes, and whether that were the last. Blocks.
    fn step(&mut self) -> Result<(u64, bool), StoreError> {
        let (mut chunks, mut left, mut written) = (Vec::new(), STEP_BYTES, 0);
        while left > 0 {
            let Some(mut copy) = self.open.take().or_else(|| self.copies.next()) else { break };
            let length = copy.length.min(left);
            let part = Copy { length, ..copy };
            left -= length;
            (copy.offset, copy.at, copy.length) = (copy.offset + length, copy.at + length, copy.length - length);
            self.open = (copy.length > 0).then_some(copy);
            for gap in self.assembly.missing_in(&part.target()) {
                written += self.read(&part, gap, &mut chunks);
            }
        }
        self.assembly.write(chunks)?;
        Ok((written, left > 0))
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
