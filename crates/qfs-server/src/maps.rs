//! Chunk maps of published versions: made once for all who wait for one, and kept for those who come later.
//!
//! Memory: all maps together, those that are kept and those that are being sent, have [`Maps::limit`] bytes. A pass that makes one
//! holds up to 46 MiB besides, for the largest files: 4 MiB of the file, the chunks, and the map.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use qfs_core::body;
use qfs_core::chunks::Grain;
use qfs_core::model::ETag;
use qfs_core::store::Version;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use crate::error::HandlerError;

/// The maps of a server.
pub(crate) struct Maps {
    limit: usize,
    /// Bytes of all maps that are anywhere.
    held: Arc<AtomicUsize>,
    passes: Semaphore,
    /// How long to wait for one of `passes`.
    queue: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The one that was asked for last comes last.
    kept: VecDeque<(ETag, Arc<Map>)>,
    /// Those that somebody waits for.
    making: HashMap<ETag, Weak<OnceCell<Arc<Map>>>>,
}

/// The bytes of a map, counted for as long as there are any.
struct Map {
    bytes: Vec<u8>,
    held: Arc<AtomicUsize>,
}

impl Drop for Map {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// What QUIC holds of a map keeps it counted.
struct Sent(Arc<Map>);

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Maps {
    /// Room for `limit` bytes of maps, made by `passes` passes at once, for one of which nobody waits longer than `queue`.
    pub(crate) fn new(limit: usize, passes: usize, queue: Duration) -> Self {
        let held = Arc::default();
        Self { limit, held, passes: Semaphore::new(passes), queue, state: Mutex::default() }
    }

    /// Bytes in use, and the most there may be.
    #[cfg(feature = "metrics")]
    pub(crate) fn level(&self) -> (usize, usize) {
        (self.held.load(Ordering::Relaxed), self.limit)
    }

    /// The bytes of the map of `version`. Where several wait, one of them makes it; when that one gives up, another begins anew.
    ///
    /// # Errors
    /// [`HandlerError::NoMap`] for a file that is too large; [`HandlerError::Busy`] when no pass becomes free in time, or all the room
    /// is taken by maps that are being sent; as [`body::chunk_map`].
    pub(crate) async fn of(&self, version: &Arc<Version>) -> Result<Bytes, HandlerError> {
        let grain = Grain::for_size(version.meta().size).ok_or(HandlerError::NoMap)?;
        let making = match self.look_up(&version.meta().etag) {
            Ok(map) => return Ok(Bytes::from_owner(Sent(map))),
            Err(making) => making,
        };
        let map = making.get_or_try_init(|| self.make(version, grain)).await?;
        Ok(Bytes::from_owner(Sent(Arc::clone(map))))
    }

    /// The map, if it is kept, or the place where it is going to be.
    fn look_up(&self, etag: &ETag) -> Result<Arc<Map>, Arc<OnceCell<Arc<Map>>>> {
        let mut state = self.state();
        if let Some(at) = state.kept.iter().position(|(kept, _)| kept == etag)
            && let Some((kept, map)) = state.kept.remove(at)
        {
            let found = Arc::clone(&map);
            state.kept.push_back((kept, map));
            return Ok(found);
        }
        if let Some(making) = state.making.get(etag).and_then(Weak::upgrade) {
            return Err(making);
        }
        // No more are left than somebody waits for, which are commands.
        state.making.retain(|_, making| making.strong_count() > 0);
        let making = Arc::default();
        state.making.insert(etag.clone(), Arc::downgrade(&making));
        Err(making)
    }

    async fn make(&self, version: &Arc<Version>, grain: Grain) -> Result<Arc<Map>, HandlerError> {
        let permit = timeout(self.queue, self.passes.acquire()).await.map_err(|_| HandlerError::Busy)?;
        let _permit = permit.map_err(|_| HandlerError::ShuttingDown)?;
        let map = body::chunk_map(version, grain).await?;
        let bytes = version.threads().run(move || Ok(map.encode())).await?;
        let map = self.admit(bytes)?;
        // A version that could change without showing it gets another map each time.
        if !version.meta().unsettled {
            self.state().kept.push_back((version.meta().etag.clone(), Arc::clone(&map)));
        }
        Ok(map)
    }

    /// Makes room for a map: the ones that were not asked for the longest go first.
    fn admit(&self, bytes: Vec<u8>) -> Result<Arc<Map>, HandlerError> {
        let mut state = self.state();
        let mut at = 0;
        while self.held.load(Ordering::Relaxed) + bytes.len() > self.limit {
            match state.kept.get(at) {
                // One that is being sent would go on taking room.
                Some((_, map)) if Arc::strong_count(map) > 1 => at += 1,
                Some(_) => drop(state.kept.remove(at)),
                None => return Err(HandlerError::Busy),
            }
        }
        self.held.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(Arc::new(Map { bytes, held: Arc::clone(&self.held) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use qfs_core::chunks::ChunkMap;
    use qfs_core::model::{Digest, RemotePath};
    use qfs_core::store::{ListQuery, Object, ObjectMeta, Store, StoreError, Versions, Visit};

    use super::*;

    const LENGTH: usize = 700_000;

    struct Content {
        meta: ObjectMeta,
        byte: u8,
        reads: AtomicUsize,
        /// Where the first read waits for the test.
        gate: Option<Barrier>,
    }

    impl Object for Content {
        fn meta(&self) -> &ObjectMeta {
            &self.meta
        }

        fn read_at(&self, _: u64, length: usize) -> Result<Bytes, StoreError> {
            if self.reads.fetch_add(1, Ordering::Relaxed) == 0
                && let Some(gate) = &self.gate
            {
                gate.wait();
            }
            Ok(vec![self.byte; length].into())
        }

        fn ensure_unchanged(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    struct One(Arc<Content>);

    impl Store for One {
        fn open(&self, _: &RemotePath, _: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
            Ok((self.0.clone(), Bytes::new()))
        }

        fn list(&self, _: &ListQuery, _: &mut Visit<'_>) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn version(byte: u8, gate: bool, unsettled: bool) -> (Arc<Version>, Arc<Content>) {
        let meta = ObjectMeta {
            size: LENGTH as u64,
            modified: jiff::Timestamp::UNIX_EPOCH,
            etag: format!("v{byte}").parse().unwrap(),
            unsettled,
            executable: false,
        };
        let content = Arc::new(Content { meta, byte, reads: AtomicUsize::new(0), gate: gate.then(|| Barrier::new(2)) });
        let versions = Versions::new(One(Arc::clone(&content)), Arc::default(), qfs_store::blocking_threads());
        (Arc::new(versions.open(&RemotePath::parse("x").unwrap()).unwrap()), content)
    }

    fn maps(limit: usize) -> Arc<Maps> {
        Arc::new(Maps::new(limit, 2, Duration::from_secs(60)))
    }

    // Fails when: those who wait at the same time make a map each, or one who comes later makes it anew.
    #[tokio::test]
    async fn a_map_is_made_once_for_all_who_wait_and_kept() {
        let (maps, (version, content)) = (maps(1 << 20), version(7, false, false));
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let (maps, version) = (Arc::clone(&maps), Arc::clone(&version));
                tokio::spawn(async move { maps.of(&version).await.unwrap() })
            })
            .collect();
        for waiting in waiting {
            let map = ChunkMap::decode(&waiting.await.unwrap()).unwrap();
            assert_eq!(map.whole(), Digest::of(&[7; LENGTH]));
        }
        assert_eq!(maps.of(&version).await.unwrap().len(), maps.held.load(Ordering::Relaxed));
        assert_eq!(content.reads.load(Ordering::Relaxed), 3);
    }

    // Fails when: whoever makes a map takes it along when it gives up.
    #[tokio::test]
    async fn another_who_waits_goes_on_where_the_first_gives_up() {
        let (maps, (version, content)) = (maps(1 << 20), version(7, true, false));
        let task = || {
            let (maps, version) = (Arc::clone(&maps), Arc::clone(&version));
            tokio::spawn(async move { maps.of(&version).await.map(|map| map.len()) })
        };
        let first = task();
        while content.reads.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let second = task();
        tokio::task::yield_now().await;
        first.abort();
        content.gate.as_ref().unwrap().wait();
        assert!(second.await.unwrap().unwrap() > 0);
        assert!(first.await.unwrap_err().is_cancelled());
    }

    // Fails when: more is kept than there is room for, a map that is being sent is not counted, or one that was not is not let go.
    #[tokio::test]
    async fn there_is_room_for_so_many_bytes_of_maps() {
        let length = maps(1 << 20).of(&version(0, false, false).0).await.unwrap().len();
        let maps = maps(2 * length + length / 2);
        let held = |maps: &Maps| maps.held.load(Ordering::Relaxed);
        for byte in 0..5 {
            assert_eq!(maps.of(&version(byte, false, false).0).await.unwrap().len(), length);
            assert!(held(&maps) <= 2 * length);
        }
        let (third, fourth) = (version(3, false, false), version(4, false, false));
        let sent = (maps.of(&third.0).await.unwrap(), maps.of(&fourth.0).await.unwrap());
        assert_eq!((third.1.reads.load(Ordering::Relaxed), fourth.1.reads.load(Ordering::Relaxed)), (0, 0));
        let refused = maps.of(&version(5, false, false).0).await;
        assert!(matches!(refused, Err(HandlerError::Busy)));
        drop(sent);
        assert!(maps.of(&version(5, false, false).0).await.is_ok());
        // Of a version that may change unseen nothing is kept.
        let before = held(&maps);
        assert!(maps.of(&version(6, false, true).0).await.is_ok());
        assert!(held(&maps) < before + length);
    }
}
