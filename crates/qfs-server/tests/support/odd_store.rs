//! A store in memory of which some steps wait until they are let go, or fail.

use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use jiff::Timestamp;
use qfs_core::model::RemotePath;
use qfs_core::store::{
    CommitSpec, Condition, ListQuery, Object, ObjectMeta, StageSpec, StagedObject, Store, StoreError, TargetMeta,
    Visit, WriteStore,
};
use qfs_store::mem::MemStore;

/// Listings of everything below a directory wait, and so does reading a file whose name begins with `slow`.
#[derive(Clone, Default)]
pub(crate) struct OddStore {
    pub(crate) files: MemStore,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    waiting: usize,
    is_open: bool,
    /// Commits that fail before one succeeds.
    failures: usize,
}

/// Dropped, it lets everything go that waits, or the runtime would never end.
pub(crate) struct Opened(OddStore);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.state.0.lock().unwrap().is_open = true;
        self.0.state.1.notify_all();
    }
}

impl OddStore {
    pub(crate) fn insert(&self, name: &str, content: impl Into<Bytes>) {
        self.files.insert(&RemotePath::parse(name).unwrap(), content);
    }

    /// Lets everything go in the end.
    pub(crate) fn open_at_last(&self) -> Opened {
        Opened(self.clone())
    }

    /// Steps that wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.state.0.lock().unwrap().waiting
    }

    /// Has the next `count` commits fail as those of a store that is busy.
    pub(crate) fn fail_commits(&self, count: usize) {
        self.state.0.lock().unwrap().failures = count;
    }

    fn wait(&self) {
        let mut state = self.state.0.lock().unwrap();
        state.waiting += 1;
        while !state.is_open {
            state = self.state.1.wait(state).unwrap();
        }
        state.waiting -= 1;
    }
}

impl Store for OddStore {
    fn open(&self, path: &RemotePath, first: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
        if path.as_str().starts_with("slow") {
            let inner = self.files.open(path, 0)?.0;
            return Ok((Arc::new(SlowObject { inner, store: self.clone() }), Bytes::new()));
        }
        self.files.open(path, first)
    }

    fn list(&self, query: &ListQuery, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        if !query.shallow {
            self.wait();
        }
        self.files.list(query, visit)
    }
}

struct SlowObject {
    inner: Arc<dyn Object>,
    store: OddStore,
}

impl Object for SlowObject {
    fn meta(&self) -> &ObjectMeta {
        self.inner.meta()
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        self.store.wait();
        self.inner.read_at(offset, length)
    }

    fn ensure_unchanged(&self) -> Result<(), StoreError> {
        self.inner.ensure_unchanged()
    }
}

impl WriteStore for OddStore {
    fn existing(&self, path: &RemotePath) -> Result<Option<TargetMeta>, StoreError> {
        self.files.existing(path)
    }

    fn stage_sparse(
        &self,
        path: &RemotePath,
        spec: &StageSpec,
        holes: u64,
    ) -> Result<Arc<dyn StagedObject>, StoreError> {
        Ok(Arc::new(OddStage { inner: self.files.stage_sparse(path, spec, holes)?, store: self.clone() }))
    }

    fn put(&self, path: &RemotePath, content: &[Bytes], commit: &CommitSpec) -> Result<(), StoreError> {
        self.files.put(path, content, commit)
    }

    fn put_described(
        &self,
        path: &RemotePath,
        content: &[Bytes],
        commit: &CommitSpec,
    ) -> Result<ObjectMeta, StoreError> {
        self.files.put_described(path, content, commit)
    }

    fn touch(&self, path: &RemotePath, modified: Timestamp) -> Result<(), StoreError> {
        self.files.touch(path, modified)
    }

    fn set_executable(&self, path: &RemotePath, executable: bool) -> Result<(), StoreError> {
        self.files.set_executable(path, executable)
    }

    fn remove(&self, path: &RemotePath, condition: &Condition, durable: bool) -> Result<(), StoreError> {
        self.files.remove(path, condition, durable)
    }

    fn make_directory(&self, path: &RemotePath, modified: Option<Timestamp>, durable: bool) -> Result<(), StoreError> {
        self.files.make_directory(path, modified, durable)
    }

    fn remove_directory(&self, path: &RemotePath, durable: bool) -> Result<(), StoreError> {
        self.files.remove_directory(path, durable)
    }

    fn make_link(&self, path: &RemotePath, target: &str, durable: bool) -> Result<(), StoreError> {
        self.files.make_link(path, target, durable)
    }

    fn sync_directories(&self) -> Result<(), StoreError> {
        self.files.sync_directories()
    }
}

struct OddStage {
    inner: Arc<dyn StagedObject>,
    store: OddStore,
}

impl StagedObject for OddStage {
    fn recorded_frontier(&self) -> u64 {
        self.inner.recorded_frontier()
    }

    fn write_at(&self, offset: u64, chunks: &[Bytes]) -> Result<(), StoreError> {
        self.inner.write_at(offset, chunks)
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        self.inner.read_at(offset, length)
    }

    fn record_frontier(&self, frontier: u64) -> Result<(), StoreError> {
        self.inner.record_frontier(frontier)
    }

    fn commit(&self, spec: &CommitSpec) -> Result<ObjectMeta, StoreError> {
        {
            let mut state = self.store.state.0.lock().unwrap();
            if state.failures > 0 {
                state.failures -= 1;
                return Err(StoreError::Busy);
            }
        }
        self.inner.commit(spec)
    }

    fn discard(&self) -> Result<(), StoreError> {
        self.inner.discard()
    }
}
