//! A bad network on loopback: [`UdpProxy`] relays UDP between clients and a server and loses, delays, repeats,
//! reorders, corrupts and swallows packets on the way, or changes the port the server sees.
//!
//! Knows nothing of QUIC or qfs. It runs on a thread of its own, so that neither a test that blocks nor a busy
//! runtime disturbs its timing, and works from tests with and without tokio. Decisions follow from the seed: what
//! becomes of the nth packet of the mth client in one direction is the same in every run (but what hangs on time:
//! queues, outages, who overtakes whom). Times are kept to about a millisecond.
//!
//! ```no_run
//! use qfs_testkit::udp_proxy::{Faults, LinkSpec, Loss, PathFaults, UdpProxy};
//! # fn main() -> std::io::Result<()> {
//! let server = "127.0.0.1:8000".parse().expect("an address");
//! let link = LinkSpec { loss: Loss::Random(0.1), ..LinkSpec::default() };
//! let proxy = UdpProxy::start(server, Faults::both(PathFaults { link, reorder: 0.05, ..PathFaults::default() }))?;
//! println!("connect to {} instead", proxy.addr());
//! proxy.blackhole(true);
//! println!("{} packets lost", proxy.stats().to_client.lost);
//! # Ok(())
//! # }
//! ```

mod faults;
mod path;
mod relay;
mod stats;
#[cfg(test)]
mod tests;

pub use faults::{Faults, Outages, PathFaults};
pub use qfs_wan::{Bottleneck, BurstLoss, LinkSpec, Loss};
pub use relay::{CLIENT_IDLE, MAX_CLIENTS, MAX_DATAGRAM};
pub use stats::{PathStats, Stats};

use relay::{Settings, Shared};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

/// Bytes of packets that a proxy holds at most, over all clients and both directions: what is delayed, queued or
/// not yet looked at. What comes beyond is dropped and counted. Enough for 750 ms at 1.3 Gbit/s both ways.
pub const MAX_HELD_BYTES: usize = 256 << 20;

/// A UDP relay on loopback that harms what it carries. Stops when dropped.
#[derive(Debug)]
pub struct UdpProxy {
    address: SocketAddr,
    stats: Arc<Mutex<Stats>>,
    /// `None` only while it is being dropped; its end tells the tasks to stop.
    settings: Option<watch::Sender<Settings>>,
    thread: Option<JoinHandle<()>>,
}

impl UdpProxy {
    /// Starts a relay towards `server`, which need not be there yet.
    ///
    /// # Errors
    /// When no socket or thread can be had.
    pub fn start(server: SocketAddr, faults: Faults) -> io::Result<Self> {
        let listen = relay::bind_beside(server)?;
        let address = listen.local_addr()?;
        let rng = fastrand::Rng::with_seed(faults.seed);
        let (settings, receiver) = watch::channel(Settings { faults, blackhole: false, rebinds: 0 });
        let stats = Arc::new(Mutex::new(Stats::default()));
        let shared = Shared {
            server,
            settings: receiver,
            stats: Arc::clone(&stats),
            memory: Arc::new(Semaphore::new(MAX_HELD_BYTES)),
            start: Instant::now(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let thread = std::thread::Builder::new().name("udp-proxy".into()).spawn(move || {
            // Fails only where the socket cannot be registered; then nothing passes, as every test will notice.
            let _ = runtime.block_on(relay::run(listen, shared, rng));
        })?;
        Ok(Self { address, stats, settings: Some(settings), thread: Some(thread) })
    }

    /// The address that clients connect to instead of the server's.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Changes the faults, from the next packet on. Packets under way keep the delay they were given.
    pub fn set(&self, faults: Faults) {
        self.change(|settings| settings.faults = faults);
    }

    /// Lets nothing pass (`true`), or again what the faults let pass (`false`).
    pub fn blackhole(&self, on: bool) {
        self.change(|settings| settings.blackhole = on);
    }

    /// Gives every client a new source port towards the server, as a NAT does that forgot its mapping: the server
    /// hears the client from elsewhere, and what it sends to the old port is lost.
    pub fn rebind(&self) {
        self.change(|settings| settings.rebinds += 1);
    }

    /// The counts so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Settings)) {
        if let Some(settings) = &self.settings {
            settings.send_modify(change);
        }
    }
}

impl Drop for UdpProxy {
    fn drop(&mut self) {
        self.settings = None;
        if let Some(thread) = self.thread.take() {
            // A panic over there was printed over there.
            let _ = thread.join();
        }
    }
}
