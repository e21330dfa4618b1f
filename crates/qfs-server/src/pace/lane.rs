//! The way of one connection past the limits: its client's own, then the one of all.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use qfs_core::stream::{Chunk, ChunkSource, Order, StreamError};
use qfs_core::wire::StatusCode;
use tokio::io::{AsyncRead, ReadBuf};

use super::queue::{Flow, Queue, Table, Wall};
use super::{Limit, Pacing};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To clients.
    Down,
    /// From clients.
    Up,
}

/// The two directions of one limit.
struct Both<T> {
    down: T,
    up: T,
}

impl<T> Both<T> {
    fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::Down => &self.down,
            Direction::Up => &self.up,
        }
    }
}

/// The limits of a server.
pub(crate) struct Pace {
    all: Both<Queue>,
    tables: Both<Arc<Table>>,
    each: Both<Arc<Table>>,
    wall: Wall,
    /// Clients that are connected, by address; those that are gone are left out when the map would grow.
    clients: Mutex<HashMap<IpAddr, Weak<Client>>>,
}

/// What the connections of one client share.
struct Client {
    queues: Both<Queue>,
    flows: Both<Flow>,
    /// Its connections among themselves are one flow in its own queues.
    own: Both<Flow>,
}

fn tables(limit: Limit) -> Both<Arc<Table>> {
    Both { down: Table::new(limit.down), up: Table::new(limit.up) }
}

fn queues(tables: &Both<Arc<Table>>, wall: &Wall) -> Both<Queue> {
    let queue = |table: &Arc<Table>| Queue::new(Arc::clone(table), Arc::clone(wall));
    Both { down: queue(&tables.down), up: queue(&tables.up) }
}

impl Pace {
    pub(crate) fn new(pacing: Pacing) -> Arc<Self> {
        let zone = pacing.zone.unwrap_or(TimeZone::UTC);
        let wall: Wall = Arc::new(move || {
            let time = zone.to_datetime(Timestamp::now()).time();
            // The parts of a time are not negative.
            (time.hour() as u32 * 60 + time.minute() as u32) * 60 + time.second() as u32
        });
        Self::with_wall(pacing.all, pacing.each, wall)
    }

    fn with_wall(all: Limit, each: Limit, wall: Wall) -> Arc<Self> {
        let (tables, each) = (tables(all), tables(each));
        Arc::new(Self { all: queues(&tables, &wall), tables, each, wall, clients: Mutex::default() })
    }

    /// Other limits from now on, also for those who wait.
    pub(crate) fn set(&self, all: Limit, each: Limit) {
        self.tables.down.set(all.down);
        self.tables.up.set(all.up);
        self.each.down.set(each.down);
        self.each.up.set(each.up);
    }

    /// The lane of a new connection of the client at `address`; None: one that is a client by itself.
    pub(crate) fn lane(self: &Arc<Self>, address: Option<IpAddr>) -> Lane {
        let new = || {
            let flows = || Both { down: Flow::default(), up: Flow::default() };
            Arc::new(Client { queues: queues(&self.each, &self.wall), flows: flows(), own: flows() })
        };
        let Some(address) = address else { return Lane { pace: Arc::clone(self), client: new() } };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&address).and_then(Weak::upgrade) {
            return Lane { pace: Arc::clone(self), client };
        }
        if clients.len() == clients.capacity() {
            clients.retain(|_, client| client.strong_count() > 0);
        }
        let client = new();
        clients.insert(address, Arc::downgrade(&client));
        Lane { pace: Arc::clone(self), client }
    }
}

/// The way of one connection past the limits; cheap to clone.
#[derive(Clone)]
pub(crate) struct Lane {
    pace: Arc<Pace>,
    client: Arc<Client>,
}

impl Lane {
    /// Most bytes that pass at once.
    pub(crate) fn piece(&self, direction: Direction) -> usize {
        self.pace.all.of(direction).piece().min(self.client.queues.of(direction).piece())
    }

    /// Whether bytes may have to wait. Where they never do, nothing else of the lane is asked for each piece of them.
    pub(crate) fn is_limited(&self, direction: Direction) -> bool {
        self.pace.tables.of(direction).is_on() || self.pace.each.of(direction).is_on()
    }

    /// Waits until `bytes` may pass, a [`Self::piece`] or less.
    pub(crate) async fn pass(&self, direction: Direction, bytes: usize) {
        self.client.queues.of(direction).pass(self.client.own.of(direction), bytes).await;
        self.pace.all.of(direction).pass(self.client.flows.of(direction), bytes).await;
    }

    /// Waits until all of `bytes`, which have come already, were let pass.
    pub(crate) async fn pass_all(&self, direction: Direction, bytes: usize) {
        let mut left = bytes;
        while left > 0 {
            let piece = left.min(self.piece(direction));
            self.pass(direction, piece).await;
            left -= piece;
        }
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lane")
    }
}

type Passing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source that is read no faster than its lane has it: what has come passes before more is taken, and the windows of the
/// connection hold back the client.
pub(crate) struct Paced<C> {
    source: C,
    lane: Lane,
    passing: Option<Passing>,
}

impl<C> Paced<C> {
    pub(crate) fn new(source: C, lane: Lane) -> Self {
        Self { source, lane, passing: None }
    }

    /// What is read, turned into something else that is read.
    pub(crate) fn map<D>(self, turn: impl FnOnce(C) -> D) -> Paced<D> {
        Paced { source: turn(self.source), lane: self.lane, passing: self.passing }
    }

    /// What is read, past its lane.
    pub(crate) fn inner_mut(&mut self) -> &mut C {
        &mut self.source
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Paced<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.source).poll_read(cx, buffer)
    }
}

impl<C: ChunkSource> ChunkSource for Paced<C> {
    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
        order: Order,
    ) -> Poll<Result<Option<Chunk>, StreamError>> {
        if let Some(passing) = &mut self.passing {
            std::task::ready!(passing.as_mut().poll(cx));
            self.passing = None;
        }
        let polled = self.source.poll_chunk(cx, limit.min(self.lane.piece(Direction::Up)), order);
        // Without a limit a chunk, of which there are many, costs no more than this look.
        if let Poll::Ready(Ok(Some(chunk))) = &polled
            && self.lane.is_limited(Direction::Up)
        {
            let (lane, bytes) = (self.lane.clone(), chunk.bytes.len());
            let mut passing: Passing = Box::pin(async move { lane.pass_all(Direction::Up, bytes).await });
            // Most pass at once; the others are waited for before the next chunk.
            if passing.as_mut().poll(cx).is_pending() {
                self.passing = Some(passing);
            }
        }
        polled
    }

    fn stop(&mut self, code: StatusCode) {
        self.source.stop(code);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn limit(text: &str) -> Limit {
        text.parse().unwrap()
    }

    /// Limits at a clock on the wall that shows `from` at the start, and goes with the clock of tokio.
    fn pace(all: &str, each: &str, from: u32) -> Arc<Pace> {
        let start = Instant::now();
        Pace::with_wall(limit(all), limit(each), Arc::new(move || from + start.elapsed().as_secs() as u32))
    }

    /// Lets as much pass as may, in pieces, for ever; what has passed.
    fn run(lane: Lane, direction: Direction) -> Arc<AtomicU64> {
        let passed = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&passed);
        tokio::spawn(async move {
            loop {
                let piece = lane.piece(direction).min(64 << 10);
                lane.pass(direction, piece).await;
                count.fetch_add(piece as u64, Ordering::Relaxed);
            }
        });
        passed
    }

    /// What of `counts` is added within `seconds`.
    async fn within(seconds: u64, counts: &[&Arc<AtomicU64>]) -> Vec<u64> {
        let before: Vec<_> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        counts.iter().zip(before).map(|(count, before)| count.load(Ordering::Relaxed) - before).collect()
    }

    fn near(bytes: u64, wanted: u64) -> bool {
        (bytes as f64 / wanted as f64 - 1.0).abs() < 0.05
    }

    // Fails when: clients are served by their streams, or a limit is missed by more than 5 %.
    #[tokio::test(start_paused = true)]
    async fn all_together_are_held_to_the_limit_and_clients_share_it_evenly() {
        let pace = pace("8M,2M", "off", 0);
        let (one, other) = (pace.lane(None), pace.lane(None));
        let many: Vec<_> = (0..7).map(|_| run(one.clone(), Direction::Down)).collect();
        let single = run(other.clone(), Direction::Down);
        let up = run(other, Direction::Up);
        let counts: Vec<_> = many.iter().chain([&single, &up]).collect();
        let bytes = within(10, &counts).await;
        let of_one: u64 = bytes[..7].iter().sum();
        assert!(near(of_one + bytes[7], 80 * MIB), "{bytes:?}");
        assert!(near(bytes[7], 40 * MIB), "{bytes:?}");
        assert!(near(bytes[8], 20 * MIB), "{bytes:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_client_has_its_own_limit_whatever_connections_it_has() {
        let pace = pace("off", "1M,off", 0);
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        let same = [run(pace.lane(address), Direction::Down), run(pace.lane(address), Direction::Down)];
        let other = run(pace.lane(Some(IpAddr::from([192, 0, 2, 2]))), Direction::Down);
        let local = [run(pace.lane(None), Direction::Down), run(pace.lane(None), Direction::Down)];
        let bytes = within(10, &[&same[0], &same[1], &other, &local[0], &local[1]]).await;
        assert!(near(bytes[0] + bytes[1], 10 * MIB), "{bytes:?}");
        assert!(bytes[2..].iter().all(|bytes| near(*bytes, 10 * MIB)), "{bytes:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_and_a_reload_change_the_speed_of_those_who_wait() {
        let pace = pace("08:00-18:00=1M,4M", "off", 8 * 3600 - 10);
        let passed = run(pace.lane(None), Direction::Down);
        let early = within(9, &[&passed]).await[0];
        assert!(near(early, 36 * MIB), "{early}");
        within(2, &[&passed]).await;
        let late = within(10, &[&passed]).await[0];
        assert!(near(late, 10 * MIB), "{late}");
        pace.set(limit("2M"), Limit::default());
        within(1, &[&passed]).await;
        let reloaded = within(10, &[&passed]).await[0];
        assert!(near(reloaded, 20 * MIB), "{reloaded}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_stands_in_nobodys_way() {
        let pace = pace("64K", "off", 0);
        let lane = pace.lane(None);
        lane.pass_all(Direction::Down, 64 << 10).await;
        let first = tokio::spawn({
            let lane = lane.clone();
            async move { lane.pass(Direction::Down, 1024).await }
        });
        tokio::task::yield_now().await;
        let second = tokio::spawn(async move { lane.pass(Direction::Down, 1024).await });
        tokio::task::yield_now().await;
        first.abort();
        tokio::time::timeout(Duration::from_secs(5), second).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn clients_that_are_gone_are_forgotten() {
        let pace = pace("off", "1M", 0);
        for number in 0..10_000u32 {
            drop(pace.lane(Some(IpAddr::from(number.to_be_bytes()))));
        }
        assert!(pace.clients.lock().unwrap().len() < 100);
    }
}
