//! Blocks of objects in memory, shared by all who read: each is fetched once while it is kept, however many wait for it.
//!
//! Memory: [`MAX_BYTES`] for blocks that are kept or being fetched ahead, and besides one block for each thread that waits for one
//! beyond that. What was fetched ahead and nobody has read yet is let go last, and counts as ahead until then; those who read different
//! versions have an equal share of that, so that many readers do not fetch for each other's eviction.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use super::error::CloudError;

/// Bytes of a block, and what the readers above ask for at a time.
pub(super) const BLOCK: u64 = qfs_core::store::BLOCK_BYTES;

/// Bytes kept or under way.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// Of these, at most so many are under way ahead of whoever reads, or have come and wait to be read.
const MAX_AHEAD: u64 = MAX_BYTES / 2;

/// Blocks that are worth a request ahead, where more were wanted.
const LEAST_AHEAD: u64 = 8;

/// Which block of which version.
pub(super) type Id = (u128, u64);

/// See the module.
#[derive(Default)]
pub(super) struct Blocks {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    slots: HashMap<Id, Slot>,
    /// Blocks that are there, by when each was last asked for.
    used: BTreeMap<u64, Id>,
    /// Blocks that are there and that nobody has asked for, by when they came.
    unread: BTreeMap<u64, Id>,
    /// How many read each version from front to back.
    readers: HashMap<u128, usize>,
    clock: u64,
    bytes: u64,
    loading: u64,
}

enum Slot {
    Loading(Arc<Fetch>),
    Ready(Bytes, u64),
}

/// A request that brings blocks.
#[derive(Default)]
pub(super) struct Fetch(OnceLock<CloudError>);

impl Fetch {
    /// Why it has brought less than it was to.
    pub(super) fn error(&self) -> Option<CloudError> {
        self.0.get().cloned()
    }
}

impl Blocks {
    /// Somebody begins to read `version` from front to back, until [`Self::end`].
    pub(super) fn begin(&self, version: u128) {
        *self.lock().readers.entry(version).or_default() += 1;
    }

    /// One of those who read `version` has ended. What the last of them leaves unread may be let go.
    pub(super) fn end(&self, version: u128) {
        let mut state = self.lock();
        let Some(readers) = state.readers.get_mut(&version) else { return };
        *readers -= 1;
        if *readers == 0 {
            state.readers.remove(&version);
            let (left, unread) = std::mem::take(&mut state.unread).into_iter().partition(|(_, id)| id.0 == version);
            state.unread = unread;
            let left: BTreeMap<_, _> = left;
            state.used.extend(left);
        }
    }

    /// Blocks that one version may have ahead, while others are read.
    pub(super) fn share(&self) -> u64 {
        let versions = self.lock().readers.len().max(1) as u64;
        (MAX_AHEAD / BLOCK / versions).max(1)
    }

    /// Claims up to `count` blocks of `version` from `first` on that nobody has or fetches; where the first is there already, none. The
    /// caller fetches what it gets, and gives each to [`Self::put`] or all of them up by [`Self::fail`].
    ///
    /// Beyond what there is room for ahead, only the first is given, and only where `is_needed`; and none ahead where there is room for few.
    pub(super) fn claim(&self, version: u128, first: u64, count: u64, is_needed: bool) -> Option<(u64, Arc<Fetch>)> {
        let mut state = self.lock();
        let room = MAX_AHEAD.saturating_sub(state.loading) / BLOCK;
        let room = room.saturating_sub(state.unread.len() as u64);
        if !is_needed && room < count.min(LEAST_AHEAD) {
            return None;
        }
        let most = count.min(room.max(u64::from(is_needed)));
        let free =
            (first..first + most).take_while(|index| !state.slots.contains_key(&(version, *index))).count() as u64;
        if free == 0 {
            return None;
        }
        let fetch = Arc::new(Fetch::default());
        for index in first..first + free {
            state.slots.insert((version, index), Slot::Loading(Arc::clone(&fetch)));
        }
        state.loading += free * BLOCK;
        state.make_room();
        Some((free, fetch))
    }

    /// A block that was fetched.
    pub(super) fn put(&self, id: Id, content: Bytes) {
        let mut state = self.lock();
        state.clock += 1;
        let now = state.clock;
        state.bytes += content.len() as u64;
        match state.slots.insert(id, Slot::Ready(content, now)) {
            Some(Slot::Loading(_)) => state.loading = state.loading.saturating_sub(BLOCK),
            Some(Slot::Ready(before, at)) => {
                state.bytes -= before.len() as u64;
                state.forget(at);
            }
            None => {}
        }
        let is_read = state.readers.contains_key(&id.0);
        if is_read { &mut state.unread } else { &mut state.used }.insert(now, id);
        state.make_room();
        drop(state);
        self.arrived.notify_all();
    }

    /// Gives up what `fetch` has not brought of the blocks `range` of `version`.
    pub(super) fn fail(&self, version: u128, range: std::ops::Range<u64>, fetch: &Arc<Fetch>, why: CloudError) {
        let _ = fetch.0.set(why);
        let mut state = self.lock();
        for index in range {
            let id = (version, index);
            if matches!(state.slots.get(&id), Some(Slot::Loading(by)) if Arc::ptr_eq(by, fetch)) {
                state.slots.remove(&id);
                state.loading = state.loading.saturating_sub(BLOCK);
            }
        }
        drop(state);
        self.arrived.notify_all();
    }

    /// The block, once it is there; None when nobody fetches it, or it was let go before anybody looked. Blocks.
    ///
    /// # Errors
    /// What fetching it failed with.
    pub(super) fn wait(&self, id: Id) -> Result<Option<Bytes>, CloudError> {
        let mut state = self.lock();
        let mut awaited: Option<Arc<Fetch>> = None;
        loop {
            match state.slots.get(&id) {
                Some(Slot::Ready(content, at)) => {
                    let (content, at) = (content.clone(), *at);
                    state.touch(id, at);
                    return Ok(Some(content));
                }
                Some(Slot::Loading(fetch)) => awaited = Some(Arc::clone(fetch)),
                None => return awaited.and_then(|fetch| fetch.0.get().cloned()).map_or(Ok(None), Err),
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Bytes kept and under way.
    #[cfg(test)]
    fn bytes(&self) -> u64 {
        let state = self.lock();
        state.bytes + state.loading
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn touch(&mut self, id: Id, at: u64) {
        self.clock += 1;
        let now = self.clock;
        self.forget(at);
        self.used.insert(now, id);
        if let Some(Slot::Ready(_, at)) = self.slots.get_mut(&id) {
            *at = now;
        }
    }

    fn forget(&mut self, at: u64) {
        if self.used.remove(&at).is_none() {
            self.unread.remove(&at);
        }
    }

    /// Lets go of what was asked for the longest ago, then of what came the longest ago; the newest stays, for whoever waits for it.
    fn make_room(&mut self) {
        while self.bytes + self.loading > MAX_BYTES && self.used.len() + self.unread.len() > 1 {
            let from = if self.used.len() > 1 || self.unread.is_empty() { &mut self.used } else { &mut self.unread };
            let Some((_, id)) = from.pop_first() else { return };
            if let Some(Slot::Ready(content, _)) = self.slots.remove(&id) {
                self.bytes -= content.len() as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Bytes {
        vec![0; BLOCK as usize].into()
    }

    #[test]
    fn a_block_is_fetched_once_and_then_there() {
        let blocks = Blocks::default();
        let (count, fetch) = blocks.claim(1, 0, 4, true).unwrap();
        assert_eq!(count, 4);
        assert!(blocks.claim(1, 2, 4, true).is_none(), "somebody fetches it");
        for index in 0..3 {
            blocks.put((1, index), block());
        }
        blocks.fail(1, 0..4, &fetch, CloudError::Missing);
        assert!(blocks.wait((1, 2)).unwrap().is_some());
        assert_eq!(blocks.wait((1, 3)).unwrap(), None, "nobody fetches it, and nobody waited");
        assert!(blocks.claim(1, 3, 1, true).is_some());
    }

    #[test]
    fn who_waits_hears_why_nothing_comes() {
        let blocks = Blocks::default();
        let (_, fetch) = blocks.claim(1, 0, 1, true).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| blocks.wait((1, 0)));
            while Arc::strong_count(&fetch) < 3 {
                std::thread::yield_now();
            }
            blocks.fail(1, 0..1, &fetch, CloudError::Precondition);
            assert!(matches!(waiting.join().unwrap(), Err(CloudError::Precondition)));
        });
    }

    #[test]
    fn what_waits_to_be_read_is_let_go_last_and_shared_by_those_who_read() {
        let (blocks, most) = (Blocks::default(), MAX_AHEAD / BLOCK);
        blocks.begin(1);
        assert_eq!(blocks.share(), most);
        let (count, _) = blocks.claim(1, 0, most, true).unwrap();
        (0..count).for_each(|index| blocks.put((1, index), block()));
        assert!(blocks.claim(1, most, 16, false).is_none(), "what is unread is ahead");
        // Others read at random, much more than there is room for.
        for index in 0..3 * most {
            blocks.claim(2, index, 1, true).unwrap();
            blocks.put((2, index), block());
            assert!(blocks.wait((2, index)).unwrap().is_some());
        }
        for index in 0..most {
            assert!(blocks.wait((1, index)).unwrap().is_some(), "{index}");
        }
        assert!(blocks.claim(1, most, 16, false).is_some(), "what was read makes room");
        blocks.begin(2);
        blocks.begin(2);
        assert_eq!(blocks.share(), most / 2, "two versions, however many read them");
        blocks.end(2);
        assert_eq!(blocks.share(), most / 2);
        blocks.end(2);
        assert_eq!(blocks.share(), most);
        (most..most + 16).for_each(|index| blocks.put((1, index), block()));
        blocks.end(1);
        assert!(
            blocks.claim(3, 0, most, false).is_some_and(|(count, _)| count == most),
            "nobody waits for what is left"
        );
    }

    #[test]
    fn memory_is_bounded() {
        let blocks = Blocks::default();
        let most = MAX_AHEAD / BLOCK;
        let (count, _) = blocks.claim(0, 0, 10 * most, true).unwrap();
        assert_eq!(count, most);
        assert!(blocks.claim(1, 0, 9, false).is_none(), "no room ahead");
        assert_eq!(blocks.claim(1, 0, 9, true).unwrap().0, 1, "what is needed is fetched all the same");
        for version in 2..6 {
            for index in 0..most {
                blocks.put((version, index), block());
                assert!(blocks.bytes() <= MAX_BYTES + BLOCK);
            }
        }
        assert!(blocks.wait((5, most - 1)).unwrap().is_some());
    }
}
