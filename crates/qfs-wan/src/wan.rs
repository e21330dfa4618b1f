//! The whole link: two namespaces, a device in each, and a thread for each direction. [`Wan::start`] makes it, and
//! dropping it removes it.

use crate::{
    carrier::{Carried, Carrier},
    error::WanError,
    link::{Direction, LinkSpec},
    namespace::Namespace,
};
use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
};
use tun_rs::SyncDevice;

/// The device at either end.
const DEVICE: &str = "wan0";

/// Packets that the kernel keeps for a busy carrier: more than any queue emulated here, so that only the link drops
/// packets.
const DEVICE_QUEUE: u32 = 10_000;

/// The link asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct WanConfig {
    /// From end A to end B.
    pub a_to_b: LinkSpec,
    /// From end B to end A.
    pub b_to_a: LinkSpec,
    /// Largest packet in bytes, IP header included.
    pub mtu: u16,
    /// Seeds the random numbers of both directions, which stay independent of each other.
    pub seed: u64,
}

/// What a link has carried in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WanStats {
    /// From end A to end B.
    pub a_to_b: Carried,
    /// From end B to end A.
    pub b_to_a: Carried,
}

/// A running link. Dropping it ends the processes in its namespaces and removes them.
#[derive(Debug)]
pub struct Wan {
    carriers: [Option<JoinHandle<io::Result<Carried>>>; 2],
    stop: Arc<AtomicBool>,
    a: Namespace,
    b: Namespace,
}

impl Wan {
    /// The IP address of end A.
    pub const A_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
    /// The IP address of end B.
    pub const B_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

    /// Makes the namespaces and starts to carry packets between them.
    ///
    /// # Errors
    /// Without root, `ip(8)` or TUN devices. What was made till then is removed again.
    pub fn start(config: &WanConfig) -> Result<Self, WanError> {
        /// Several links in one process need different names.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return Err(WanError::NotRoot);
        }
        let name = format!("wan{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let a = Namespace::create(format!("{name}a"))?;
        let b = Namespace::create(format!("{name}b"))?;
        let (tun_a, tun_b) = (Arc::new(a.open_tun(DEVICE)?), Arc::new(b.open_tun(DEVICE)?));
        let stop = Arc::new(AtomicBool::new(false));
        let mut wan = Self { carriers: [None, None], stop, a, b };
        // The directions must not have the same numbers, nor those of the next seed.
        let mut seeds = fastrand::Rng::with_seed(config.seed);
        wan.carriers[0] =
            Some(wan.carry(&tun_a, &tun_b, Direction::new(config.a_to_b.clone(), seeds.u64(..)), config)?);
        wan.carriers[1] =
            Some(wan.carry(&tun_b, &tun_a, Direction::new(config.b_to_a.clone(), seeds.u64(..)), config)?);
        for (end, address) in [(&wan.a, Self::A_IP), (&wan.b, Self::B_IP)] {
            end.configure(&format!(
                "address add {address}/24 dev {DEVICE}\n\
                 link set lo up\n\
                 link set {DEVICE} mtu {} txqueuelen {DEVICE_QUEUE} up\n",
                config.mtu
            ))?;
        }
        Ok(wan)
    }

    fn carry(
        &self,
        from: &Arc<SyncDevice>,
        to: &Arc<SyncDevice>,
        link: Direction,
        config: &WanConfig,
    ) -> Result<JoinHandle<io::Result<Carried>>, WanError> {
        let (from, to, stop, mtu) = (Arc::clone(from), Arc::clone(to), Arc::clone(&self.stop), config.mtu.into());
        let carrier = std::thread::Builder::new().name("wan-carrier".into());
        carrier.spawn(move || Carrier::new(&*from, &*to, link, mtu).run(&stop)).map_err(WanError::Carrier)
    }

    /// The namespace of end A.
    #[must_use]
    pub fn a(&self) -> &Namespace {
        &self.a
    }

    /// The namespace of end B.
    #[must_use]
    pub fn b(&self) -> &Namespace {
        &self.b
    }

    /// Stops the link and says what it carried.
    ///
    /// # Errors
    /// When a carrier had failed.
    pub fn finish(mut self) -> Result<WanStats, WanError> {
        self.stop.store(true, Ordering::Relaxed);
        let [a_to_b, b_to_a] = &mut self.carriers;
        Ok(WanStats { a_to_b: join(a_to_b)?, b_to_a: join(b_to_a)? })
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for carrier in &mut self.carriers {
            // A caller that wants to know of a failure has called `finish`.
            let _ = join(carrier);
        }
    }
}

fn join(carrier: &mut Option<JoinHandle<io::Result<Carried>>>) -> Result<Carried, WanError> {
    let Some(carrier) = carrier.take() else { return Ok(Carried::default()) };
    carrier.join().unwrap_or_else(|_| Err(io::Error::other("panicked"))).map_err(WanError::Carrier)
}
