//! A store as transfers of a plan see it: by the names that files have on the server, and with the conditions of the plan.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use qfs_core::model::RemotePath;
use qfs_core::store::{
    CommitSpec, Condition, ListQuery, Object, ObjectMeta, StageSpec, StagedObject, Store, StoreError, TargetMeta,
    Visit, WriteStore,
};

/// See the module. Only the names of the plan are in it; for others it says [`StoreError::NotFound`].
pub(crate) struct PlannedStore<S> {
    inner: S,
    /// By name on the server: the name here, and what must be there when it is written.
    names: HashMap<RemotePath, (RemotePath, Condition)>,
}

impl<S> PlannedStore<S> {
    pub(crate) fn new(inner: S, names: HashMap<RemotePath, (RemotePath, Condition)>) -> Self {
        Self { inner, names }
    }

    fn find(&self, path: &RemotePath) -> Result<&(RemotePath, Condition), StoreError> {
        self.names.get(path).ok_or(StoreError::NotFound)
    }

    fn here(&self, path: &RemotePath) -> Result<&RemotePath, StoreError> {
        self.find(path).map(|(here, _)| here)
    }

    fn planned(&self, path: &RemotePath, commit: &CommitSpec) -> Result<(&RemotePath, CommitSpec), StoreError> {
        let (here, condition) = self.find(path)?;
        Ok((here, CommitSpec { condition: condition.clone(), ..commit.clone() }))
    }
}

impl<S: Store> Store for PlannedStore<S> {
    fn open(&self, path: &RemotePath, first: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
        self.inner.open(self.here(path)?, first)
    }

    fn list(&self, _: &ListQuery, _: &mut Visit<'_>) -> Result<(), StoreError> {
        Err(StoreError::Unsupported)
    }
}

impl<S: WriteStore> WriteStore for PlannedStore<S> {
    fn existing(&self, path: &RemotePath) -> Result<Option<TargetMeta>, StoreError> {
        self.inner.existing(self.here(path)?)
    }

    fn stage_sparse(
        &self,
        path: &RemotePath,
        spec: &StageSpec,
        holes: u64,
    ) -> Result<Arc<dyn StagedObject>, StoreError> {
        let (here, condition) = self.find(path)?;
        let inner = self.inner.stage_sparse(here, spec, holes)?;
        Ok(Arc::new(PlannedStage { inner, condition: condition.clone() }))
    }

    fn put(&self, path: &RemotePath, content: &[Bytes], commit: &CommitSpec) -> Result<(), StoreError> {
        let (here, commit) = self.planned(path, commit)?;
        self.inner.put(here, content, &commit)
    }

    fn put_described(
        &self,
        path: &RemotePath,
        content: &[Bytes],
        commit: &CommitSpec,
    ) -> Result<ObjectMeta, StoreError> {
        let (here, commit) = self.planned(path, commit)?;
        self.inner.put_described(here, content, &commit)
    }

    fn touch(&self, path: &RemotePath, modified: Timestamp) -> Result<(), StoreError> {
        self.inner.touch(self.here(path)?, modified)
    }

    fn set_executable(&self, path: &RemotePath, executable: bool) -> Result<(), StoreError> {
        self.inner.set_executable(self.here(path)?, executable)
    }

    fn remove(&self, _: &RemotePath, _: &Condition, _: bool) -> Result<(), StoreError> {
        Err(StoreError::Unsupported)
    }

    fn make_directory(&self, _: &RemotePath, _: Option<Timestamp>, _: bool) -> Result<(), StoreError> {
        Err(StoreError::Unsupported)
    }

    fn remove_directory(&self, _: &RemotePath, _: bool) -> Result<(), StoreError> {
        Err(StoreError::Unsupported)
    }

    fn make_link(&self, _: &RemotePath, _: &str, _: bool) -> Result<(), StoreError> {
        Err(StoreError::Unsupported)
    }

    fn sync_directories(&self) -> Result<(), StoreError> {
        self.inner.sync_directories()
    }
}

/// A stage that is committed under the condition of the plan.
struct PlannedStage {
    inner: Arc<dyn StagedObject>,
    condition: Condition,
}

impl StagedObject for PlannedStage {
    fn recorded_frontier(&self) -> u64 {
        self.inner.recorded_frontier()
    }

    fn write_at(&self, offset: u64, chunks: &[Bytes]) -> Result<(), StoreError> {
        self.inner.write_at(offset, chunks)
    }

    fn write_zeros(&self, range: Range<u64>) -> Result<(), StoreError> {
        self.inner.write_zeros(range)
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        self.inner.read_at(offset, length)
    }

    fn record_frontier(&self, frontier: u64) -> Result<(), StoreError> {
        self.inner.record_frontier(frontier)
    }

    fn commit(&self, spec: &CommitSpec) -> Result<ObjectMeta, StoreError> {
        self.inner.commit(&CommitSpec { condition: self.condition.clone(), ..spec.clone() })
    }

    fn discard(&self) -> Result<(), StoreError> {
        self.inner.discard()
    }
}
