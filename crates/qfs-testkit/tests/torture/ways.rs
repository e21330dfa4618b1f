//! Networks whose UDP or whose TCP is cut while a file is under way: what is left comes by the other way, within five seconds.

use std::time::{Duration, Instant};

use qfs_testkit::tcp_proxy::{TcpProxy, both};
use qfs_testkit::udp_proxy::{Bottleneck, Faults, LinkSpec, Loss, PathFaults, UdpProxy};

use crate::lab::{Lab, finish, noise, run, wait_until};
use crate::tally::{Tally, count, seed};

/// What either way carries, in bytes a second.
const RATE: u64 = 4 << 20;

/// Three seconds of it.
const SIZE: usize = 12 << 20;

/// The longest that a transfer may stand still (SAFETY: "goes on over TCP or says so within 5 s").
const LONGEST: Duration = Duration::from_secs(5);

/// A direction's faults, which lose everything or nothing.
fn link(lost: bool) -> PathFaults {
    let bottleneck = Some(Bottleneck { bits_per_second: RATE * 8, queue_bytes: 256 << 10 });
    let loss = if lost { Loss::Random(1.0) } else { Loss::None };
    PathFaults { link: LinkSpec { bottleneck, loss, ..LinkSpec::default() }, ..PathFaults::default() }
}

fn network(lab: &Lab) -> (UdpProxy, TcpProxy) {
    both(lab.address(), &Faults::both(link(false)), Some(RATE)).unwrap()
}

/// A file under way over UDP, which dies in these directions.
///
/// The tests below fail when: the silent connection is waited for until QUIC's idle time-out (leave out `watch`); a peer that repeats
/// itself counts as a sign of life (count received packets); the exchange begins anew (drop the partial file).
fn cut_udp(name: &'static str, to_server: bool, to_client: bool) {
    let total = count(name, 2);
    let content = noise(seed() ^ 11, SIZE);
    let lab = Lab::serving(&[("large", &content)]);
    let mut tally = Tally::new(name, total);
    let mut longest = Duration::ZERO;
    for round in 0..total {
        lab.clear();
        let (udp, tcp) = network(&lab);
        let child = lab.client(udp.addr(), &["get", "large", "--json"]).spawn().unwrap();
        // Somewhere in the file.
        let part = fastrand::Rng::with_seed(seed() + round).u64(SIZE as u64 / 10..SIZE as u64 / 2);
        wait_until("a part of the file", || udp.stats().to_client.forwarded_bytes >= part);
        let cut = Instant::now();
        udp.set(Faults { to_server: link(to_server), to_client: link(to_client), ..Faults::default() });
        // More than a handshake: the file goes on.
        wait_until("the file over TCP", || tcp.carried() > 256 << 10);
        longest = longest.max(cut.elapsed());
        let done = finish(child).ends_with(0);
        assert!(done.err.contains("going on over tcp"), "{done:?}");
        assert!(lab.saved_file("large").as_deref() == Some(&content[..]), "{done:?}");
        assert!(tcp.carried() < SIZE as u64, "it began anew: {done:?}");
        tally.note("complete");
    }
    assert!(longest <= LONGEST, "{longest:?}");
    tally.end(&format!("went on after {:.1} s at the latest", longest.as_secs_f64()));
}

#[test]
fn udp_is_cut_both_ways() {
    cut_udp("udp_cut", true, true);
}

#[test]
fn udp_is_cut_towards_the_client() {
    cut_udp("udp_cut_to_client", false, true);
}

#[test]
fn udp_is_cut_towards_the_server() {
    cut_udp("udp_cut_to_server", true, false);
}

#[test]
fn tcp_is_cut_where_udp_has_come_back() {
    let total = count("tcp_cut", 2);
    let content = noise(seed() ^ 12, SIZE);
    let lab = Lab::serving(&[("large", &content)]);
    let mut tally = Tally::new("tcp_cut", total);
    let mut longest = Duration::ZERO;
    for _ in 0..total {
        lab.clear();
        let (udp, tcp) = network(&lab);
        udp.blackhole(true);
        // It remembers that there is no UDP: otherwise it would try that once more at the start, and go over by itself.
        run(&mut lab.client(udp.addr(), &["list"])).ends_with(0);
        let carried = tcp.carried();
        let child = lab.client(udp.addr(), &["get", "large", "--json"]).spawn().unwrap();
        wait_until("a part of the file", || tcp.carried() - carried >= SIZE as u64 / 4);
        udp.blackhole(false);
        let (cut, before) = (Instant::now(), udp.stats().to_client.forwarded_bytes);
        tcp.cut(true, true);
        wait_until("the file over UDP", || udp.stats().to_client.forwarded_bytes - before > 256 << 10);
        longest = longest.max(cut.elapsed());
        let done = finish(child).ends_with(0);
        assert!(done.err.contains("going on over udp"), "{done:?}");
        assert!(lab.saved_file("large").as_deref() == Some(&content[..]), "{done:?}");
        tally.note("complete");
    }
    assert!(longest <= LONGEST, "{longest:?}");
    tally.end(&format!("went on after {:.1} s at the latest", longest.as_secs_f64()));
}

#[test]
fn udp_is_blocked_from_the_start() {
    let total = count("udp_blocked", 2);
    let content = noise(seed() ^ 13, 1 << 20);
    let lab = Lab::serving(&[("file", &content)]);
    let mut tally = Tally::new("udp_blocked", total);
    for round in 0..total {
        lab.clear();
        // Either direction, or both.
        let (to_server, to_client) = [(true, true), (true, false), (false, true)][(round % 3) as usize];
        let faults = Faults { to_server: link(to_server), to_client: link(to_client), ..Faults::default() };
        // Another port each time: nothing is remembered of it.
        let (udp, _tcp) = both(lab.address(), &faults, None).unwrap();
        let done = run(&mut lab.client(udp.addr(), &["get", "file", "--json", "--connect-timeout", "1s"])).ends_with(0);
        assert_eq!(done.json()["limited_by"]["over"], "tcp", "{done:?}");
        assert!(lab.saved_file("file").as_deref() == Some(&content[..]), "{done:?}");
        tally.note("complete");
    }
    tally.end("connected within 1 s");
}

// Nothing is left to go over to. Fails when the client then hangs, or says nothing.
#[test]
fn both_ways_are_cut() {
    let content = noise(seed() ^ 14, SIZE);
    let lab = Lab::serving(&[("large", &content)]);
    let (udp, tcp) = network(&lab);
    let args = ["get", "large", "--json", "--retry-timeout", "3s"];
    let child = lab.client(udp.addr(), &args).spawn().unwrap();
    wait_until("a part of the file", || udp.stats().to_client.forwarded_bytes >= SIZE as u64 / 4);
    udp.blackhole(true);
    tcp.cut(true, true);
    let done = finish(child).ends_with(3);
    assert_eq!(done.json()["files"][0]["error"]["code"], "connection_lost", "{done:?}");
    udp.blackhole(false);
    let done = run(&mut lab.client(udp.addr(), &args)).ends_with(0);
    assert_eq!(done.one_file().0, "resumed", "{done:?}");
}

/// Fails when a drain cuts off what is under way over TCP (leave out `gone` in the server's `serve_connection`), or goes on letting
/// clients in.
#[test]
fn a_server_that_ends_lets_tcp_finish() {
    let total = count("tcp_drains", 2);
    let content = noise(seed() ^ 15, 8 << 20);
    let mut lab = Lab::serving(&[("large", &content)]);
    let mut tally = Tally::new("tcp_drains", total);
    for round in 0..total {
        lab.clear();
        let (udp, tcp) = network(&lab);
        let child = lab.client(udp.addr(), &["get", "large", "--json", "--transport", "tcp"]).spawn().unwrap();
        let part = fastrand::Rng::with_seed(seed() + round).u64(100_000..content.len() as u64 / 2);
        wait_until("a part of the file", || tcp.carried() >= part);
        assert!(lab.server_mut().terminate().unwrap().success());
        let done = finish(child).ends_with(0);
        assert_eq!(done.one_file(), ("downloaded".to_owned(), content.len() as u64), "{done:?}");
        assert!(lab.saved_file("large").as_deref() == Some(&content[..]));
        assert!(!done.err.contains("connecting again"), "{done:?}");
        assert_eq!(lab.run(&["list", "--transport", "tcp"]).code, Some(3));
        lab.start();
        tally.note("finished");
    }
    tally.end("server exit 0, nothing cut");
}
