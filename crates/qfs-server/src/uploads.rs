//! Uploads that come in several requests: which are known, who works on each, and which are done.
//!
//! What has arrived lies in partial files, which outlast this table: an upload that it has forgotten, or that began before the
//! server was started again, is taken up from there. Knows no protocol and reaches no file.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qfs_core::body::Assembly;
use qfs_core::model::Digest;
use qfs_core::store::{StagedObject, StoreError};
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::{Instant, timeout};

/// Uploads that are known at once, each with a partial file open at most. Beyond it the one that was looked at longest ago is
/// forgotten, unless somebody works on it; nothing is lost of it but that nothing has come yet.
const MAX_KNOWN: usize = 256;

/// Uploads that are remembered as done, some 40 bytes each.
const MAX_DONE: usize = 4096;

/// The partial file of an upload that nobody works on is closed after this time.
const IDLE: Duration = Duration::from_secs(60);

/// How long whoever comes waits for the one before, which was told to stop, to write down what it has.
const HANDOVER: Duration = Duration::from_secs(5);

/// What names an upload: made of all that it is.
pub(crate) type Key = Digest;

/// See the module.
#[derive(Default)]
pub(crate) struct Uploads(Mutex<Table>);

#[derive(Default)]
struct Table {
    known: HashMap<Key, Arc<Slot>>,
    done: VecDeque<(Key, u64)>,
}

struct Slot {
    held: Arc<tokio::sync::Mutex<State>>,
    /// Counts those who came; each but the last is to stop.
    comers: watch::Sender<u64>,
    seen: Mutex<Instant>,
}

/// What is open of an upload.
#[derive(Default)]
pub(crate) enum State {
    /// Nothing.
    #[default]
    Closed,
    /// Its partial file, not read yet.
    Staged(Arc<dyn StagedObject>),
    /// Its partial file, read back and hashed.
    Open(Arc<Assembly>),
}

impl State {
    /// Bytes that have arrived for good; None when nothing is open.
    pub(crate) fn offset(&self) -> Option<u64> {
        match self {
            Self::Closed => None,
            Self::Staged(stage) => Some(stage.recorded_frontier()),
            Self::Open(assembly) => Some(assembly.frontier()),
        }
    }

    /// The partial file.
    pub(crate) fn stage(&self) -> Option<Arc<dyn StagedObject>> {
        match self {
            Self::Closed => None,
            Self::Staged(stage) => Some(Arc::clone(stage)),
            Self::Open(assembly) => Some(Arc::clone(assembly.stage())),
        }
    }
}

/// The only one who works on an upload, until it is dropped or somebody else comes.
pub(crate) struct Held {
    pub(crate) state: OwnedMutexGuard<State>,
    comers: watch::Receiver<u64>,
    mine: u64,
}

impl Held {
    /// Resolves when somebody else has come: what has arrived is to be written down, and this dropped.
    pub(crate) async fn is_wanted(&mut self) {
        let mine = self.mine;
        if self.comers.wait_for(|count| *count != mine).await.is_err() {
            // Nobody can come any more.
            std::future::pending::<()>().await;
        }
    }
}

/// What is known of an upload.
pub(crate) enum Found {
    /// It goes on.
    Known(Held),
    /// It was begun elsewhere, if at all; the partial file tells.
    Unknown(Held),
    /// It is done, with so many bytes.
    Done(u64),
}

impl Uploads {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `key` over from whoever works on it. None when that one does not stop in time.
    pub(crate) async fn take(&self, key: Key) -> Option<Found> {
        let (slot, is_known) = {
            let mut table = self.table();
            if let Some((_, size)) = table.done.iter().find(|(done, _)| *done == key) {
                return Some(Found::Done(*size));
            }
            match table.known.get(&key) {
                Some(slot) => (Arc::clone(slot), true),
                None => (table.add(key), false),
            }
        };
        let mut mine = 0;
        slot.comers.send_modify(|count| {
            *count += 1;
            mine = *count;
        });
        let state = timeout(HANDOVER, Arc::clone(&slot.held).lock_owned()).await.ok()?;
        *slot.seen.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        // Whoever had it meanwhile may have brought it to its end.
        let table = self.table();
        if let Some((_, size)) = table.done.iter().find(|(done, _)| *done == key) {
            return Some(Found::Done(*size));
        }
        let is_same = table.known.get(&key).is_some_and(|known| Arc::ptr_eq(known, &slot));
        let held = Held { state, comers: slot.comers.subscribe(), mine };
        Some(if is_known && is_same { Found::Known(held) } else { Found::Unknown(held) })
    }

    /// Forgets `key`: it never was, or is not wanted any more.
    pub(crate) fn forget(&self, key: Key) {
        self.table().known.remove(&key);
    }

    /// Remembers `key` as done, with `size` bytes.
    pub(crate) fn complete(&self, key: Key, size: u64) {
        let mut table = self.table();
        table.known.remove(&key);
        if table.done.len() >= MAX_DONE {
            table.done.pop_front();
        }
        table.done.push_back((key, size));
    }

    /// Closes partial files that nobody has worked on for long, for as long as it is polled.
    pub(crate) async fn sweep_for_ever(&self) -> Infallible {
        loop {
            tokio::time::sleep(IDLE / 2).await;
            let idle = self.table().idle(IDLE);
            // Closing one may remove its file.
            let _ = tokio::task::spawn_blocking(move || drop(idle)).await;
        }
    }
}

impl Table {
    fn add(&mut self, key: Key) -> Arc<Slot> {
        if self.known.len() >= MAX_KNOWN {
            let free = self.known.iter().filter(|(_, slot)| slot.held.try_lock().is_ok());
            let oldest = free.min_by_key(|(_, slot)| slot.last()).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                self.known.remove(&oldest);
            }
        }
        let slot =
            Arc::new(Slot { held: Arc::default(), comers: watch::Sender::new(0), seen: Mutex::new(Instant::now()) });
        self.known.insert(key, Arc::clone(&slot));
        slot
    }

    /// What is open of uploads that were last looked at before `age`.
    fn idle(&self, age: Duration) -> Vec<State> {
        let old = self.known.values().filter(|slot| slot.last().elapsed() >= age);
        let mut idle = Vec::new();
        for slot in old {
            if let Ok(mut state) = slot.held.try_lock()
                // Nothing that has come is lost by closing it; where nothing has come there is nothing to close.
                && state.offset().is_some_and(|offset| offset > 0)
            {
                idle.push(std::mem::take(&mut *state));
            }
        }
        idle
    }
}

impl Slot {
    fn last(&self) -> Instant {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes down how much of `assembly` has arrived, so that it is found again. Blocks.
///
/// # Errors
/// What writing the record failed with.
pub(crate) fn settle(assembly: &Assembly, size: u64) -> Result<(), StoreError> {
    if assembly.frontier() == size { assembly.stage().record_frontier(size) } else { assembly.record() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Key {
        Digest::of(&n.to_le_bytes())
    }

    #[tokio::test]
    async fn whoever_comes_last_has_it() {
        let uploads = Arc::new(Uploads::default());
        let Some(Found::Unknown(mut first)) = uploads.take(key(1)).await else { panic!("nobody had it") };
        let second = tokio::spawn({
            let uploads = Arc::clone(&uploads);
            async move { matches!(uploads.take(key(1)).await, Some(Found::Known(_))) }
        });
        first.is_wanted().await;
        drop(first);
        assert!(second.await.unwrap());
        uploads.complete(key(1), 7);
        assert!(matches!(uploads.take(key(1)).await, Some(Found::Done(7))));
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let uploads = Uploads::default();
        let Some(Found::Unknown(busy)) = uploads.take(key(0)).await else { panic!("nobody had it") };
        for n in 1..2 * MAX_KNOWN as u32 {
            drop(uploads.take(key(n)).await);
        }
        assert!(uploads.table().known.len() <= MAX_KNOWN);
        assert!(uploads.table().known.contains_key(&key(0)), "somebody works on it");
        drop(busy);
        for n in 0..2 * MAX_DONE as u32 {
            uploads.complete(key(n), 0);
        }
        assert_eq!(uploads.table().done.len(), MAX_DONE);
    }
}
