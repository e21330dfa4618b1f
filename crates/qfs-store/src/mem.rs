//! A store in memory, for tests: versions, in-place changes and partial objects behave as on a disk, without one.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;

use qfs_core::model::{ETag, RemotePath};
use qfs_core::store::{
    CommitSpec, Object, ObjectMeta, StageSpec, StagedObject, Store, StoreError, TargetMeta, Visit, WriteStore,
};

/// A [`Store`] and [`WriteStore`] in memory. Cloning is cheap and gives the same store.
#[derive(Debug, Clone, Default)]
pub struct MemStore {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    files: Mutex<BTreeMap<RemotePath, Arc<MemFile>>>,
    partials: Mutex<HashMap<(RemotePath, ETag), Partial>>,
    versions: AtomicU64,
    /// Bytes all files together may have; 0 is no limit.
    capacity: AtomicU64,
}

/// What an inode is on a disk: handles keep it when its name goes, and see it change in place.
#[derive(Debug)]
struct MemFile(Mutex<Version>);

#[derive(Debug, Clone)]
struct Version {
    content: Bytes,
    meta: ObjectMeta,
}

/// A partial object that a dropped stage left.
#[derive(Debug, Clone, Default)]
struct Partial {
    content: Vec<u8>,
    frontier: u64,
    /// Whether a stage has it now; its content is then with that stage.
    taken: bool,
}

impl MemStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits the bytes all files together may have; staging more fails with [`StoreError::NoSpace`].
    pub fn limit_capacity(&self, bytes: u64) {
        self.shared.capacity.store(bytes.max(1), Ordering::Relaxed);
    }

    /// Publishes `content` under `path`, as a rename does: objects opened before keep what they had.
    pub fn insert(&self, path: &RemotePath, content: impl Into<Bytes>) -> ETag {
        self.insert_modified(path, content, Timestamp::now())
    }

    /// As [`Self::insert`], with this modification time.
    pub fn insert_modified(&self, path: &RemotePath, content: impl Into<Bytes>, modified: Timestamp) -> ETag {
        let version = self.shared.version(content.into(), modified);
        let etag = version.meta.etag.clone();
        lock(&self.shared.files).insert(path.clone(), Arc::new(MemFile(Mutex::new(version))));
        etag
    }

    /// Changes the content of `path` in place, as a writer with the file open does: objects opened before see the new
    /// bytes and fail [`Object::ensure_unchanged`]. False when there is no such file.
    pub fn mutate(&self, path: &RemotePath, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(file) = lock(&self.shared.files).get(path).cloned() else { return false };
        let mut version = lock(&file.0);
        let mut content = version.content.to_vec();
        change(&mut content);
        *version = self.shared.version(content.into(), Timestamp::now());
        true
    }

    /// Removes `path`; objects opened before keep what they had. False when there is no such file.
    pub fn remove(&self, path: &RemotePath) -> bool {
        lock(&self.shared.files).remove(path).is_some()
    }

    /// The content of `path`.
    #[must_use]
    pub fn content(&self, path: &RemotePath) -> Option<Bytes> {
        let file = lock(&self.shared.files).get(path).cloned()?;
        let content = lock(&file.0).content.clone();
        Some(content)
    }

    /// How many partial objects lie here, being written or to be continued.
    #[must_use]
    pub fn partial_count(&self) -> usize {
        lock(&self.shared.partials).len()
    }
}

impl Shared {
    fn version(&self, content: Bytes, modified: Timestamp) -> Version {
        let number = self.versions.fetch_add(1, Ordering::Relaxed);
        let etag = format!("{number:032x}").parse().expect("hexadecimal digits are an etag");
        let meta = ObjectMeta { size: content.len() as u64, modified, etag, unsettled: false };
        Version { content, meta }
    }

    fn ensure_space(&self, size: u64) -> Result<(), StoreError> {
        let capacity = self.capacity.load(Ordering::Relaxed);
        if capacity == 0 {
            return Ok(());
        }
        let used: u64 = lock(&self.files).values().map(|file| lock(&file.0).meta.size).sum();
        let available = capacity.saturating_sub(used);
        if size <= available {
            return Ok(());
        }
        Err(StoreError::NoSpace { needed: Some(size), available: Some(available) })
    }

    fn commit(&self, path: &RemotePath, content: Bytes, spec: &CommitSpec) -> Result<(), StoreError> {
        let version = self.version(content, spec.modified);
        let mut files = lock(&self.files);
        ensure_no_conflict(&files, path)?;
        if !spec.replace && files.contains_key(path) {
            return Err(StoreError::Exists);
        }
        files.insert(path.clone(), Arc::new(MemFile(Mutex::new(version))));
        Ok(())
    }
}

/// A name cannot be both a file and a directory.
fn ensure_no_conflict(files: &BTreeMap<RemotePath, Arc<MemFile>>, path: &RemotePath) -> Result<(), StoreError> {
    let inside = |inner: &RemotePath, outer: &RemotePath| {
        inner.as_str().strip_prefix(outer.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    if files.keys().any(|known| inside(known, path) || inside(path, known)) {
        return Err(StoreError::NotRegular);
    }
    Ok(())
}

impl Store for MemStore {
    fn open(&self, path: &RemotePath) -> Result<Arc<dyn Object>, StoreError> {
        let file = lock(&self.shared.files).get(path).cloned().ok_or(StoreError::NotFound)?;
        let meta = lock(&file.0).meta.clone();
        Ok(Arc::new(MemObject { file, meta }))
    }

    fn list(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let files: Vec<_> =
            lock(&self.shared.files).iter().map(|(path, file)| (path.clone(), Arc::clone(file))).collect();
        for (path, file) in files {
            let meta = lock(&file.0).meta.clone();
            if let ControlFlow::Break(()) = visit(path, meta) {
                break;
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct MemObject {
    file: Arc<MemFile>,
    meta: ObjectMeta,
}

impl Object for MemObject {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let content = lock(&self.file.0).content.clone();
        slice(&content, offset, length).map(|part| content.slice_ref(part))
    }

    fn ensure_unchanged(&self) -> Result<(), StoreError> {
        if lock(&self.file.0).meta.etag == self.meta.etag { Ok(()) } else { Err(StoreError::Changed) }
    }
}

impl WriteStore for MemStore {
    fn existing(&self, path: &RemotePath) -> Result<Option<TargetMeta>, StoreError> {
        let files = lock(&self.shared.files);
        ensure_no_conflict(&files, path)?;
        Ok(files.get(path).map(|file| {
            let meta = &lock(&file.0).meta;
            TargetMeta { size: meta.size, modified: meta.modified }
        }))
    }

    fn stage(&self, path: &RemotePath, spec: &StageSpec) -> Result<Arc<dyn StagedObject>, StoreError> {
        self.shared.ensure_space(spec.size)?;
        ensure_no_conflict(&lock(&self.shared.files), path)?;
        let key = (path.clone(), spec.etag.clone());
        let mut partials = lock(&self.shared.partials);
        let known = partials.entry(key.clone()).or_default();
        let private = std::mem::replace(&mut known.taken, true);
        let (content, before) =
            if private { (Vec::new(), 0) } else { (std::mem::take(&mut known.content), known.frontier) };
        Ok(Arc::new(MemStaged {
            shared: Arc::clone(&self.shared),
            key,
            private,
            size: spec.size,
            before,
            state: Mutex::new((content, before)),
            finished: AtomicBool::new(false),
        }))
    }

    fn put(&self, path: &RemotePath, content: &[Bytes], commit: &CommitSpec) -> Result<(), StoreError> {
        let content: Bytes = content.concat().into();
        self.shared.ensure_space(content.len() as u64)?;
        self.shared.commit(path, content, commit)
    }

    fn touch(&self, path: &RemotePath, modified: Timestamp) -> Result<(), StoreError> {
        let file = lock(&self.shared.files).get(path).cloned().ok_or(StoreError::NotFound)?;
        let mut version = lock(&file.0);
        *version = self.shared.version(version.content.clone(), modified);
        Ok(())
    }

    fn sync_directories(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[derive(Debug)]
struct MemStaged {
    shared: Arc<Shared>,
    key: (RemotePath, ETag),
    private: bool,
    size: u64,
    before: u64,
    /// The content and its recorded frontier.
    state: Mutex<(Vec<u8>, u64)>,
    finished: AtomicBool,
}

impl MemStaged {
    /// The partial object is gone, committed or discarded.
    fn finish(&self) {
        if !self.finished.swap(true, Ordering::Relaxed) && !self.private {
            lock(&self.shared.partials).remove(&self.key);
        }
    }
}

impl StagedObject for MemStaged {
    fn recorded_frontier(&self) -> u64 {
        self.before
    }

    fn write_at(&self, offset: u64, chunks: &[Bytes]) -> Result<(), StoreError> {
        let invalid = || StoreError::Io(io::ErrorKind::InvalidInput.into());
        let added = chunks.concat();
        let end = offset.checked_add(added.len() as u64).filter(|end| *end <= self.size).ok_or_else(invalid)?;
        let (start, end) = (usize::try_from(offset), usize::try_from(end));
        let (start, end) = start.ok().zip(end.ok()).ok_or_else(invalid)?;
        let mut state = lock(&self.state);
        if state.0.len() < end {
            state.0.resize(end, 0);
        }
        state.0[start..end].copy_from_slice(&added);
        Ok(())
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        slice(&lock(&self.state).0, offset, length).map(Bytes::copy_from_slice)
    }

    fn record_frontier(&self, frontier: u64) -> Result<(), StoreError> {
        if frontier > self.size {
            return Err(StoreError::Io(io::ErrorKind::InvalidInput.into()));
        }
        lock(&self.state).1 = frontier;
        Ok(())
    }

    fn commit(&self, spec: &CommitSpec) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        if (state.0.len() as u64) < self.size {
            return Err(StoreError::Changed);
        }
        let content = Bytes::copy_from_slice(&state.0);
        if let Err(error) = self.shared.commit(&self.key.0, content, spec) {
            state.1 = self.size;
            return Err(error);
        }
        drop(state);
        self.finish();
        Ok(())
    }

    fn discard(&self) -> Result<(), StoreError> {
        self.finish();
        Ok(())
    }
}

impl Drop for MemStaged {
    fn drop(&mut self) {
        if self.private || self.finished.load(Ordering::Relaxed) {
            return;
        }
        let (content, frontier) = std::mem::take(&mut *lock(&self.state));
        let mut partials = lock(&self.shared.partials);
        if frontier == 0 {
            partials.remove(&self.key);
        } else {
            partials.insert(self.key.clone(), Partial { content, frontier, taken: false });
        }
    }
}

fn slice(content: &[u8], offset: u64, length: usize) -> Result<&[u8], StoreError> {
    let start = usize::try_from(offset).map_err(|_| StoreError::Changed)?;
    let end = start.checked_add(length).ok_or(StoreError::Changed)?;
    content.get(start..end).ok_or(StoreError::Changed)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
