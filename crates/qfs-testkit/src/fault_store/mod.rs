//! A store that fails, lies, stalls or is changed under its reader, at the Nth operation of a kind.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use qfs_core::store::StoreError;
#[cfg(doc)]
use qfs_core::store::{Store, WriteStore};

mod store;

/// A kind of operation, counted on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Store::open`].
    Open,
    /// [`Object::read_at`](qfs_core::store::Object::read_at), and the reading that [`Store::open`] does.
    Read,
    /// [`Object::ensure_unchanged`](qfs_core::store::Object::ensure_unchanged).
    EnsureUnchanged,
    /// [`Store::list`].
    List,
    /// [`WriteStore::existing`].
    Existing,
    /// [`WriteStore::stage`].
    Stage,
    /// [`StagedObject::write_at`](qfs_core::store::StagedObject::write_at).
    Write,
    /// [`StagedObject::read_at`](qfs_core::store::StagedObject::read_at).
    ReadBack,
    /// [`StagedObject::record_frontier`](qfs_core::store::StagedObject::record_frontier).
    RecordFrontier,
    /// [`StagedObject::commit`](qfs_core::store::StagedObject::commit).
    Commit,
    /// [`StagedObject::discard`](qfs_core::store::StagedObject::discard).
    Discard,
    /// [`WriteStore::put`] and [`WriteStore::put_described`].
    Put,
    /// [`WriteStore::touch`].
    Touch,
    /// [`WriteStore::remove`].
    Remove,
    /// [`WriteStore::make_directory`].
    MakeDirectory,
    /// [`WriteStore::remove_directory`].
    RemoveDirectory,
    /// [`WriteStore::make_link`].
    MakeLink,
    /// [`WriteStore::sync_directories`].
    SyncDirectories,
}

/// What goes wrong.
#[derive(Clone)]
pub enum Fault {
    /// The operation is not carried out and fails with this error.
    Fail(Arc<dyn Fn() -> StoreError + Send + Sync>),
    /// Only the first so many bytes are read, written or put, or rows listed, and success is reported. Others: nothing.
    Truncate(usize),
    /// One bit is flipped in the byte at this place of what is read, written or put. Others: nothing.
    Corrupt(usize),
    /// The operation waits this long first.
    Stall(Duration),
    /// The operation waits first until the gate is opened.
    StallUntil(Gate),
    /// This runs first, for instance to change the object under its reader.
    Call(Arc<dyn Fn() + Send + Sync>),
}

impl Fault {
    /// Fails with the error that `make` makes.
    pub fn fail(make: impl Fn() -> StoreError + Send + Sync + 'static) -> Self {
        Self::Fail(Arc::new(make))
    }

    /// Runs `act` first.
    pub fn call(act: impl Fn() + Send + Sync + 'static) -> Self {
        Self::Call(Arc::new(act))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail(make) => write!(f, "Fail({:?})", make()),
            Self::Truncate(length) => write!(f, "Truncate({length})"),
            Self::Corrupt(place) => write!(f, "Corrupt({place})"),
            Self::Stall(time) => write!(f, "Stall({time:?})"),
            Self::StallUntil(_) => f.write_str("StallUntil"),
            Self::Call(_) => f.write_str("Call"),
        }
    }
}

/// Holds stalled operations until it is opened, once and for all. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open.
    pub fn pass(&self) {
        let mut open = lock(&self.0.0);
        while !*open {
            open = self.0.1.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A [`Store`] or [`WriteStore`] with faults. Clones share their counters and faults.
#[derive(Debug)]
pub struct FaultStore<S> {
    inner: Arc<S>,
    plan: Arc<Plan>,
}

impl<S> Clone for FaultStore<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), plan: Arc::clone(&self.plan) }
    }
}

#[derive(Debug, Default)]
struct Plan(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    counts: HashMap<Operation, u64>,
    faults: Vec<Planned>,
}

#[derive(Debug)]
struct Planned {
    operation: Operation,
    first: u64,
    last: u64,
    fault: Fault,
}

impl<S> FaultStore<S> {
    /// `inner`, without a fault yet.
    pub fn new(inner: S) -> Self {
        Self { inner: Arc::new(inner), plan: Arc::default() }
    }

    /// The store behind it.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Lets the `nth` operation of this kind go wrong, counted from 1 since the store was made.
    pub fn inject(&self, operation: Operation, nth: u64, fault: Fault) {
        self.plan.add(Planned { operation, first: nth, last: nth, fault });
    }

    /// Lets the `nth` operation of this kind and all later ones go wrong.
    pub fn inject_from(&self, operation: Operation, nth: u64, fault: Fault) {
        self.plan.add(Planned { operation, first: nth, last: u64::MAX, fault });
    }

    /// Takes all faults back; operations that are stalled stay so.
    pub fn heal(&self) {
        lock(&self.plan.0).faults.clear();
    }

    /// How many operations of this kind were begun.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.plan.count(operation)
    }
}

impl Plan {
    fn add(&self, planned: Planned) {
        lock(&self.0).faults.push(planned);
    }

    fn count(&self, operation: Operation) -> u64 {
        lock(&self.0).counts.get(&operation).copied().unwrap_or(0)
    }

    /// Counts an operation and lets its faults happen; what is to be done to its bytes is returned.
    fn begin(&self, operation: Operation) -> Result<Harm, StoreError> {
        let due: Vec<Fault> = {
            let mut state = lock(&self.0);
            let count = state.counts.entry(operation).or_default();
            *count += 1;
            let count = *count;
            let due =
                |planned: &&Planned| planned.operation == operation && (planned.first..=planned.last).contains(&count);
            state.faults.iter().filter(due).map(|planned| planned.fault.clone()).collect()
        };
        let mut harm = Harm::default();
        for fault in due {
            match fault {
                Fault::Fail(make) => return Err(make()),
                Fault::Truncate(length) => harm.keep = Some(length),
                Fault::Corrupt(place) => harm.flip = Some(place),
                Fault::Stall(time) => thread::sleep(time),
                Fault::StallUntil(gate) => gate.pass(),
                Fault::Call(act) => act(),
            }
        }
        Ok(harm)
    }
}

/// What happens to the bytes of an operation.
#[derive(Debug, Default)]
struct Harm {
    keep: Option<usize>,
    flip: Option<usize>,
}

impl Harm {
    fn is_none(&self) -> bool {
        self.keep.is_none() && self.flip.is_none()
    }

    fn apply(&self, bytes: Bytes) -> Bytes {
        if self.is_none() {
            return bytes;
        }
        let mut bytes = bytes.to_vec();
        if let Some(byte) = self.flip.and_then(|place| bytes.get_mut(place)) {
            *byte ^= 1;
        }
        bytes.truncate(self.keep.unwrap_or(usize::MAX));
        bytes.into()
    }

    /// As [`Self::apply`], of chunks that belong one behind the other.
    fn apply_to_chunks(&self, chunks: &[Bytes]) -> Vec<Bytes> {
        if self.is_none() { chunks.to_vec() } else { vec![self.apply(chunks.concat().into())] }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use jiff::Timestamp;
    use qfs_core::model::RemotePath;
    use qfs_core::store::{CommitSpec, Condition, StageSpec, Store, WriteStore};
    use qfs_store::mem::MemStore;

    use super::*;

    fn path() -> RemotePath {
        RemotePath::parse("file").unwrap()
    }

    fn store() -> FaultStore<MemStore> {
        let inner = MemStore::new();
        inner.insert(&path(), "0123456789");
        FaultStore::new(inner)
    }

    fn read(store: &impl Store) -> Result<Bytes, StoreError> {
        store.object(&path())?.read_at(0, 10)
    }

    #[test]
    fn the_nth_operation_goes_wrong_and_only_it() {
        let store = store();
        store.inject(Operation::Read, 2, Fault::Corrupt(3));
        store.inject(Operation::Read, 3, Fault::Truncate(4));
        store.inject(Operation::Open, 4, Fault::fail(|| StoreError::Busy));
        assert_eq!(read(&store).unwrap(), "0123456789");
        assert_eq!(read(&store).unwrap(), "0122456789");
        assert_eq!(read(&store).unwrap(), "0123");
        assert!(matches!(read(&store), Err(StoreError::Busy)));
        assert_eq!(read(&store).unwrap(), "0123456789");
        assert_eq!((store.count(Operation::Open), store.count(Operation::Read)), (5, 4));
        store.inject_from(Operation::Open, 6, Fault::fail(|| StoreError::NotFound));
        assert!(read(&store).is_err() && read(&store).is_err());
        store.heal();
        assert!(read(&store).is_ok());
    }

    #[test]
    fn the_object_changes_under_its_reader() {
        let store = store();
        let inner = store.inner().clone();
        store.inject(
            Operation::Read,
            1,
            Fault::call(move || assert!(inner.mutate(&path(), |content| content[0] = b'X'))),
        );
        let object = store.object(&path()).unwrap();
        assert_eq!(object.read_at(0, 1).unwrap(), "X");
        assert!(matches!(object.ensure_unchanged(), Err(StoreError::Changed)));
    }

    #[test]
    fn writes_are_harmed_and_stalls_end() {
        let store = store();
        let gate = Gate::new();
        store.inject(Operation::Write, 1, Fault::Corrupt(1));
        store.inject(Operation::Write, 2, Fault::Stall(Duration::from_millis(20)));
        store.inject(Operation::Commit, 1, Fault::StallUntil(gate.clone()));
        let spec = StageSpec { size: Some(4), etag: "v".parse().unwrap() };
        let staged = store.stage(&RemotePath::parse("new").unwrap(), &spec).unwrap();
        staged.write_at(0, &[Bytes::from_static(b"a"), Bytes::from_static(b"b")]).unwrap();
        let start = Instant::now();
        staged.write_at(2, &[Bytes::from_static(b"cd")]).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert_eq!(staged.read_at(0, 4).unwrap(), "accd");
        let commit = CommitSpec {
            modified: Timestamp::UNIX_EPOCH,
            executable: None,
            condition: Condition::Absent,
            durable: false,
        };
        thread::scope(|scope| {
            let committing = scope.spawn(|| staged.commit(&commit));
            thread::sleep(Duration::from_millis(20));
            assert!(!committing.is_finished());
            gate.open();
            committing.join().unwrap().unwrap();
        });
    }
}
