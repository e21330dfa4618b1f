//! Bad networks between the two, made by the proxy.

use std::time::Duration;

use qfs_testkit::udp_proxy::{Bottleneck, Faults, LinkSpec, Loss, Outages, PathFaults, UdpProxy};

use crate::lab::{Lab, noise, run};
use crate::tally::{Tally, count, seed};

/// Fetches `size` bytes and some small files over a network with these faults.
///
/// The tests below fail when: the idle time-out is shorter than an outage; migration is refused (`ServerConfig::migration`);
/// quinn closes a connection with many gaps ("too many gaps", quinn-proto 0.11.15); a reconnect starts from zero.
fn fetch_over(name: &'static str, size: usize, faults: &Faults) {
    let total = count(name, 1);
    let (large, small) = (noise(seed() ^ 5, size), noise(seed() ^ 6, 3000));
    let lab = Lab::serving(&[("large", &large), ("small/a", &small), ("small/b", &small[..1]), ("small/c", b"")]);
    let mut tally = Tally::new(name, total);
    for round in 0..total {
        lab.clear();
        let proxy = UdpProxy::start(lab.address(), faults.clone().seeded(seed() + round)).unwrap();
        let args = ["get", "--all", "--json", "--connect-timeout", "30s"];
        let done = run(&mut lab.client(proxy.addr(), &args)).ends_with(0);
        for (name, content) in [("large", &large[..]), ("small/a", &small), ("small/b", &small[..1]), ("small/c", b"")]
        {
            assert!(lab.saved_file(name).as_deref() == Some(content), "{name}: {done:?}");
        }
        let stats = proxy.stats();
        tally.note("complete");
        eprintln!("torture: {name}: {:?}", stats.to_client);
    }
    tally.end("no wrong byte");
}

fn both(path: PathFaults) -> Faults {
    Faults::both(path)
}

fn lossy(loss: Loss) -> PathFaults {
    let delay = Duration::from_millis(10);
    PathFaults { link: LinkSpec { loss, delay, ..LinkSpec::default() }, ..PathFaults::default() }
}

/// Faults on a link of this rate towards the client, so that the transfer lasts long enough to meet them.
fn lasting(bits_per_second: u64) -> Faults {
    let link =
        LinkSpec { bottleneck: Some(Bottleneck { bits_per_second, queue_bytes: 256 << 10 }), ..LinkSpec::default() };
    Faults { to_client: PathFaults { link, ..PathFaults::default() }, ..Faults::default() }
}

#[test]
fn losses_in_bursts() {
    fetch_over("net_burst_loss", 8 << 20, &both(lossy(Loss::bursts(0.02, 8.0))));
}

#[test]
fn a_tenth_lost_some_reordered_some_repeated() {
    let path = PathFaults { reorder: 0.05, duplicate: 0.01, ..lossy(Loss::Random(0.10)) };
    fetch_over("net_mess", 6 << 20, &both(path));
}

#[test]
fn corrupted_packets() {
    fetch_over("net_corruption", 8 << 20, &both(PathFaults { corrupt: 0.02, ..lossy(Loss::None) }));
}

#[test]
fn a_network_that_is_gone_most_of_the_time() {
    let outages = Some(Outages { up: Duration::from_secs(2), down: Duration::from_secs(5) });
    fetch_over("net_blackhole", 5 << 20, &Faults { outages, ..lasting(16_000_000) });
}

#[test]
fn a_far_away_server() {
    let link = LinkSpec { delay: Duration::from_millis(750), ..LinkSpec::default() };
    fetch_over("net_far", 4 << 20, &both(PathFaults { link, ..PathFaults::default() }));
}

#[test]
fn an_address_translator_with_a_short_memory() {
    // Lasts about eight seconds, so that the promised interval comes round.
    let rebind_every = Some(Duration::from_secs(5));
    fetch_over("net_rebinding", 8 << 20, &Faults { rebind_every, ..lasting(8_000_000) });
}
