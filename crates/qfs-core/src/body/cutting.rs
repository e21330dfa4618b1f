//! Store → chunks: what a version or a file at hand consists of, read on one thread while another cuts and hashes.

use std::sync::Arc;

use bytes::Bytes;

use crate::chunks::{ChunkMap, Chunker, Grain};
use crate::offload::{Offloaded, Threads};
use crate::store::{BLOCK_BYTES, Object, StoreError, Version};

/// Blocks of one step: some milliseconds of reading, so that whoever gives up does not wait for long. One step is read while the one
/// before is cut, so a pass holds 4 MiB.
const STEP_BLOCKS: u64 = 8;

/// The chunk map of `version`. The pass hashes what nobody has hashed yet, as that of any other reader does.
///
/// # Errors
/// [`StoreError::Changed`] when it is not one version from beginning to end; what reading failed with otherwise.
pub async fn chunk_map(version: &Arc<Version>, grain: Grain) -> Result<ChunkMap, StoreError> {
    let threads = version.threads().clone();
    let (size, reader) = (version.meta().size, Arc::clone(version));
    let read = move |blocks: std::ops::Range<u64>| {
        let bytes = blocks.map(|index| reader.block(index)).collect::<Result<Vec<_>, _>>()?;
        // At each step, so that nothing goes on for long over a file that has changed.
        reader.ensure_unchanged()?;
        Ok(bytes)
    };
    let chunker = cut(&threads, size, read, grain, usize::MAX).await?;
    let version = Arc::clone(version);
    let whole = threads.run(move || version.digest()).await?;
    // The grain was chosen for the size, so that there are never too many.
    chunker.finish(whole).map_err(|e| StoreError::Io(std::io::Error::other(e)))
}

/// The chunks of `object`: of a large one, at least its first `most`.
///
/// # Errors
/// What reading failed with. Whether the object changes is not looked at: its chunks are hints.
pub async fn cut_object(
    threads: &Threads,
    object: &Arc<dyn Object>,
    grain: Grain,
    most: usize,
) -> Result<Chunker, StoreError> {
    let (size, object) = (object.meta().size, Arc::clone(object));
    let read = move |blocks: std::ops::Range<u64>| {
        let block = |index: u64| {
            let start = index * BLOCK_BYTES;
            object.read_at(start, BLOCK_BYTES.min(size - start) as usize)
        };
        blocks.map(block).collect()
    };
    cut(threads, size, read, grain, most).await
}

/// Cuts what `read` reads of blocks, to the end or until there are `most` chunks.
async fn cut<R>(threads: &Threads, size: u64, read: R, grain: Grain, most: usize) -> Result<Chunker, StoreError>
where
    R: Fn(std::ops::Range<u64>) -> Result<Vec<Bytes>, StoreError> + Send + Sync + 'static,
{
    let (read, blocks) = (Arc::new(read), size.div_ceil(BLOCK_BYTES));
    let mut idle = Some(Chunker::new(grain));
    let mut cutting: Option<Offloaded<Chunker>> = None;
    for start in (0..blocks).step_by(STEP_BLOCKS as usize) {
        let step = start..blocks.min(start + STEP_BLOCKS);
        let read = Arc::clone(&read);
        let reading = threads.run(move || read(step));
        if let Some(cutting) = cutting.take() {
            idle = Some(cutting.await?);
        }
        let bytes = reading.await?;
        let Some(mut chunker) = idle.take_if(|chunker| chunker.chunks().len() < most) else { break };
        cutting = Some(threads.run(move || {
            bytes.iter().for_each(|block| chunker.push(block));
            Ok(chunker)
        }));
    }
    match cutting {
        Some(cutting) => cutting.await,
        None => Ok(idle.unwrap_or_else(|| Chunker::new(grain))),
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::body::testing::{here, ready};
    use crate::chunks::ChunkHash;
    use crate::model::{Digest, RemotePath};
    use crate::store::{ListQuery, ObjectMeta, Store, Versions, Visit};

    struct Content {
        bytes: Bytes,
        meta: ObjectMeta,
        /// Offset from which on it is another file.
        changed_from: u64,
        is_changed: std::sync::atomic::AtomicBool,
    }

    impl Object for Content {
        fn meta(&self) -> &ObjectMeta {
            &self.meta
        }

        fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
            let start = usize::try_from(offset).unwrap();
            if offset >= self.changed_from {
                self.is_changed.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            Ok(self.bytes.slice(start..start + length))
        }

        fn ensure_unchanged(&self) -> Result<(), StoreError> {
            let is_changed = self.is_changed.load(std::sync::atomic::Ordering::Relaxed);
            if is_changed { Err(StoreError::Changed) } else { Ok(()) }
        }
    }

    struct One(Arc<Content>);

    impl Store for One {
        fn open(&self, _: &RemotePath, _: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
            Ok((self.0.clone(), Bytes::new()))
        }

        fn list(&self, _: &ListQuery, _: &mut Visit<'_>) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn content(length: usize, changed_from: u64) -> Arc<Content> {
        let mut state = 7u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let bytes: Bytes = (0..length).map(next).collect();
        let meta = ObjectMeta {
            size: length as u64,
            modified: jiff::Timestamp::UNIX_EPOCH,
            etag: "v".parse().unwrap(),
            unsettled: false,
            executable: false,
        };
        Arc::new(Content { bytes, meta, changed_from, is_changed: false.into() })
    }

    fn grain() -> Grain {
        Grain::from_exponent(12).unwrap()
    }

    // Fails when: a step is cut out of order, twice or not at all; the digest is not that of the whole.
    #[test]
    fn a_map_is_that_of_the_bytes() {
        let step = STEP_BLOCKS as usize * BLOCK_BYTES as usize;
        for length in [0, 1, 70_000, BLOCK_BYTES as usize, step - 1, step, step + 1, 2 * step + 300_000] {
            let content = content(length, u64::MAX);
            let versions = Versions::new(One(Arc::clone(&content)), Arc::default(), here());
            let version = Arc::new(versions.open(&RemotePath::parse("x").unwrap()).unwrap());
            let map = ready(chunk_map(&version, grain())).unwrap();
            let mut chunker = Chunker::new(grain());
            chunker.push(&content.bytes);
            assert_eq!(map, chunker.finish(Digest::of(&content.bytes)).unwrap(), "{length}");
            assert_eq!(version.known_digest(), Some(map.whole()));
            let object: Arc<dyn Object> = content.clone();
            let cut = ready(cut_object(&here(), &object, grain(), usize::MAX)).unwrap();
            assert_eq!(cut.into_chunks(), map.chunks(), "{length}");
        }
    }

    // Fails when: a pass over a file that has changed goes on to its end, or ends in a map.
    #[test]
    fn a_file_that_changes_has_no_map() {
        let step = STEP_BLOCKS * BLOCK_BYTES;
        let content = content(4 * step as usize, step);
        let versions = Versions::new(One(Arc::clone(&content)), Arc::default(), here());
        let version = Arc::new(versions.open(&RemotePath::parse("x").unwrap()).unwrap());
        assert!(matches!(ready(chunk_map(&version, grain())), Err(StoreError::Changed)));
        assert_eq!(version.known_digest(), None);
    }

    // Fails when: all of a huge seed is read although there is no room for its chunks.
    #[test]
    fn a_large_object_is_cut_as_far_as_there_is_room() {
        let content = content(20 << 20, u64::MAX);
        let object: Arc<dyn Object> = content.clone();
        let cut = ready(cut_object(&here(), &object, grain(), 10)).unwrap();
        assert!((10..3000).contains(&cut.chunks().len()), "{}", cut.chunks().len());
        let first = cut.chunks()[0];
        assert_eq!(first.hash, ChunkHash::of(&content.bytes[..first.length as usize]));
    }
}
