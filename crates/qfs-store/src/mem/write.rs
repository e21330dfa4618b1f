//! The writing half of the store in memory.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use jiff::Timestamp;

use qfs_core::model::{ETag, RemotePath};
use qfs_core::store::{
    CommitSpec, Condition, DirectoryMeta, LinkMeta, ObjectMeta, StageSpec, StagedObject, StoreError, TargetMeta,
    WriteStore,
};

use super::{
    MemStore, Node, Partial, Shared, directories_above, ensure_directories, ensure_no_conflict, ensure_version, lock,
    slice,
};

impl WriteStore for MemStore {
    fn existing(&self, path: &RemotePath) -> Result<Option<TargetMeta>, StoreError> {
        let tree = lock(&self.shared.tree);
        ensure_no_conflict(&tree, path)?;
        match tree.get(path) {
            None => Ok(None),
            Some(Node::File(file)) => {
                let meta = &lock(&file.0).meta;
                Ok(Some(TargetMeta { size: meta.size, modified: meta.modified, executable: meta.executable }))
            }
            Some(Node::Directory(_) | Node::Link(_)) => Err(StoreError::NotRegular),
        }
    }

    fn stage_sparse(&self, path: &RemotePath, spec: &StageSpec, _: u64) -> Result<Arc<dyn StagedObject>, StoreError> {
        self.shared.ensure_space(spec.size.unwrap_or(0))?;
        ensure_directories(&mut lock(&self.shared.tree), path)?;
        let key = (path.clone(), spec.etag.clone());
        let mut partials = lock(&self.shared.partials);
        let private = match spec.size {
            Some(_) => std::mem::replace(&mut partials.entry(key.clone()).or_default().taken, true),
            None => true,
        };
        let (content, before) = match partials.get_mut(&key) {
            Some(known) if !private => (std::mem::take(&mut known.content), known.frontier),
            _ => (Vec::new(), 0),
        };
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
        self.put_described(path, content, commit).map(drop)
    }

    fn put_described(
        &self,
        path: &RemotePath,
        content: &[Bytes],
        commit: &CommitSpec,
    ) -> Result<ObjectMeta, StoreError> {
        let content: Bytes = content.concat().into();
        self.shared.ensure_space(content.len() as u64)?;
        self.shared.commit(path, content, commit)
    }

    fn touch(&self, path: &RemotePath, modified: Timestamp) -> Result<(), StoreError> {
        let file = self.shared.file(path).ok_or(StoreError::NotFound)?;
        let mut version = lock(&file.0);
        *version = self.shared.version(version.content.clone(), modified, version.meta.executable);
        Ok(())
    }

    fn set_executable(&self, path: &RemotePath, executable: bool) -> Result<(), StoreError> {
        let file = self.shared.file(path).ok_or(StoreError::NotFound)?;
        let mut version = lock(&file.0);
        *version = self.shared.version(version.content.clone(), version.meta.modified, executable);
        Ok(())
    }

    fn remove(&self, path: &RemotePath, condition: &Condition, _: bool) -> Result<(), StoreError> {
        let mut tree = lock(&self.shared.tree);
        ensure_no_conflict(&tree, path)?;
        match (condition, tree.get(path)) {
            (_, None) => return Err(StoreError::NotFound),
            (_, Some(Node::Directory(_))) => return Err(StoreError::NotRegular),
            (Condition::Absent, _) => return Err(StoreError::Exists),
            (Condition::Matches(etag), found) => ensure_version(found, etag)?,
            (Condition::Any, _) => {}
        }
        tree.remove(path);
        Ok(())
    }

    fn remove_link(&self, path: &RemotePath, text: Option<&str>, _: bool) -> Result<(), StoreError> {
        let mut tree = lock(&self.shared.tree);
        ensure_no_conflict(&tree, path)?;
        match tree.get(path) {
            None => return Err(StoreError::NotFound),
            Some(Node::File(_) | Node::Directory(_)) => return Err(StoreError::NotRegular),
            Some(Node::Link(link)) if text.is_some_and(|text| text != link.target) => return Err(StoreError::Conflict),
            Some(Node::Link(_)) => {}
        }
        tree.remove(path);
        Ok(())
    }

    fn make_directory(&self, path: &RemotePath, modified: Option<Timestamp>, _: bool) -> Result<(), StoreError> {
        let mut tree = lock(&self.shared.tree);
        ensure_directories(&mut tree, path)?;
        let made = || Node::Directory(DirectoryMeta { modified: Timestamp::now() });
        match (tree.entry(path.clone()).or_insert_with(made), modified) {
            (Node::Directory(meta), Some(modified)) => meta.modified = modified,
            (Node::Directory(_), None) => {}
            (Node::File(_) | Node::Link(_), _) => return Err(StoreError::NotRegular),
        }
        Ok(())
    }

    fn remove_directory(&self, path: &RemotePath, _: bool) -> Result<(), StoreError> {
        let mut tree = lock(&self.shared.tree);
        ensure_no_conflict(&tree, path)?;
        match tree.get(path) {
            None => Err(StoreError::NotFound),
            Some(Node::File(_) | Node::Link(_)) => Err(StoreError::NotRegular),
            Some(Node::Directory(_)) => {
                if tree.keys().any(|inner| directories_above(inner).any(|outer| outer == *path)) {
                    return Err(StoreError::NotEmpty);
                }
                tree.remove(path);
                Ok(())
            }
        }
    }

    fn make_link(&self, path: &RemotePath, target: &str, _: bool) -> Result<(), StoreError> {
        if !path.admits_link(target) {
            return Err(StoreError::Outside);
        }
        let mut tree = lock(&self.shared.tree);
        ensure_directories(&mut tree, path)?;
        match tree.get(path) {
            Some(Node::File(_)) => Err(StoreError::Exists),
            Some(Node::Directory(_) | Node::Link(_)) => Err(StoreError::NotRegular),
            None => {
                let link = LinkMeta { target: target.to_owned(), modified: Timestamp::now() };
                tree.insert(path.clone(), Node::Link(link));
                Ok(())
            }
        }
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
    size: Option<u64>,
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
        let end = offset
            .checked_add(added.len() as u64)
            .filter(|end| self.size.is_none_or(|size| *end <= size))
            .ok_or_else(invalid)?;
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
        let mut state = lock(&self.state);
        if frontier > self.size.unwrap_or(state.0.len() as u64) {
            return Err(StoreError::Io(io::ErrorKind::InvalidInput.into()));
        }
        state.1 = frontier;
        Ok(())
    }

    fn commit(&self, spec: &CommitSpec) -> Result<ObjectMeta, StoreError> {
        let mut state = lock(&self.state);
        let length = state.0.len() as u64;
        if self.size.is_some_and(|size| length < size) {
            return Err(StoreError::Changed);
        }
        let content = Bytes::copy_from_slice(&state.0);
        let meta = self.shared.commit(&self.key.0, content, spec).inspect_err(|_| state.1 = length)?;
        drop(state);
        self.finish();
        Ok(meta)
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
