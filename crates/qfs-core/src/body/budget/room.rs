//! Units that many take and give back, for three kinds of use.
//!
//! Knows nothing of bytes, shares or connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// What units are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Contents that are soon given back.
    Quick,
    /// Contents that are held for long, or nobody knows.
    Slow,
    /// What is there for contents is less by this.
    Kept,
}

/// Of what is there for contents, neither the quick nor the slow can have more than this: a quarter is left for the others.
const MOST: (usize, usize) = (3, 4);

/// A number of units, some of them free.
#[derive(Debug)]
pub(super) struct Room {
    units: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Units in use, by use.
    used: [usize; 3],
    arrivals: u64,
    /// Those who wait, by use and in the order of their arrival; one whose turn it is gets its units through the channel.
    waiting: [BTreeMap<u64, (usize, oneshot::Sender<Taken>)>; 2],
}

/// How much is in use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    /// Units that nobody has.
    pub(super) free: usize,
    /// Units that are there for contents, free or not.
    pub(super) contents: usize,
    /// Units that the slow have.
    pub(super) slow: usize,
}

impl Room {
    pub(super) fn new(units: usize) -> Arc<Self> {
        Arc::new(Self { units, state: Mutex::default() })
    }

    /// All units, free or not.
    pub(super) fn units(&self) -> usize {
        self.units
    }

    pub(super) fn level(&self) -> Level {
        let state = self.lock();
        let [quick, slow, kept] = state.used;
        Level { free: self.units - quick - slow - kept, contents: self.units - kept, slow }
    }

    /// Takes `units` for contents if they are there and nobody waits for the same use; keeps them if they are free.
    pub(super) fn try_take(self: &Arc<Self>, units: usize, purpose: Purpose) -> Option<Taken> {
        let mut state = self.lock();
        let first = state.waiting.get(purpose as usize).is_none_or(BTreeMap::is_empty);
        (first && self.fits(&state, units, purpose)).then(|| self.grant(&mut state, units, purpose))
    }

    /// Takes `units`, at most [`Self::units`] less what is kept, when it is their turn.
    pub(super) async fn take(self: &Arc<Self>, units: usize, purpose: Purpose) -> Taken {
        let (sender, receiver) = oneshot::channel();
        let place = {
            let mut state = self.lock();
            if state.waiting[purpose as usize].is_empty() && self.fits(&state, units, purpose) {
                return self.grant(&mut state, units, purpose);
            }
            state.arrivals += 1;
            let place = state.arrivals;
            state.waiting[purpose as usize].insert(place, (units, sender));
            place
        };
        let leave = Leave { room: self, purpose, place };
        // The sender is dropped only by `leave`, which is still here.
        let taken = receiver.await.unwrap_or_else(|_| Taken { room: Arc::clone(self), units: 0, purpose });
        drop(leave);
        taken
    }

    /// Gives those who wait what is free, in their order, as long as it is enough for the next.
    fn serve(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let mut granted = Vec::new();
        for purpose in [Purpose::Quick, Purpose::Slow] {
            while let Some((_, &(units, _))) = state.waiting[purpose as usize].first_key_value()
                && self.fits(&state, units, purpose)
                && let Some((_, (units, sender))) = state.waiting[purpose as usize].pop_first()
            {
                granted.push((sender, self.grant(&mut state, units, purpose)));
            }
        }
        drop(state);
        for (sender, taken) in granted {
            // One that has left meanwhile gives it back by dropping it, which needs the lock.
            let _ = sender.send(taken);
        }
    }

    /// Whether `units` can be had. The first of a use always can if they are free, so that every wait ends.
    fn fits(&self, state: &State, units: usize, purpose: Purpose) -> bool {
        let [quick, slow, kept] = state.used;
        let most = match purpose {
            Purpose::Kept => self.units,
            Purpose::Quick | Purpose::Slow => (self.units - kept) * MOST.0 / MOST.1,
        };
        let used = state.used[purpose as usize];
        quick + slow + kept + units <= self.units && (used == 0 || used + units <= most)
    }

    fn grant(self: &Arc<Self>, state: &mut State, units: usize, purpose: Purpose) -> Taken {
        state.used[purpose as usize] += units;
        Taken { room: Arc::clone(self), units, purpose }
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.iter().map(BTreeMap::len).sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes its place back when one who waits gives up.
struct Leave<'a> {
    room: &'a Arc<Room>,
    purpose: Purpose,
    place: u64,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut state = self.room.lock();
        if state.waiting[self.purpose as usize].remove(&self.place).is_some() {
            // It may have been the one in front, for which there was not enough.
            self.room.serve(state);
        }
    }
}

/// Units that were taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Taken {
    room: Arc<Room>,
    units: usize,
    purpose: Purpose,
}

impl Taken {
    /// Gives `units` of them back, or all if they are fewer.
    pub(super) fn give_back(&mut self, units: usize) {
        let units = units.min(self.units);
        self.units -= units;
        let mut state = self.room.lock();
        state.used[self.purpose as usize] -= units;
        self.room.serve(state);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.give_back(self.units);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes in a task of its own, and returns when it has done so or waits.
    async fn begin(room: &Arc<Room>, units: usize, purpose: Purpose) -> tokio::task::JoinHandle<Taken> {
        let task = tokio::spawn({
            let room = Arc::clone(room);
            async move { room.take(units, purpose).await }
        });
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        task
    }

    fn free(room: &Room) -> usize {
        room.level().free
    }

    #[tokio::test]
    async fn a_quarter_is_left_for_the_others() {
        for (one, other) in [(Purpose::Quick, Purpose::Slow), (Purpose::Slow, Purpose::Quick)] {
            let room = Room::new(100);
            let kept = room.try_take(20, Purpose::Kept).unwrap();
            let held = room.try_take(60, one).unwrap();
            assert!(room.try_take(1, one).is_none());
            let waiting = begin(&room, 1, one).await;
            assert!(!waiting.is_finished());
            let others = room.try_take(20, other).unwrap();
            assert!(room.try_take(1, other).is_none());
            drop(held);
            drop((waiting.await.unwrap(), others, kept));
            assert_eq!(free(&room), 100);
        }
    }

    #[tokio::test]
    async fn who_comes_first_is_first_and_the_first_always_fits() {
        let room = Room::new(10);
        let all = begin(&room, 10, Purpose::Slow).await.await.unwrap();
        let (first, second) = (begin(&room, 10, Purpose::Quick).await, begin(&room, 1, Purpose::Quick).await);
        assert!(room.try_take(1, Purpose::Slow).is_none());
        drop(all);
        let first = first.await.unwrap();
        assert!(!second.is_finished());
        drop(first);
        drop(second.await.unwrap());
        assert_eq!(free(&room), 10);
    }

    /// Fails when: one who gives up keeps its place, or takes what it was given with it.
    #[tokio::test]
    async fn who_gives_up_stands_in_nobodys_way() {
        let room = Room::new(10);
        let held = room.try_take(5, Purpose::Quick).unwrap();
        let in_front = begin(&room, 10, Purpose::Quick).await;
        let behind = begin(&room, 2, Purpose::Quick).await;
        assert!(!behind.is_finished());
        in_front.abort();
        drop(behind.await.unwrap());
        drop(held);
        assert_eq!((free(&room), room.waiting()), (10, 0));
    }

    #[tokio::test]
    async fn one_who_left_after_it_was_served_gives_back() {
        let room = Room::new(4);
        let all = room.try_take(4, Purpose::Quick).unwrap();
        let mut waiting = Box::pin(room.take(3, Purpose::Quick));
        assert!(is_pending(&mut waiting).await);
        drop(all);
        assert_eq!(free(&room), 1);
        drop(waiting);
        assert_eq!(free(&room), 4);
    }

    /// Polls `future` once.
    async fn is_pending(future: &mut (impl Future<Output = Taken> + Unpin)) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
        })
        .await
    }
}
