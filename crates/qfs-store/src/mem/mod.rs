//! A store in memory, for tests: versions, in-place changes, directories, links and partial objects behave as on a disk,
//! without one.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;

use qfs_core::model::{ETag, RemotePath};
use qfs_core::store::{
    CommitSpec, Condition, DirectoryMeta, Entry, LinkMeta, ListQuery, Object, ObjectMeta, Store, StoreError, Visit,
};

mod write;

/// A [`Store`] and [`WriteStore`](qfs_core::store::WriteStore) in memory. Cloning is cheap and gives the same store.
#[derive(Debug, Clone, Default)]
pub struct MemStore {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    tree: Mutex<BTreeMap<RemotePath, Node>>,
    partials: Mutex<HashMap<(RemotePath, ETag), Partial>>,
    versions: AtomicU64,
    /// Bytes all files together may have; 0 is no limit.
    capacity: AtomicU64,
}

/// What is under a name. Every directory on the way to a name is a node, too.
#[derive(Debug, Clone)]
enum Node {
    File(Arc<MemFile>),
    Directory(DirectoryMeta),
    Link(LinkMeta),
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
        let version = self.shared.version(content.into(), modified, false);
        let etag = version.meta.etag.clone();
        let mut tree = lock(&self.shared.tree);
        ensure_directories(&mut tree, path).expect("no file where a directory would have to be");
        tree.insert(path.clone(), Node::File(Arc::new(MemFile(Mutex::new(version)))));
        etag
    }

    /// Changes the content of `path` in place, as a writer with the file open does: objects opened before see the new
    /// bytes and fail [`Object::ensure_unchanged`]. False when there is no such file.
    pub fn mutate(&self, path: &RemotePath, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(file) = self.shared.file(path) else { return false };
        let mut version = lock(&file.0);
        let mut content = version.content.to_vec();
        change(&mut content);
        *version = self.shared.version(content.into(), Timestamp::now(), version.meta.executable);
        true
    }

    /// Removes `path`, as another program does; objects opened before keep what they had. False when there is nothing.
    pub fn take_away(&self, path: &RemotePath) -> bool {
        lock(&self.shared.tree).remove(path).is_some()
    }

    /// The content of `path`.
    #[must_use]
    pub fn content(&self, path: &RemotePath) -> Option<Bytes> {
        let file = self.shared.file(path)?;
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
    fn file(&self, path: &RemotePath) -> Option<Arc<MemFile>> {
        match lock(&self.tree).get(path)? {
            Node::File(file) => Some(Arc::clone(file)),
            Node::Directory(_) | Node::Link(_) => None,
        }
    }

    fn version(&self, content: Bytes, modified: Timestamp, executable: bool) -> Version {
        let number = self.versions.fetch_add(1, Ordering::Relaxed);
        let etag = format!("{number:032x}").parse().expect("hexadecimal digits are an etag");
        let meta = ObjectMeta { size: content.len() as u64, modified, etag, unsettled: false, executable };
        Version { content, meta }
    }

    fn ensure_space(&self, size: u64) -> Result<(), StoreError> {
        let capacity = self.capacity.load(Ordering::Relaxed);
        if capacity == 0 {
            return Ok(());
        }
        let size_of = |node: &Node| match node {
            Node::File(file) => lock(&file.0).meta.size,
            Node::Directory(_) | Node::Link(_) => 0,
        };
        let used: u64 = lock(&self.tree).values().map(size_of).sum();
        let available = capacity.saturating_sub(used);
        if size <= available {
            return Ok(());
        }
        Err(StoreError::NoSpace { needed: Some(size), available: Some(available) })
    }

    fn commit(&self, path: &RemotePath, content: Bytes, spec: &CommitSpec) -> Result<ObjectMeta, StoreError> {
        let mut tree = lock(&self.tree);
        let replaced = match tree.get(path) {
            Some(Node::File(file)) => lock(&file.0).meta.executable,
            Some(Node::Directory(_) | Node::Link(_)) | None => false,
        };
        let version = self.version(content, spec.modified, spec.executable.unwrap_or(replaced));
        let meta = version.meta.clone();
        ensure_directories(&mut tree, path)?;
        match (&spec.condition, tree.get(path)) {
            (_, Some(Node::Directory(_))) | (Condition::Absent | Condition::Matches(_), Some(Node::Link(_))) => {
                return Err(StoreError::NotRegular);
            }
            (Condition::Absent, Some(Node::File(_))) => return Err(StoreError::Exists),
            (Condition::Matches(etag), found) => ensure_version(found, etag)?,
            (Condition::Any, _) | (Condition::Absent, None) => {}
        }
        tree.insert(path.clone(), Node::File(Arc::new(MemFile(Mutex::new(version)))));
        Ok(meta)
    }
}

/// [`StoreError::Conflict`] unless `found` is a file of this version.
fn ensure_version(found: Option<&Node>, etag: &ETag) -> Result<(), StoreError> {
    match found {
        Some(Node::File(file)) if lock(&file.0).meta.etag == *etag => Ok(()),
        _ => Err(StoreError::Conflict),
    }
}

/// The directories that `path` lies in, the innermost first.
fn directories_above(path: &RemotePath) -> impl Iterator<Item = RemotePath> {
    std::iter::successors(path.parent().map(str::to_owned), |path| {
        path.rsplit_once('/').map(|(parent, _)| parent.to_owned())
    })
    .filter_map(|path| RemotePath::try_from(path).ok())
}

/// A name cannot be both a file and a directory.
fn ensure_no_conflict(tree: &BTreeMap<RemotePath, Node>, path: &RemotePath) -> Result<(), StoreError> {
    let is_directory = |path: &RemotePath| matches!(tree.get(path), None | Some(Node::Directory(_)));
    if directories_above(path).all(|path| is_directory(&path)) { Ok(()) } else { Err(StoreError::NotRegular) }
}

/// Makes the directories that `path` lies in.
fn ensure_directories(tree: &mut BTreeMap<RemotePath, Node>, path: &RemotePath) -> Result<(), StoreError> {
    ensure_no_conflict(tree, path)?;
    for directory in directories_above(path) {
        tree.entry(directory).or_insert_with(|| Node::Directory(DirectoryMeta { modified: Timestamp::now() }));
    }
    Ok(())
}

impl Store for MemStore {
    fn open(&self, path: &RemotePath, first: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
        let file = self.shared.file(path).ok_or(StoreError::NotFound)?;
        let Version { content, meta } = lock(&file.0).clone();
        let content = if content.len() <= first { content } else { Bytes::new() };
        Ok((Arc::new(MemObject { file, meta }), content))
    }

    fn list(&self, query: &ListQuery, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let tree = lock(&self.shared.tree).clone();
        if let Some(prefix) = &query.prefix
            && !matches!(tree.get(prefix), Some(Node::Directory(_)))
        {
            return Err(StoreError::NotFound);
        }
        for (path, node) in tree {
            let is_below = |prefix: &RemotePath| {
                path.as_str().strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/'))
            };
            let depth = query.prefix.as_ref().map_or(0, |prefix| prefix.components().count());
            if query.shallow && path.components().count() > depth + 1 {
                continue;
            }
            if !query.prefix.as_ref().is_none_or(is_below) || query.after.as_ref().is_some_and(|after| path <= *after) {
                continue;
            }
            let entry = match node {
                Node::File(file) => Entry::File(lock(&file.0).meta.clone()),
                Node::Directory(meta) if query.directories => Entry::Directory(meta),
                Node::Link(meta) if query.links => Entry::Link(meta),
                Node::Directory(_) | Node::Link(_) => continue,
            };
            if let ControlFlow::Break(()) = visit(path, entry) {
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

fn slice(content: &[u8], offset: u64, length: usize) -> Result<&[u8], StoreError> {
    let start = usize::try_from(offset).map_err(|_| StoreError::Changed)?;
    let end = start.checked_add(length).ok_or(StoreError::Changed)?;
    content.get(start..end).ok_or(StoreError::Changed)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
