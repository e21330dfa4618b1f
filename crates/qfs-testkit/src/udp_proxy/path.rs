//! One direction of one client: decides what becomes of each packet and holds it until it is due.
//!
//! Owns the random numbers and the delay queue; knows nothing of sockets. Time is a [`Duration`] since the start of
//! the proxy, handed in.

use super::{faults::PathFaults, stats::PathStats};
use qfs_wan::{Direction, Verdict};
use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A datagram inside the proxy, charged to the proxy's memory for as long as it is there.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    memory: OwnedSemaphorePermit,
}

/// What a packet costs beside its bytes: its place in the queues. In bytes.
const PACKET_OVERHEAD: usize = 128;

impl Packet {
    /// Copies `bytes`, or `None` when the proxy holds as much as it may.
    pub(super) fn new(bytes: &[u8], memory: &Arc<Semaphore>) -> Option<Self> {
        let cost = u32::try_from(bytes.len() + PACKET_OVERHEAD).ok()?;
        let memory = Arc::clone(memory).try_acquire_many_owned(cost).ok()?;
        Some(Self { bytes: bytes.to_vec(), memory })
    }

    fn copy(&self) -> Option<Self> {
        Self::new(&self.bytes, self.memory.semaphore())
    }
}

/// A packet and its due time, ordered by that, then by its number.
#[derive(Debug)]
struct Held {
    due: Duration,
    number: u64,
    packet: Packet,
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Held {}

/// One direction of one client.
#[derive(Debug)]
pub(super) struct Path {
    faults: PathFaults,
    link: Direction,
    rng: fastrand::Rng,
    held: BinaryHeap<Reverse<Held>>,
    received: u64,
    /// The highest number sent on so far.
    newest_sent: u64,
}

impl Path {
    /// A path whose decisions follow from `rng`.
    pub(super) fn new(faults: PathFaults, mut rng: fastrand::Rng) -> Self {
        let link = Direction::new(faults.link.clone(), rng.u64(..));
        Self { faults, link, rng, held: BinaryHeap::new(), received: 0, newest_sent: 0 }
    }

    /// Changes the faults from the next packet on.
    pub(super) fn set_faults(&mut self, faults: &PathFaults) {
        self.link.set_spec(faults.link.clone());
        self.faults = faults.clone();
    }

    /// Takes a packet in at time `now`. `outage`: the network is away.
    pub(super) fn offer(&mut self, mut packet: Packet, now: Duration, outage: bool, stats: &mut PathStats) {
        self.received += 1;
        // Drawn for every packet, needed or not, so that one fault does not change what another one picks.
        let fate = Fate::draw(&mut self.rng, &self.faults);
        let verdict = self.link.admit(packet.bytes.len(), now);
        let arrival = match verdict {
            _ if outage => {
                stats.blackholed += 1;
                return;
            }
            Verdict::Lost => {
                stats.lost += 1;
                return;
            }
            Verdict::Dropped => {
                stats.dropped += 1;
                return;
            }
            Verdict::Arrives(at) => at,
        };
        if fate.duplicate {
            stats.duplicated += 1;
            match packet.copy() {
                Some(copy) => self.hold(copy, arrival),
                None => stats.dropped += 1,
            }
        }
        if fate.corrupt && !packet.bytes.is_empty() {
            stats.corrupted += 1;
            let at = fate.dice as usize % packet.bytes.len();
            // Never zero, so the byte does change.
            packet.bytes[at] ^= ((fate.dice >> 32) % 255 + 1) as u8;
        }
        let hold_back = if fate.reorder { self.faults.reorder_by } else { Duration::ZERO };
        self.hold(packet, arrival + hold_back);
    }

    fn hold(&mut self, packet: Packet, due: Duration) {
        self.held.push(Reverse(Held { due, number: self.received, packet }));
    }

    /// When the next packet is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.held.peek().map(|Reverse(held)| held.due)
    }

    /// The next packet that is due by `now`, counted as forwarded: whoever receives it finds it in the counts.
    pub(super) fn pop_due(&mut self, now: Duration, stats: &mut PathStats) -> Option<Packet> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(held) = self.held.pop()?;
        if held.number < self.newest_sent {
            stats.reordered += 1;
        }
        self.newest_sent = self.newest_sent.max(held.number);
        stats.forwarded += 1;
        stats.forwarded_bytes += held.packet.bytes.len() as u64;
        Some(held.packet)
    }
}

/// What was drawn for one packet, beside what the link decides.
struct Fate {
    duplicate: bool,
    corrupt: bool,
    reorder: bool,
    /// Picks the byte and the bits to corrupt.
    dice: u64,
}

impl Fate {
    fn draw(rng: &mut fastrand::Rng, faults: &PathFaults) -> Self {
        Self {
            duplicate: rng.f64() < faults.duplicate,
            corrupt: rng.f64() < faults.corrupt,
            reorder: rng.f64() < faults.reorder,
            dice: rng.u64(..),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{number, overtaken};
    use super::*;
    use proptest::prelude::*;
    use qfs_wan::{LinkSpec, Loss};

    const MS: Duration = Duration::from_millis(1);

    fn memory(bytes: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(bytes))
    }

    /// Sends `count` numbered packets through, one a millisecond, and returns them as they come out.
    fn run(faults: PathFaults, seed: u64, count: u32) -> (Vec<Vec<u8>>, PathStats) {
        let memory = memory(1 << 20);
        let mut path = Path::new(faults, fastrand::Rng::with_seed(seed));
        let (mut out, mut stats) = (Vec::new(), PathStats::default());
        for i in 0..count {
            let packet = Packet::new(&i.to_be_bytes(), &memory).expect("memory");
            path.offer(packet, MS * i, false, &mut stats);
            out.extend(std::iter::from_fn(|| path.pop_due(MS * i, &mut stats)).map(|p| p.bytes));
        }
        out.extend(std::iter::from_fn(|| path.pop_due(Duration::MAX, &mut stats)).map(|p| p.bytes));
        assert_eq!(memory.available_permits(), 1 << 20, "all memory is given back");
        (out, stats)
    }

    #[test]
    fn the_same_seed_gives_the_same_packets() {
        let faults = PathFaults {
            link: LinkSpec { loss: Loss::Random(0.1), jitter: MS * 3, ..LinkSpec::default() },
            duplicate: 0.1,
            corrupt: 0.1,
            reorder: 0.1,
            ..PathFaults::default()
        };
        let first = run(faults.clone(), 1, 2000);
        assert_eq!(first, run(faults.clone(), 1, 2000));
        assert_ne!(first.0, run(faults, 2, 2000).0);
    }

    #[test]
    fn a_held_back_packet_is_overtaken_and_counted_once() {
        let (out, stats) = run(PathFaults { reorder: 0.1, ..PathFaults::default() }, 4, 1000);
        assert!((60..150).contains(&stats.reordered), "{stats:?}");
        assert_eq!(overtaken(&out), stats.reordered);
    }

    #[test]
    fn a_corrupt_packet_differs_in_one_byte() {
        let (out, stats) = run(PathFaults { corrupt: 1.0, ..PathFaults::default() }, 4, 500);
        assert_eq!(stats.corrupted, 500);
        for (i, packet) in out.iter().enumerate() {
            let sent = (i as u32).to_be_bytes();
            assert_eq!(packet.iter().zip(sent).filter(|(a, b)| **a != *b).count(), 1);
        }
    }

    #[test]
    fn an_outage_takes_everything() {
        let memory = memory(1 << 20);
        let mut path = Path::new(PathFaults::default(), fastrand::Rng::with_seed(1));
        let mut stats = PathStats::default();
        path.offer(Packet::new(b"x", &memory).expect("memory"), MS, true, &mut stats);
        assert_eq!((stats.blackholed, path.next_due()), (1, None));
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let memory = memory(2 * (PACKET_OVERHEAD + 100));
        let one = Packet::new(&[0; 100], &memory).expect("room for two");
        let two = one.copy().expect("room for two");
        assert!(Packet::new(&[0; 100], &memory).is_none());
        drop((one, two));
        assert!(Packet::new(&[0; 100], &memory).is_some());
    }

    proptest! {
        /// No packet is ever invented or unaccounted for.
        #[test]
        fn every_packet_is_accounted_for(
            loss in 0.0..1.0f64, duplicate in 0.0..1.0f64, reorder in 0.0..1.0f64, seed: u64,
        ) {
            let link = LinkSpec { loss: Loss::Random(loss), delay: MS * 7, jitter: MS * 9, ..LinkSpec::default() };
            let (out, stats) = run(PathFaults { link, duplicate, reorder, ..PathFaults::default() }, seed, 200);
            prop_assert_eq!(out.len() as u64 + stats.lost, 200 + stats.duplicated);
            prop_assert!(out.iter().all(|packet| number(packet) < 200));
        }
    }
}
