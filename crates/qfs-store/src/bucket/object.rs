//! An object of a bucket that is open: reads through the shared blocks, and what follows is fetched before it is asked for.
//!
//! Each answer of the bucket is of the version that was opened, or is refused: requests carry its ETag. So no look at the object is
//! needed to know that what was read is of one version.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use qfs_core::store::{Object, ObjectMeta, StoreError};

use super::attributes;
use super::blocks::{BLOCK, Fetch};
use super::cloud::Info;
use super::error::CloudError;
use super::shared::Shared;
use super::wanted::Wanted;

/// Blocks of one request ahead, at most: 4 MiB.
const SEGMENT: u64 = 16;
/// Blocks ahead of a reader at the beginning, and at most: 16 MiB, which is 1.3 Gbit/s at a round trip of 100 ms.
const FIRST_WINDOW: u64 = 4;
const LARGEST_WINDOW: u64 = 64;
/// Readers that are told apart; with more the oldest begins anew.
const MAX_RUNS: usize = 16;
/// A reader this many blocks away from where it was expected is another one.
const NEAR: u64 = 8;

/// See the module.
pub(super) struct BucketObject {
    pub(super) shared: Arc<Shared>,
    pub(super) key: String,
    pub(super) meta: ObjectMeta,
    pub(super) tag: Option<String>,
    /// The version, as blocks are named by it.
    pub(super) version: u128,
    runs: Mutex<Vec<Run>>,
    /// Set once it is read from front to back.
    is_read: AtomicBool,
}

impl Drop for BucketObject {
    fn drop(&mut self) {
        if *self.is_read.get_mut() {
            self.shared.blocks.end(self.version);
        }
    }
}

/// An object that is described so, open.
pub(super) fn opened(shared: &Arc<Shared>, key: String, info: &Info) -> BucketObject {
    let meta = attributes::meta(&key, info);
    shared.known.learn(&meta.etag, info.attributes.as_ref());
    let version = attributes::identity(&meta.etag);
    BucketObject::new(shared, key, meta, info.tag.clone(), version)
}

/// A reader that goes forward.
struct Run {
    next: u64,
    window: u64,
}

impl BucketObject {
    pub(super) fn new(shared: &Arc<Shared>, key: String, meta: ObjectMeta, tag: Option<String>, version: u128) -> Self {
        Self {
            shared: Arc::clone(shared),
            key,
            meta,
            tag,
            version,
            runs: Mutex::default(),
            is_read: AtomicBool::new(false),
        }
    }

    fn blocks(&self) -> u64 {
        self.meta.size.div_ceil(BLOCK)
    }

    /// Blocks to be had ahead, once `index` is read.
    fn window(&self, index: u64) -> u64 {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let near = |run: &Run| run.next.abs_diff(index) <= NEAR;
        if let Some(at) = runs.iter().position(near) {
            let mut run = runs.remove(at);
            if index >= run.next {
                run.next = index + 1;
                run.window = (run.window * 2).min(LARGEST_WINDOW);
            }
            let window = run.window;
            runs.push(run);
            return window;
        }
        if runs.len() == MAX_RUNS {
            runs.remove(0);
        }
        runs.push(Run { next: index + 1, window: FIRST_WINDOW });
        FIRST_WINDOW
    }

    /// Blocks that may be had ahead beside those of other versions that are read.
    fn share(&self) -> u64 {
        if !self.is_read.swap(true, Ordering::Relaxed) {
            self.shared.blocks.begin(self.version);
        }
        self.shared.blocks.share()
    }

    /// Begins to fetch `index`, where nobody does yet, and what follows it, as far as `window` reaches. Returns the request that
    /// brings `index`, if it is a new one.
    fn fetch_ahead(&self, index: u64, window: u64) -> Option<Arc<Fetch>> {
        let end = (index + window.max(1)).min(self.blocks());
        let (mut at, mut own) = (index, None);
        while at < end {
            // A little is not worth a request: it comes with what follows.
            if at > index && end < self.blocks() && end - at < SEGMENT.min(window) / 2 {
                break;
            }
            let Some((count, fetch)) = self.shared.blocks.claim(self.version, at, SEGMENT.min(end - at), at == index)
            else {
                // It is there, or on its way, or there is no room for it.
                at += 1;
                continue;
            };
            if at == index {
                own = Some(Arc::clone(&fetch));
            }
            self.spawn(at..at + count, fetch);
            at += count;
        }
        own
    }

    fn spawn(&self, range: Range<u64>, fetch: Arc<Fetch>) {
        let bytes = range.start * BLOCK..self.meta.size.min(range.end * BLOCK);
        let give_up = GiveUp { shared: Arc::clone(&self.shared), version: self.version, range, fetch };
        let wanted = Wanted::new(&self.shared, self.key.clone(), self.tag.clone(), self.version);
        // Where nothing can be begun, what was claimed is given up.
        let _ = self.shared.spawn(async move {
            let mut give_up = give_up;
            if let Err(error) = wanted.fetch(bytes).await {
                give_up.now(error);
            }
        });
    }

    fn block(&self, index: u64, is_whole: bool) -> Result<Bytes, StoreError> {
        let window = if is_whole { self.window(index).min(self.share()) } else { 1 };
        loop {
            let own = self.fetch_ahead(index, window);
            if let Some(block) = self.shared.blocks.wait((self.version, index)).map_err(CloudError::into_store)? {
                return Ok(block);
            }
            if let Some(error) = own.and_then(|own| own.error()) {
                return Err(error.into_store());
            }
            // Let go before anybody looked: there are more readers than room, and it is fetched once more.
        }
    }
}

/// What a fetch has not brought when it ends, however it ends, is given up: nobody waits for ever.
struct GiveUp {
    shared: Arc<Shared>,
    version: u128,
    range: Range<u64>,
    fetch: Arc<Fetch>,
}

impl GiveUp {
    fn now(&mut self, why: CloudError) {
        self.shared.blocks.fail(self.version, self.range.clone(), &self.fetch, why);
    }
}

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.now(CloudError::Unavailable("the request was given up".into()));
    }
}

impl Object for BucketObject {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let end = offset.checked_add(length as u64).filter(|end| *end <= self.meta.size).ok_or(StoreError::Changed)?;
        if length == 0 {
            return Ok(Bytes::new());
        }
        let within = |index: u64| {
            let start = (index * BLOCK).max(offset);
            let stop = ((index + 1) * BLOCK).min(end);
            ((start - index * BLOCK) as usize, (stop - index * BLOCK) as usize)
        };
        let (first, last) = (offset / BLOCK, (end - 1) / BLOCK);
        let read = |index: u64| {
            let (start, stop) = within(index);
            let is_whole = start == 0 && (stop as u64 == BLOCK || end == self.meta.size);
            let block = self.block(index, is_whole)?;
            match block.get(start..stop) {
                // A little of it must not keep all of it.
                Some(part) if 2 * part.len() < block.len() => Ok(Bytes::copy_from_slice(part)),
                Some(_) => Ok(block.slice(start..stop)),
                None => Err(StoreError::Changed),
            }
        };
        if first == last {
            return read(first);
        }
        let mut whole = BytesMut::with_capacity(length);
        for index in first..=last {
            whole.extend_from_slice(&read(index)?);
        }
        Ok(whole.freeze())
    }

    fn ensure_unchanged(&self) -> Result<(), StoreError> {
        // Every answer was of this version, or an error.
        Ok(())
    }
}
