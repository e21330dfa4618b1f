//! The proxy end to end, over real sockets: each fault happens and is counted.

use super::*;
use std::{collections::HashSet, net::UdpSocket, time::Duration};

/// Longest wait for a packet that should come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Wait for packets that should not come.
const QUIET: Duration = Duration::from_millis(50);

/// A client, a proxy with these faults, and a server that only receives.
struct Rig {
    client: UdpSocket,
    proxy: UdpProxy,
    server: UdpSocket,
}

impl Rig {
    fn new(faults: Faults) -> Self {
        let server = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let proxy = UdpProxy::start(server.local_addr().expect("addr"), faults).expect("start");
        Self { client: client_of(&proxy), proxy, server }
    }

    /// With faults on the way to the server only.
    fn towards_server(path: PathFaults) -> Self {
        Self::new(Faults { to_server: path, ..Faults::default() }.seeded(11))
    }

    /// Sends `count` numbered packets of `size` bytes, slowly enough for the kernel's buffers, and returns what the
    /// server gets until it is quiet.
    fn send(&self, count: u32, size: usize) -> Vec<Vec<u8>> {
        let mut got = Vec::new();
        for i in 0..count {
            let mut packet = vec![0; size];
            packet[..4].copy_from_slice(&i.to_be_bytes());
            self.client.send(&packet).expect("send");
            if i % 16 == 15 {
                got.extend(drain(&self.server, Duration::from_millis(1)));
            }
        }
        got.extend(self.rest(u64::from(count)));
        got
    }

    /// What the server gets until all `sent` packets have met their end.
    fn rest(&self, sent: u64) -> Vec<Vec<u8>> {
        let (mut got, start) = (Vec::new(), Instant::now());
        loop {
            let stats = self.proxy.stats().to_server;
            if stats.received >= sent && stats.under_way() == 0 || start.elapsed() > PATIENCE {
                got.extend(drain(&self.server, QUIET));
                return got;
            }
            got.extend(drain(&self.server, Duration::from_millis(1)));
        }
    }
}

fn client_of(proxy: &UdpProxy) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").expect("bind");
    client.connect(proxy.addr()).expect("connect");
    client
}

/// All that comes until nothing has come for `quiet`.
fn drain(socket: &UdpSocket, quiet: Duration) -> Vec<Vec<u8>> {
    socket.set_read_timeout(Some(quiet)).expect("timeout");
    let mut buffer = vec![0; MAX_DATAGRAM];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|len| buffer[..len].to_vec())).collect()
}

/// The next packet and where it came from.
fn next(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut buffer = vec![0; MAX_DATAGRAM];
    let (len, from) = socket.recv_from(&mut buffer).expect("a packet within the time limit");
    (buffer[..len].to_vec(), from)
}

/// The number a packet begins with.
pub(super) fn number(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet[..4].try_into().expect("four bytes"))
}

/// How many numbered packets come after one of a higher number.
pub(super) fn overtaken(packets: &[Vec<u8>]) -> u64 {
    let (mut newest, mut count) = (0, 0);
    for packet in packets {
        count += u64::from(number(packet) < newest);
        newest = newest.max(number(packet));
    }
    count
}

#[test]
fn without_faults_everything_passes_both_ways_and_in_order() {
    let rig = Rig::new(Faults::default());
    let got = rig.send(500, 1200);
    assert!(got.iter().map(|p| number(p)).eq(0..500));
    rig.client.send(b"ping").expect("send");
    let (ping, from) = next(&rig.server);
    rig.server.send_to(b"pong", from).expect("send");
    assert_eq!((ping, next(&rig.client).0), (b"ping".to_vec(), b"pong".to_vec()));
    let stats = rig.proxy.stats();
    let expected = PathStats {
        received: 501,
        received_bytes: 500 * 1200 + 4,
        largest: 1200,
        forwarded: 501,
        forwarded_bytes: 500 * 1200 + 4,
        ..PathStats::default()
    };
    assert_eq!(stats.to_server, expected);
    assert_eq!((stats.to_client.received, stats.to_client.forwarded, stats.to_client.forwarded_bytes), (1, 1, 4));
}

#[test]
fn loss_is_repeated_by_the_seed_and_counted() {
    let link = LinkSpec { loss: Loss::Random(0.2), ..LinkSpec::default() };
    let path = PathFaults { link, ..PathFaults::default() };
    let run = || {
        let rig = Rig::towards_server(path.clone());
        let got: Vec<u32> = rig.send(500, 100).iter().map(|p| number(p)).collect();
        let stats = rig.proxy.stats().to_server;
        assert_eq!((stats.received, stats.lost + stats.forwarded), (500, 500));
        assert_eq!(got.len() as u64, stats.forwarded);
        assert!((60..140).contains(&stats.lost), "{stats:?}");
        got
    };
    assert_eq!(run(), run());
}

#[test]
fn burst_loss_takes_neighbours() {
    let link = LinkSpec { loss: Loss::bursts(0.2, 10.0), ..LinkSpec::default() };
    let rig = Rig::towards_server(PathFaults { link, ..PathFaults::default() });
    let got: HashSet<u32> = rig.send(1000, 100).iter().map(|p| number(p)).collect();
    let lost: Vec<u32> = (0..1000).filter(|i| !got.contains(i)).collect();
    assert_eq!(lost.len() as u64, rig.proxy.stats().to_server.lost);
    let neighbours = lost.windows(2).filter(|w| w[0] + 1 == w[1]).count();
    assert!(neighbours * 10 > lost.len() * 7, "{neighbours} of {}", lost.len());
}

#[test]
fn duplicates_corruption_and_reordering_happen_and_are_counted() {
    let rig = Rig::towards_server(PathFaults { duplicate: 0.1, ..PathFaults::default() });
    let got = rig.send(500, 100);
    let duplicated = rig.proxy.stats().to_server.duplicated;
    assert!(duplicated > 20, "{duplicated}");
    assert_eq!(got.len() as u64, 500 + duplicated);

    let rig = Rig::towards_server(PathFaults { corrupt: 0.1, ..PathFaults::default() });
    let got = rig.send(500, 100);
    let wrong = got.iter().zip(0u32..).filter(|(p, i)| number(p) != *i || p[4..].iter().any(|b| *b != 0)).count();
    assert_eq!(wrong as u64, rig.proxy.stats().to_server.corrupted);
    assert!(wrong > 20 && got.len() == 500, "{wrong}");

    let rig = Rig::towards_server(PathFaults { reorder: 0.1, ..PathFaults::default() });
    let got = rig.send(500, 100);
    let late = overtaken(&got);
    assert_eq!(late, rig.proxy.stats().to_server.reordered);
    assert!(late > 10 && got.len() == 500, "{late}");
}

#[test]
fn delay_holds_each_way_for_itself() {
    let delay = |ms| PathFaults {
        link: LinkSpec { delay: Duration::from_millis(ms), jitter: Duration::from_millis(10), ..LinkSpec::default() },
        ..PathFaults::default()
    };
    let rig = Rig::new(Faults { to_server: delay(100), to_client: delay(30), ..Faults::default() });
    let start = Instant::now();
    rig.client.send(b"ping").expect("send");
    let (_, from) = next(&rig.server);
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
    rig.server.send_to(b"pong", from).expect("send");
    next(&rig.client);
    assert!(start.elapsed() >= Duration::from_millis(130), "{:?}", start.elapsed());
}

#[test]
fn the_bottleneck_takes_its_time_and_its_queue_drops() {
    // 1,000 bytes a millisecond, room for 20 packets.
    let bottleneck = Some(Bottleneck { bits_per_second: 8_000_000, queue_bytes: 20_000 });
    let link = LinkSpec { bottleneck, ..LinkSpec::default() };
    let rig = Rig::towards_server(PathFaults { link, ..PathFaults::default() });
    let start = Instant::now();
    for _ in 0..100 {
        rig.client.send(&[0; 1000]).expect("send");
    }
    let count = rig.rest(100).len() as u64;
    let stats = rig.proxy.stats().to_server;
    assert_eq!((count, count + stats.dropped), (stats.forwarded, 100));
    assert!(stats.dropped > 0 && count >= 20, "{stats:?}");
    assert!(start.elapsed() > Duration::from_millis(count) - Duration::from_millis(1));
}

#[test]
fn a_blackhole_swallows_on_command() {
    let rig = Rig::new(Faults::default());
    rig.proxy.blackhole(true);
    assert!(rig.send(10, 100).is_empty());
    assert_eq!(rig.proxy.stats().to_server.blackholed, 10);
    rig.proxy.blackhole(false);
    assert_eq!(rig.send(10, 100).len(), 10);
}

#[test]
fn outages_come_and_go() {
    let outages = Some(Outages { up: Duration::from_millis(60), down: Duration::from_millis(60) });
    let rig = Rig::new(Faults { outages, ..Faults::default() });
    for i in 0..100u32 {
        rig.client.send(&i.to_be_bytes()).expect("send");
        std::thread::sleep(Duration::from_millis(5));
    }
    let got: Vec<u32> = rig.rest(100).iter().map(|p| number(p)).collect();
    let gaps = got.windows(2).filter(|w| w[1] - w[0] > 3).count();
    let stats = rig.proxy.stats().to_server;
    assert_eq!((stats.forwarded, stats.blackholed), (got.len() as u64, 100 - got.len() as u64));
    assert!(gaps >= 2, "several outages, with service between them: {got:?}");
}

#[test]
fn a_rebind_changes_the_port_and_forgets_the_old_one() {
    let rig = Rig::new(Faults::default());
    rig.client.send(b"one").expect("send");
    let (_, old) = next(&rig.server);
    rig.proxy.rebind();
    rig.client.send(b"two").expect("send");
    let (_, new) = next(&rig.server);
    assert_ne!(old, new);
    rig.server.send_to(b"to the old port", old).expect("send");
    rig.server.send_to(b"to the new port", new).expect("send");
    assert_eq!(next(&rig.client).0, b"to the new port");
    assert_eq!(rig.proxy.stats().rebinds, 1);
}

#[test]
fn rebinds_come_round() {
    let rig = Rig::new(Faults { rebind_every: Some(Duration::from_millis(50)), ..Faults::default() });
    let mut ports = HashSet::new();
    for _ in 0..40 {
        rig.client.send(b"x").expect("send");
        ports.insert(next(&rig.server).1);
        std::thread::sleep(Duration::from_millis(5));
    }
    let rebinds = rig.proxy.stats().rebinds as usize;
    assert!(ports.len() > 2 && rebinds + 1 >= ports.len(), "{rebinds} {ports:?}");
}

#[test]
fn clients_are_kept_apart() {
    let rig = Rig::new(Faults::default());
    let clients: Vec<UdpSocket> = (0..50).map(|_| client_of(&rig.proxy)).collect();
    for (i, client) in clients.iter().enumerate() {
        client.send(&[i as u8]).expect("send");
    }
    let mut seen = HashSet::new();
    for _ in &clients {
        let (packet, from) = next(&rig.server);
        assert!(seen.insert(from), "one port a client");
        rig.server.send_to(&packet, from).expect("send");
    }
    for (i, client) in clients.iter().enumerate() {
        assert_eq!(next(client).0, [i as u8]);
    }
    assert_eq!(rig.proxy.stats().clients, 50);
}

#[test]
fn faults_can_be_changed_and_a_dead_server_is_no_end() {
    let Rig { client, proxy, server } = Rig::new(Faults::default());
    let address = server.local_addr().expect("addr");
    drop(server);
    for _ in 0..5 {
        client.send(b"nobody hears").expect("send");
        std::thread::sleep(Duration::from_millis(2));
    }
    let server = UdpSocket::bind(address).expect("the port again");
    client.send(b"hello").expect("send");
    assert_eq!(next(&server).0, b"hello");
    let link = LinkSpec { loss: Loss::Random(1.0), ..LinkSpec::default() };
    proxy.set(Faults::both(PathFaults { link, ..PathFaults::default() }));
    client.send(b"lost").expect("send");
    assert!(drain(&server, QUIET).is_empty());
    assert_eq!(proxy.stats().to_server.lost, 1);
}

#[test]
fn dropping_frees_the_port() {
    let rig = Rig::new(Faults::default());
    let address = rig.proxy.addr();
    rig.client.send(b"x").expect("send");
    next(&rig.server);
    drop(rig.proxy);
    UdpSocket::bind(address).expect("the port is free again");
}

/// Not a measure of speed, only that a burst far above any test's rate gets through whole when the sender waits for
/// the kernel's buffers.
#[test]
fn bulk_passes_whole() {
    let rig = Rig::new(Faults::default());
    let mut count = 0;
    for _ in 0..400 {
        for _ in 0..50 {
            rig.client.send(&[7; 1452]).expect("send");
        }
        for _ in 0..50 {
            assert_eq!(next(&rig.server).0.len(), 1452);
            count += 1;
        }
    }
    assert_eq!(rig.proxy.stats().to_server.forwarded, count);
}
