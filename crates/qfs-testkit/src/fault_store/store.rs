//! The contract of a store, with each operation counted and harmed as planned.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use qfs_core::model::{Holes, RemotePath};
use qfs_core::store::{
    CommitSpec, Condition, ListQuery, Object, ObjectMeta, Space, StageSpec, StagedObject, Store, StoreError,
    TargetMeta, Visit, WriteStore,
};

use super::{FaultStore, Operation, Plan};

impl<S: Store> Store for FaultStore<S> {
    fn open(&self, path: &RemotePath, first: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
        self.plan.begin(Operation::Open)?;
        let (inner, mut content) = self.inner.open(path, first)?;
        if !content.is_empty() {
            content = self.plan.begin(Operation::Read)?.apply(content);
        }
        Ok((Arc::new(FaultObject { inner, plan: Arc::clone(&self.plan) }), content))
    }

    fn list(&self, query: &ListQuery, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let mut left = self.plan.begin(Operation::List)?.keep.unwrap_or(usize::MAX);
        self.inner.list(query, &mut |path, entry| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            visit(path, entry)
        })
    }
}

struct FaultObject {
    inner: Arc<dyn Object>,
    plan: Arc<Plan>,
}

impl Object for FaultObject {
    fn meta(&self) -> &ObjectMeta {
        self.inner.meta()
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let harm = self.plan.begin(Operation::Read)?;
        Ok(harm.apply(self.inner.read_at(offset, length)?))
    }

    fn holes(&self) -> Result<Holes, StoreError> {
        self.inner.holes()
    }

    fn ensure_unchanged(&self) -> Result<(), StoreError> {
        self.plan.begin(Operation::EnsureUnchanged)?;
        self.inner.ensure_unchanged()
    }

    fn ensure_not_shorter(&self) -> Result<(), StoreError> {
        self.plan.begin(Operation::EnsureUnchanged)?;
        self.inner.ensure_not_shorter()
    }
}

impl<S: WriteStore> WriteStore for FaultStore<S> {
    fn remove_abandoned(&self, age: std::time::Duration) -> Result<u64, StoreError> {
        self.inner.remove_abandoned(age)
    }

    fn existing(&self, path: &RemotePath) -> Result<Option<TargetMeta>, StoreError> {
        self.plan.begin(Operation::Existing)?;
        self.inner.existing(path)
    }

    fn stage_sparse(
        &self,
        path: &RemotePath,
        spec: &StageSpec,
        holes: u64,
    ) -> Result<Arc<dyn StagedObject>, StoreError> {
        self.plan.begin(Operation::Stage)?;
        Ok(Arc::new(FaultStaged { inner: self.inner.stage_sparse(path, spec, holes)?, plan: Arc::clone(&self.plan) }))
    }

    fn put(&self, path: &RemotePath, content: &[Bytes], commit: &CommitSpec) -> Result<(), StoreError> {
        let harm = self.plan.begin(Operation::Put)?;
        self.inner.put(path, &harm.apply_to_chunks(content), commit)
    }

    fn put_described(
        &self,
        path: &RemotePath,
        content: &[Bytes],
        commit: &CommitSpec,
    ) -> Result<ObjectMeta, StoreError> {
        let harm = self.plan.begin(Operation::Put)?;
        self.inner.put_described(path, &harm.apply_to_chunks(content), commit)
    }

    fn touch(&self, path: &RemotePath, modified: Timestamp) -> Result<(), StoreError> {
        self.plan.begin(Operation::Touch)?;
        self.inner.touch(path, modified)
    }

    fn set_executable(&self, path: &RemotePath, executable: bool) -> Result<(), StoreError> {
        self.plan.begin(Operation::Touch)?;
        self.inner.set_executable(path, executable)
    }

    fn space(&self) -> Result<Option<Space>, StoreError> {
        self.inner.space()
    }

    fn remove(&self, path: &RemotePath, condition: &Condition, durable: bool) -> Result<(), StoreError> {
        self.plan.begin(Operation::Remove)?;
        self.inner.remove(path, condition, durable)
    }

    fn make_directory(&self, path: &RemotePath, modified: Option<Timestamp>, durable: bool) -> Result<(), StoreError> {
        self.plan.begin(Operation::MakeDirectory)?;
        self.inner.make_directory(path, modified, durable)
    }

    fn remove_link(&self, path: &RemotePath, text: Option<&str>, durable: bool) -> Result<(), StoreError> {
        self.plan.begin(Operation::Remove)?;
        self.inner.remove_link(path, text, durable)
    }

    fn remove_directory(&self, path: &RemotePath, durable: bool) -> Result<(), StoreError> {
        self.plan.begin(Operation::RemoveDirectory)?;
        self.inner.remove_directory(path, durable)
    }

    fn make_link(&self, path: &RemotePath, target: &str, durable: bool) -> Result<(), StoreError> {
        self.plan.begin(Operation::MakeLink)?;
        self.inner.make_link(path, target, durable)
    }

    fn sync_directories(&self) -> Result<(), StoreError> {
        self.plan.begin(Operation::SyncDirectories)?;
        self.inner.sync_directories()
    }
}

struct FaultStaged {
    inner: Arc<dyn StagedObject>,
    plan: Arc<Plan>,
}

impl StagedObject for FaultStaged {
    fn recorded_frontier(&self) -> u64 {
        self.inner.recorded_frontier()
    }

    fn write_at(&self, offset: u64, chunks: &[Bytes]) -> Result<(), StoreError> {
        let harm = self.plan.begin(Operation::Write)?;
        self.inner.write_at(offset, &harm.apply_to_chunks(chunks))
    }

    fn write_zeros(&self, range: Range<u64>) -> Result<(), StoreError> {
        self.plan.begin(Operation::Write)?;
        self.inner.write_zeros(range)
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let harm = self.plan.begin(Operation::ReadBack)?;
        Ok(harm.apply(self.inner.read_at(offset, length)?))
    }

    fn record_frontier(&self, frontier: u64) -> Result<(), StoreError> {
        self.plan.begin(Operation::RecordFrontier)?;
        self.inner.record_frontier(frontier)
    }

    fn commit(&self, spec: &CommitSpec) -> Result<ObjectMeta, StoreError> {
        self.plan.begin(Operation::Commit)?;
        self.inner.commit(spec)
    }

    fn discard(&self) -> Result<(), StoreError> {
        self.plan.begin(Operation::Discard)?;
        self.inner.discard()
    }
}
