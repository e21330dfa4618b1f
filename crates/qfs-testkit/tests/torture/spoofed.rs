//! First packets from addresses that nobody has: what they cost a transfer that is under way.
//!
//! On loopback only, from sockets bound all over 127.0.0.0/8, bounded in number and in time.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use crate::crowd::memory;
use crate::lab::{Lab, finish, noise, wait_until};
use crate::raw::{answers, first_packets, is_retry};
use crate::tally::{Tally, count, seed};

/// Packets a second.
const RATE: u64 = 10_000;

/// Different first packets, sent in turn: more than the server keeps of handshakes.
const PACKETS: usize = 8192;

/// Packets sent before a transfer begins: by then the server must ask for addresses.
const KNOCKS: u64 = 1000;

/// Packets sent in one go, when their time has come for several.
const MOST_AT_ONCE: u64 = 100;

/// How long the server is watched with nothing but a flood.
const ALONE: Duration = Duration::from_secs(2);

/// Addresses they come from.
const SOURCES: usize = 256;

/// No flood goes on for longer.
const LONGEST: Duration = Duration::from_secs(60);

/// What the server may grow by, in MiB, whatever knocks.
const GROWTH_MIB: u64 = 64;

struct Flood {
    sources: Vec<UdpSocket>,
    packets: Vec<Vec<u8>>,
}

impl Flood {
    fn new(server: SocketAddr) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed());
        let mut source = || UdpSocket::bind((Ipv4Addr::new(127, rng.u8(1..), rng.u8(..), rng.u8(1..255)), 0)).unwrap();
        Self { sources: (0..SOURCES).map(|_| source()).collect(), packets: first_packets(server, PACKETS) }
    }

    /// Does `work` while packets come at [`RATE`], [`KNOCKS`] of them before it begins; how many a second it came to.
    fn during<T>(&self, server: SocketAddr, work: impl FnOnce() -> T) -> (f64, T) {
        let stop = AtomicBool::new(false);
        let (begun_well, knocks) = channel();
        std::thread::scope(|scope| {
            let flooding = scope.spawn(|| self.run(server, &stop, begun_well));
            knocks.recv_timeout(LONGEST).unwrap();
            let done = work();
            stop.store(true, Ordering::Relaxed);
            (flooding.join().unwrap(), done)
        })
    }

    fn run(&self, server: SocketAddr, stop: &AtomicBool, begun_well: Sender<()>) -> f64 {
        let mut begun_well = Some(begun_well);
        let begun = Instant::now();
        let (mut passed, mut sent) = (0, 0);
        while !stop.load(Ordering::Relaxed) && begun.elapsed() < LONGEST {
            let due = begun.elapsed().as_micros() as u64 * RATE / 1_000_000;
            // Behind, as when this thread had to wait for a processor, it does not catch up in one go.
            for n in passed.max(due.saturating_sub(MOST_AT_ONCE))..due {
                let n = n as usize;
                // A full buffer loses it, as a network would.
                let _ = self.sources[n * 7 % SOURCES].send_to(&self.packets[n % self.packets.len()], server);
                sent += 1;
            }
            passed = due;
            if sent >= KNOCKS
                && let Some(begun_well) = begun_well.take()
            {
                // Whoever waits for it may have failed meanwhile.
                let _ = begun_well.send(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        sent as f64 / begun.elapsed().as_secs_f64()
    }

    /// How many of what came back ask for the address to be shown.
    fn retries(&self) -> usize {
        self.sources.iter().take(8).flat_map(answers).filter(|packet| is_retry(packet)).count()
    }
}

/// A transfer under way: begun, and something of the file has arrived.
struct Transfer {
    client: Child,
    since: Instant,
    cost: f64,
}

impl Transfer {
    fn begin(lab: &Lab) -> Self {
        lab.clear();
        let mut client = lab.client(lab.address(), &["get", "large", "-q"]).spawn().unwrap();
        wait_until("the first bytes", || !lab.partials().is_empty() || client.try_wait().unwrap().is_some());
        Self { client, since: Instant::now(), cost: processor_seconds(lab.server().id()) }
    }

    /// Waits for its end; the seconds it took from the first bytes on, and the server's processor time in them.
    fn end(self, lab: &Lab, content: &[u8]) -> (f64, f64) {
        finish(self.client).ends_with(0);
        let took = self.since.elapsed().as_secs_f64();
        let cost = processor_seconds(lab.server().id()) - self.cost;
        assert!(lab.saved_file("large").as_deref() == Some(content), "whole and right");
        (took, cost)
    }
}

/// Processor time that a process has used so far, in seconds.
fn processor_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold spaces: user and system time are the 14th and 15th field, in ticks of 10 ms.
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    [fields[11], fields[12]].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Promise: a transfer keeps 70 % of its speed under 10,000 spoofed first packets a second; the server answers them by Retry
/// and does not grow. How fast is reported, in pairs with and without, and not asserted.
///
/// Fails when: `Admission::judge` lets everybody in unvalidated (no Retry, and memory grows by each handshake).
#[test]
fn first_packets_by_the_thousand() {
    let pairs = count("spoof_pairs", 1);
    let content = noise(seed() ^ 31, usize::try_from(count("spoof_mib", 16)).unwrap() << 20);
    let lab = Lab::serving(&[("large", &content)]);
    let (server, pid) = (lab.address(), lab.server().id());
    let flood = Flood::new(server);
    // What is done for the first time, as hashing the file, is not the flood's fault.
    Transfer::begin(&lab).end(&lab, &content);
    let before = memory(pid).0;
    let mut tally = Tally::new("spoofed", pairs);
    let (mut kept, mut rates, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let (quiet, _) = Transfer::begin(&lab).end(&lab, &content);
        let transfer = Transfer::begin(&lab);
        let (rate, (loud, _)) = flood.during(server, || transfer.end(&lab, &content));
        kept.push(quiet / loud * 100.0);
        rates.push(rate);
        // A newcomer gets in all the same, once it has shown its address.
        let (_, seconds) = flood.during(server, || {
            let (begun, used) = (Instant::now(), processor_seconds(pid));
            lab.run(&["list"]).ends_with(0);
            std::thread::sleep(ALONE.saturating_sub(begun.elapsed()));
            (processor_seconds(pid) - used) / begun.elapsed().as_secs_f64()
        });
        alone.push(seconds * 100.0);
        tally.note("whole");
    }
    assert!(flood.retries() > 0, "nobody was asked to show an address");
    let grown = memory(pid).1.saturating_sub(before) >> 10;
    assert!(grown <= GROWTH_MIB, "it has grown by {grown} MiB");
    let worst = kept.iter().copied().fold(f64::INFINITY, f64::min);
    tally.end(&format!(
        "{:.0} packets a second; speed kept: median {:.0} %, worst {worst:.0} %; a flood alone takes {:.0} % of a processor; \
         server grew by {grown} MiB",
        median(rates),
        median(kept),
        median(alone),
    ));
}
