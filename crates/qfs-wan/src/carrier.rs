//! Carries packets in one direction of the link: takes them from one device and gives them to the other when they are
//! due.
//!
//! This module owns the packets under way and the waiting. [`crate::link`] decides what becomes of a packet.

use crate::link::{Direction, Verdict};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    collections::VecDeque,
    io,
    num::NonZeroU64,
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// The most packets under way in one direction; beyond it, the newest is dropped. The worst case in memory is this
/// number times the MTU: 98 MB at 1,500 bytes. That is enough for 500 Mbit/s over 1.5 s at that size.
pub const MAX_UNDER_WAY: usize = 65_536;

/// Longest sleep, and so the longest time that a carrier takes to notice that it should stop.
const MAX_SLEEP: Duration = Duration::from_millis(50);

/// Shortest sleep. Packets that are due closer together than this arrive together, up to this much late. Without it,
/// every packet costs a timer and a wake-up of its receiver, which doubles the CPU time of a carrier at 500 Mbit/s.
const GRAIN: Duration = Duration::from_micros(50);

/// Packets that are taken before checking whether one is due.
const TAKE_AT_ONCE: usize = 64;

/// How exactly the kernel should wake the carrier, in nanoseconds; its default of 50,000 is two packets at
/// 500 Mbit/s.
const TIMER_SLACK: u64 = 1000;

/// A packet delivered later than this counts as late.
const LATE: Duration = Duration::from_millis(1);

/// Scheduling priority ("nice") of a carrier: it must not wait for the programs that it carries packets for.
const PRIORITY: i32 = -10;

/// A device that gives and takes whole packets and never blocks.
pub trait Port: AsFd {
    /// Takes the next packet, and says how long it is.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is none.
    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Gives a packet.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is no room now.
    fn send(&self, packet: &[u8]) -> io::Result<usize>;
}

impl Port for tun_rs::SyncDevice {
    fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::recv(self, buffer)
    }

    fn send(&self, packet: &[u8]) -> io::Result<usize> {
        Self::send(self, packet)
    }
}

/// What one direction has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Packets delivered.
    pub carried: u64,
    /// Bytes of these packets, IP headers included.
    pub bytes: u64,
    /// Packets lost at random.
    pub lost: u64,
    /// Packets that found the queue full.
    pub dropped: u64,
    /// Packets delivered more than a millisecond after they were due: the machine was too busy to emulate this link
    /// exactly.
    pub late: u64,
}

struct UnderWay {
    due: Duration,
    len: usize,
    buffer: Vec<u8>,
}

/// One direction of a link between two devices.
pub struct Carrier<'a, P> {
    from: &'a P,
    to: &'a P,
    link: Direction,
    mtu: usize,
    start: Instant,
    /// In the order of their arrival, which is also the order in which they entered.
    under_way: VecDeque<UnderWay>,
    /// Buffers for later packets; never more than were under way at once.
    spare: Vec<Vec<u8>>,
    counts: Carried,
}

impl<'a, P: Port> Carrier<'a, P> {
    /// Carries packets of up to `mtu` bytes.
    #[must_use]
    pub fn new(from: &'a P, to: &'a P, link: Direction, mtu: usize) -> Self {
        Self {
            from,
            to,
            link,
            mtu,
            start: Instant::now(),
            under_way: VecDeque::new(),
            spare: Vec::new(),
            counts: Carried::default(),
        }
    }

    /// Carries packets on this thread until `stop` is set; those still under way are forgotten then.
    ///
    /// # Errors
    /// When the device cannot be waited for.
    pub fn run(mut self, stop: &AtomicBool) -> io::Result<Carried> {
        // Both only improve precision, so the carrier continues without them.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(TIMER_SLACK));
        let _ = rustix::process::setpriority_process(None, PRIORITY);
        while !stop.load(Ordering::Relaxed) {
            self.deliver_due();
            if self.wait()? {
                self.take();
            }
        }
        Ok(self.counts)
    }

    fn deliver_due(&mut self) {
        let now = self.start.elapsed();
        while self.under_way.front().is_some_and(|packet| packet.due <= now) {
            let Some(packet) = self.under_way.pop_front() else { break };
            while let Err(error) = self.to.send(&packet.buffer[..packet.len]) {
                if error.kind() != io::ErrorKind::WouldBlock {
                    // The device refuses the packet, as one that is down does. The packet is lost.
                    break;
                }
                std::thread::yield_now();
            }
            self.counts.carried += 1;
            self.counts.bytes += packet.len as u64;
            self.counts.late += u64::from(now - packet.due > LATE);
            self.spare.push(packet.buffer);
        }
    }

    /// Sleeps until a packet is due or one waits to be taken. Returns whether one waits.
    fn wait(&self) -> io::Result<bool> {
        let due = self.under_way.front().map_or(Duration::MAX, |packet| packet.due);
        let sleep = due.saturating_sub(self.start.elapsed()).clamp(GRAIN, MAX_SLEEP);
        let sleep = Timespec { tv_sec: 0, tv_nsec: sleep.subsec_nanos().into() };
        match poll(&mut [PollFd::new(self.from, PollFlags::IN)], Some(&sleep)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn take(&mut self) {
        for _ in 0..TAKE_AT_ONCE {
            let mut buffer = self.spare.pop().unwrap_or_else(|| vec![0; self.mtu]);
            let Ok(len) = self.from.recv(&mut buffer) else {
                self.spare.push(buffer);
                return;
            };
            match self.link.admit(len, self.start.elapsed()) {
                Verdict::Arrives(due) if self.under_way.len() < MAX_UNDER_WAY => {
                    self.under_way.push_back(UnderWay { due, len, buffer });
                    continue;
                }
                Verdict::Lost => self.counts.lost += 1,
                Verdict::Arrives(_) | Verdict::Dropped => self.counts.dropped += 1,
            }
            self.spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{LinkSpec, Loss};
    use std::os::unix::net::UnixDatagram;

    impl Port for UnixDatagram {
        fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
            Self::recv(self, buffer)
        }

        fn send(&self, packet: &[u8]) -> io::Result<usize> {
            Self::send(self, packet)
        }
    }

    /// Sends each of `packets` into a link, and returns those that come out, when they did, and the counts.
    fn carry(spec: LinkSpec, packets: &[&[u8]]) -> (Vec<Vec<u8>>, Duration, Carried) {
        let (near, entry) = UnixDatagram::pair().expect("a socket pair");
        let (exit, far) = UnixDatagram::pair().expect("a socket pair");
        entry.set_nonblocking(true).expect("a socket");
        exit.set_nonblocking(true).expect("a socket");
        far.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let carrier = Carrier::new(&entry, &exit, Direction::new(spec, 1), 1500);
            let carrier = scope.spawn(|| carrier.run(&stop));
            let start = Instant::now();
            let (mut out, mut last) = (Vec::new(), Duration::ZERO);
            for packet in packets {
                near.send(packet).expect("room");
            }
            let mut buffer = [0; 1500];
            while let Ok(len) = far.recv(&mut buffer) {
                last = start.elapsed();
                out.push(buffer[..len].to_vec());
            }
            stop.store(true, Ordering::Relaxed);
            let counts = carrier.join().expect("no panic").expect("no error");
            (out, last, counts)
        })
    }

    #[test]
    fn packets_arrive_whole_in_order_and_not_before_they_are_due() {
        let spec = LinkSpec { delay: Duration::from_millis(30), ..LinkSpec::default() };
        let (out, last, counts) = carry(spec, &[b"one", b"", b"three"]);
        assert_eq!(out, [&b"one"[..], b"", b"three"]);
        assert!(last >= Duration::from_millis(30), "{last:?}");
        assert_eq!((counts.carried, counts.bytes), (3, 8));
    }

    #[test]
    fn what_is_lost_is_counted_and_does_not_arrive() {
        let spec = LinkSpec { loss: Loss::Random(1.0), ..LinkSpec::default() };
        let (out, _, counts) = carry(spec, &[b"one", b"two"]);
        assert!(out.is_empty());
        assert_eq!(counts, Carried { lost: 2, ..Carried::default() });
    }
}
