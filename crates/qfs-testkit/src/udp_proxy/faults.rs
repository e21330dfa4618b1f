//! What can be asked of the proxy: the faults, as plain values.

use qfs_wan::LinkSpec;
use std::time::Duration;

/// All that the proxy does to the traffic. The default passes every packet untouched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Seeds every random decision. Read when the proxy starts; a later [`set`](super::UdpProxy::set) does not
    /// reseed.
    pub seed: u64,
    /// On the way from the clients to the server.
    pub to_server: PathFaults,
    /// On the way from the server to the clients.
    pub to_client: PathFaults,
    /// Times at which nothing passes, in either direction.
    pub outages: Option<Outages>,
    /// Gives every client a new source port towards the server, this often, counted from the client's first packet.
    pub rebind_every: Option<Duration>,
}

impl Faults {
    /// The same faults in both directions (decided independently).
    #[must_use]
    pub fn both(path: PathFaults) -> Self {
        Self { to_server: path.clone(), to_client: path, ..Self::default() }
    }

    /// The same, with another seed.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

/// What happens to the packets of one client in one direction, in this order: lost, queued and delayed by the link,
/// duplicated, corrupted, reordered. Probabilities are from 0.0 to 1.0.
#[derive(Clone, Debug, PartialEq)]
pub struct PathFaults {
    /// Loss, bottleneck with its queue, delay and jitter. Each client has a link of its own.
    pub link: LinkSpec,
    /// Probability that a packet arrives twice.
    pub duplicate: f64,
    /// Probability that one byte of a packet arrives changed (one to eight of its bits).
    pub corrupt: f64,
    /// Probability that a packet is held back, so that later ones overtake it.
    pub reorder: f64,
    /// How long a packet chosen by `reorder` is held back. Default: 5 ms.
    pub reorder_by: Duration,
}

impl Default for PathFaults {
    fn default() -> Self {
        Self {
            link: LinkSpec::default(),
            duplicate: 0.0,
            corrupt: 0.0,
            reorder: 0.0,
            reorder_by: Duration::from_millis(5),
        }
    }
}

/// A network that comes and goes: `up`, then `down`, and again, counted from the start of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outages {
    /// How long packets pass.
    pub up: Duration,
    /// How long none does.
    pub down: Duration,
}

impl Outages {
    /// Whether the network is away, `elapsed` after the start.
    pub(super) fn is_down(self, elapsed: Duration) -> bool {
        let cycle = (self.up + self.down).as_nanos();
        cycle > 0 && elapsed.as_nanos() % cycle >= self.up.as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_come_round() {
        let outages = Outages { up: Duration::from_secs(5), down: Duration::from_secs(2) };
        let down = |ms| outages.is_down(Duration::from_millis(ms));
        assert!(!down(0) && !down(4999) && down(5000) && down(6999) && !down(7000) && down(12_000));
    }

    #[test]
    fn the_ends_of_outages() {
        let secs = Duration::from_secs;
        assert!(!Outages { up: secs(1), down: secs(0) }.is_down(secs(1)));
        assert!(Outages { up: secs(0), down: secs(1) }.is_down(secs(7)));
        assert!(!Outages { up: secs(0), down: secs(0) }.is_down(secs(7)));
    }
}
