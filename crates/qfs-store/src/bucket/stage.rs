//! Large objects on their way in: gathered in a directory of this machine, where they are written in any order, read back, checked and
//! continued, and uploaded in parts once they are whole.
//!
//! Parts that a bucket holds cannot be read back, and what was cut off is read back and hashed before it is continued: so a bucket
//! alone cannot hold what is staged.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use qfs_core::model::{Digest, RemotePath};
use qfs_core::store::{CommitSpec, ObjectMeta, StageSpec, StagedObject, StoreError, WriteStore};
use tokio::task::JoinSet;

use super::attributes::Attributes;
use super::cloud::Only;
use super::conditions::{condition, executable, refused, written};
use super::error::CloudError;
use super::names;
use super::shared::Shared;
use crate::local::LocalStore;

/// Bytes of a part; of larger objects more, so that [`MAX_PARTS`] are enough.
pub(super) const PART: u64 = 8 << 20;
/// Parts that S3 takes.
const MAX_PARTS: u64 = 10_000;
/// Parts on their way at once: 32 MiB, unless parts are larger.
const PARTS_AT_ONCE: usize = 4;
/// Bytes read at once.
const READ: u64 = 1 << 20;

/// See the module.
pub(super) struct BucketStage {
    shared: Arc<Shared>,
    spool: Arc<dyn StagedObject>,
    path: RemotePath,
    size: Option<u64>,
    /// The end of what was written, for an object whose size nobody knew.
    end: AtomicU64,
}

impl BucketStage {
    /// Takes up what is gathered of this version, or begins.
    ///
    /// # Errors
    /// As [`WriteStore::stage_sparse`]: holes take no room before they are uploaded.
    pub(super) fn open(
        shared: &Arc<Shared>,
        spool: &LocalStore,
        path: &RemotePath,
        (spec, holes): (&StageSpec, u64),
    ) -> Result<Self, StoreError> {
        // One flat directory: no name there is longer than another, and none is in another's way.
        let name = Digest::of(shared.key(path).as_bytes()).to_string();
        let name = RemotePath::parse(&name).map_err(|_| StoreError::Reserved)?;
        let staged = spool.stage_sparse(&name, spec, holes)?;
        Ok(Self {
            shared: Arc::clone(shared),
            spool: staged,
            path: path.clone(),
            size: spec.size,
            end: AtomicU64::new(0),
        })
    }

    fn commit_as(&self, spec: &CommitSpec, digest: Option<Digest>) -> Result<ObjectMeta, StoreError> {
        let shared = &self.shared;
        let size = self.size.unwrap_or_else(|| self.end.load(Ordering::Relaxed));
        if size > 0 {
            // Whole, or not to be committed.
            self.spool.read_at(size - 1, 1)?;
        }
        let key = shared.key(&self.path);
        let keep = |error: StoreError| {
            // For whoever commits it under another condition.
            let _ = self.spool.record_frontier(size);
            error
        };
        let executable = executable(shared, &key, spec).map_err(keep)?;
        let attributes = Attributes::fresh(spec.modified, executable).with_digest(digest);
        names::ensure_free(shared, &self.path).map_err(keep)?;
        let tag = if size <= PART {
            let content = self.read(0..size)?;
            let _turn = shared.lock(&key);
            let only = condition(shared, &key, &spec.condition).map_err(keep)?;
            let put = shared.cloud.put(&key, content, &attributes, &only);
            shared.wait(put).map_err(|error| keep(refused(error, &spec.condition)))?
        } else {
            // What would be refused in the end is refused before anything is sent.
            condition(shared, &key, &spec.condition).map_err(keep)?;
            self.upload(&key, size, &attributes, spec).map_err(keep)?
        };
        shared.ways.forget(&key);
        let meta = written(shared, &key, size, tag, attributes);
        if let Err(error) = self.spool.discard() {
            tracing::warn!("what was gathered of an upload that is done cannot be removed: {error}");
        }
        Ok(meta)
    }

    /// Uploads in parts. What fails leaves no part behind, as far as the bucket can be reached.
    fn upload(
        &self,
        key: &str,
        size: u64,
        attributes: &Attributes,
        spec: &CommitSpec,
    ) -> Result<Option<String>, StoreError> {
        let shared = &self.shared;
        let upload = shared.wait(shared.cloud.begin(key, attributes)).map_err(CloudError::into_store)?;
        let done = self.parts(key, &upload, size).and_then(|parts| {
            let _turn = shared.lock(key);
            let only: Only = condition(shared, key, &spec.condition)?;
            shared
                .wait(shared.cloud.complete(key, &upload, &parts, attributes, &only))
                .map_err(|error| refused(error, &spec.condition))
        });
        if done.is_err()
            && let Err(error) = shared.wait(shared.cloud.abort(key, &upload))
        {
            tracing::warn!("the parts of an upload that failed cannot be removed from the bucket: {error}");
        }
        done
    }

    fn parts(&self, key: &str, upload: &str, size: u64) -> Result<Vec<String>, StoreError> {
        let length = PART.max(size.div_ceil(MAX_PARTS).next_multiple_of(READ));
        let count = size.div_ceil(length);
        let mut tags = vec![String::new(); usize::try_from(count).map_err(|_| StoreError::Unsupported)?];
        let mut running = JoinSet::new();
        let handle = self.shared.runtime.handle().map_err(CloudError::into_store)?;
        for number in 0..count {
            let start = number * length;
            let content = self.read(start..size.min(start + length))?;
            let (shared, key, upload) = (Arc::clone(&self.shared), key.to_owned(), upload.to_owned());
            // As many as there are parts.
            let number = number as usize;
            running.spawn_on(
                async move { Ok::<_, CloudError>((number, shared.cloud.part(&key, &upload, number, content).await?)) },
                handle,
            );
            while running.len() >= PARTS_AT_ONCE {
                self.join(&mut running, &mut tags)?;
            }
        }
        while !running.is_empty() {
            self.join(&mut running, &mut tags)?;
        }
        Ok(tags)
    }

    fn join(
        &self,
        running: &mut JoinSet<Result<(usize, String), CloudError>>,
        tags: &mut [String],
    ) -> Result<(), StoreError> {
        let next = self.shared.wait(async { running.join_next().await.transpose().map_err(CloudError::unavailable) });
        if let Some(done) = next.map_err(CloudError::into_store)? {
            let (number, tag) = done.map_err(CloudError::into_store)?;
            if let Some(slot) = tags.get_mut(number) {
                *slot = tag;
            }
        }
        Ok(())
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        let length = usize::try_from(range.end - range.start).map_err(|_| StoreError::Unsupported)?;
        let mut whole = BytesMut::with_capacity(length);
        let mut at = range.start;
        while at < range.end {
            let step = READ.min(range.end - at);
            // A mebibyte at most.
            whole.extend_from_slice(&self.spool.read_at(at, step as usize)?);
            at += step;
        }
        Ok(whole.freeze())
    }
}

impl StagedObject for BucketStage {
    fn recorded_frontier(&self) -> u64 {
        self.spool.recorded_frontier()
    }

    fn write_at(&self, offset: u64, chunks: &[Bytes]) -> Result<(), StoreError> {
        self.spool.write_at(offset, chunks)?;
        let length: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        self.end.fetch_max(offset + length, Ordering::Relaxed);
        Ok(())
    }

    fn write_zeros(&self, range: Range<u64>) -> Result<(), StoreError> {
        self.spool.write_zeros(range.clone())?;
        self.end.fetch_max(range.end, Ordering::Relaxed);
        Ok(())
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        self.spool.read_at(offset, length)
    }

    fn record_frontier(&self, frontier: u64) -> Result<(), StoreError> {
        self.spool.record_frontier(frontier)
    }

    fn commit(&self, spec: &CommitSpec) -> Result<ObjectMeta, StoreError> {
        self.commit_as(spec, None)
    }

    fn commit_known(&self, spec: &CommitSpec, digest: Digest) -> Result<ObjectMeta, StoreError> {
        self.commit_as(spec, Some(digest))
    }

    fn discard(&self) -> Result<(), StoreError> {
        self.spool.discard()
    }
}
