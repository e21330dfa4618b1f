//! The stores of qfs-core keep what the contract promises.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test, which acts behind the store's back")]

use std::fs;

use qfs_core::model::RemotePath;
use qfs_store::local::LocalStore;
use qfs_store::mem::MemStore;
use qfs_testkit::conformance::Subject;
use qfs_testkit::fault_store::FaultStore;
use tempfile::TempDir;

struct Local {
    root: TempDir,
    store: LocalStore,
}

impl Subject for Local {
    type Store = LocalStore;

    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = LocalStore::open_root(root.path()).unwrap();
        Self { root, store }
    }

    fn store(&self) -> &LocalStore {
        &self.store
    }

    fn another(&self) -> LocalStore {
        LocalStore::open_root(self.root.path()).unwrap()
    }

    fn mutate(&self, path: &RemotePath, content: &[u8]) {
        fs::write(self.root.path().join(path.as_str()), content).unwrap();
    }

    fn remove(&self, path: &RemotePath) {
        fs::remove_file(self.root.path().join(path.as_str())).unwrap();
    }

    fn partials(&self) -> usize {
        partials_below(self.root.path())
    }
}

fn partials_below(directory: &std::path::Path) -> usize {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => partials_below(&entry.path()),
            false => usize::from(entry.file_name().to_str().is_some_and(|name| name.ends_with(".qfs-part"))),
        })
        .sum()
}

struct Mem(MemStore);

impl Subject for Mem {
    type Store = MemStore;

    fn new() -> Self {
        Self(MemStore::new())
    }

    fn store(&self) -> &MemStore {
        &self.0
    }

    fn another(&self) -> MemStore {
        self.0.clone()
    }

    fn mutate(&self, path: &RemotePath, content: &[u8]) {
        assert!(self.0.mutate(path, |old| *old = content.to_vec()));
    }

    fn remove(&self, path: &RemotePath) {
        assert!(self.0.take_away(path));
    }

    fn partials(&self) -> usize {
        self.0.partial_count()
    }
}

/// Without a fault, the decorator must be invisible.
struct Faultless {
    inner: MemStore,
    store: FaultStore<MemStore>,
}

impl Subject for Faultless {
    type Store = FaultStore<MemStore>;

    fn new() -> Self {
        let inner = MemStore::new();
        Self { store: FaultStore::new(inner.clone()), inner }
    }

    fn store(&self) -> &FaultStore<MemStore> {
        &self.store
    }

    fn another(&self) -> FaultStore<MemStore> {
        FaultStore::new(self.inner.clone())
    }

    fn mutate(&self, path: &RemotePath, content: &[u8]) {
        assert!(self.inner.mutate(path, |old| *old = content.to_vec()));
    }

    fn remove(&self, path: &RemotePath) {
        assert!(self.inner.take_away(path));
    }

    fn partials(&self) -> usize {
        self.inner.partial_count()
    }
}

qfs_testkit::store_conformance!(local_store, Local);
qfs_testkit::store_conformance!(mem_store, Mem);
qfs_testkit::store_conformance!(fault_store_without_faults, Faultless);
