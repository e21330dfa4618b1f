//! CLI.md: `--transport auto|udp|tcp`: all commands over TCP, networks whose UDP is blocked or cut, and what is said of the way.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use qfs_testkit::binaries::{server_bin, without_settings};
use qfs_testkit::tcp_proxy::{TcpProxy, both};
use qfs_testkit::udp_proxy::{Bottleneck, Faults, LinkSpec, PathFaults, UdpProxy};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Done, Lab, finish, noise, run, sums, wait_until};

/// Two seconds at [`RATE`].
const LARGE: usize = 10 << 20;

/// What the networks of these tests carry, in bytes a second, by either way.
const RATE: u64 = 5 << 20;

/// A network in front of the server of `lab`, with UDP and with TCP.
fn network(lab: &Lab) -> (UdpProxy, TcpProxy) {
    let bottleneck = Some(Bottleneck { bits_per_second: RATE * 8, queue_bytes: 256 << 10 });
    let link = LinkSpec { bottleneck, ..LinkSpec::default() };
    let faults = Faults { to_client: PathFaults { link, ..PathFaults::default() }, ..Faults::default() };
    both(lab.server().address(), &faults, Some(RATE)).unwrap()
}

fn over_tcp(lab: &Lab, args: &[&str]) -> Done {
    lab.run(["--transport", "tcp"].iter().chain(args))
}

fn remembered(lab: &Lab) -> String {
    std::fs::read_to_string(lab.known_servers().with_file_name("without_udp")).unwrap_or_default()
}

// Fails when a command, a pattern, a stripe or a batch of small files takes the other way or none.
#[test]
fn every_command_works_over_tcp() {
    let large = noise(LARGE);
    let small: Vec<(String, Vec<u8>)> = (0..300).map(|n| (format!("small/{n}"), noise(n * 7))).collect();
    let mut files: Vec<(&str, &[u8])> = small.iter().map(|(name, content)| (name.as_str(), &content[..])).collect();
    files.push(("large", &large));
    let lab = Lab::new(&files);
    let listed = over_tcp(&lab, &["list"]).ends_with(0);
    assert_eq!(listed.out.lines().count(), files.len(), "{listed:?}");
    assert!(over_tcp(&lab, &["list", "--json", "large"]).ends_with(0).json()["large"]["size"] == LARGE);
    let done = over_tcp(&lab, &["get", "large", "small/1"]).ends_with(0);
    assert_eq!(done.out, sums(&[("large", &large), ("small/1", &small[1].1)]));
    std::fs::remove_dir_all(lab.home().join("client_env")).unwrap();
    let done = over_tcp(&lab, &["get", "--all", "--parallel", "--connections", "3", "--json", "-v"]).ends_with(0);
    let value = done.json();
    assert_eq!(value["files"].as_array().unwrap().len(), files.len());
    assert_eq!(value["limited_by"]["over"], "tcp");
    assert!(done.err.contains(" over tcp; its key"), "{}", done.err);
    for (name, content) in &files {
        assert!(lab.saved(name) == *content, "{name}");
    }
    over_tcp(&lab, &["get", "nope"]).ends_with(5).complains("nope", "");
    let done = over_tcp(&lab, &["get", "--all", "--json"]).ends_with(0);
    assert!(done.json()["files"].as_array().unwrap().iter().all(|file| file["status"] == "unchanged"));
    assert_eq!(remembered(&lab), "", "what was asked for is no discovery");
}

#[test]
fn tokens_and_pins_hold_over_tcp() {
    let mut lab = Lab::without_server(&[("in/a", b"a"), ("out", b"o")]);
    lab.start_server_with("127.0.0.1", 0, &["--auth", "tokens"]);
    over_tcp(&lab, &["list"]).ends_with(5);
    let mut create = Command::new(server_bin());
    without_settings(&mut create)
        .arg("--certs")
        .arg(lab.path().join("certs"))
        .args(["token", "create", "--scope", "in"]);
    let token = run(&mut create).ends_with(0).out;
    let pin = lab.server().fingerprint().to_owned();
    let with_token = |args: &[&str]| {
        let mut command = lab.client(["--transport", "tcp"].iter().chain(args));
        run(command.env("QFS_TOKEN", token.trim_end()))
    };
    // The running server sees the new token within a second.
    wait_until("the token", || with_token(&["list"]).code == Some(0));
    assert!(with_token(&["list", "--fingerprint", &pin]).ends_with(0).out.ends_with("  in/a\n"));
    with_token(&["get", "out"]).ends_with(5);
    let wrong = format!("sha256:{}", "0".repeat(64));
    let done = with_token(&["list", "--fingerprint", &wrong]).ends_with(4);
    assert!(done.err.contains(&wrong) && done.err.contains(&pin) && done.out.is_empty(), "{done:?}");
}

// Fails when TCP is tried only after UDP was given up, when what was found out is not remembered, or is remembered of UDP.
#[test]
fn where_udp_is_blocked_tcp_is_found_within_a_second_and_remembered() {
    let lab = Lab::new(&[("a", b"first")]);
    let (udp, _tcp) = network(&lab);
    udp.blackhole(true);
    let port = udp.addr().port();
    lab.through(port, &["list", "--transport", "udp", "--connect-timeout", "1s"])
        .spawn()
        .map(finish)
        .unwrap()
        .ends_with(3);
    let done = run(&mut lab.through(port, &["get", "a", "-v", "--connect-timeout", "1s"])).ends_with(0);
    assert!(done.err.contains("connected to") && done.err.contains(" over tcp; its key"), "{}", done.err);
    assert!(remembered(&lab).starts_with(&format!("127.0.0.1:{port} ")), "{:?}", remembered(&lab));
    // What is remembered is tried first, and is forgotten when it is no longer so.
    let mut lines = remembered(&lab);
    run(&mut lab.through(port, &["list", "-v"])).ends_with(0);
    assert_eq!(remembered(&lab), lines);
    udp.blackhole(false);
    lines = run(&mut lab.through(port, &["list", "-v"])).ends_with(0).err;
    assert!(lines.contains(" over tcp; its key"), "{lines}");
    drop(_tcp);
    assert!(run(&mut lab.through(port, &["list", "-v"])).ends_with(0).err.contains(" over udp; its key"));
    assert_eq!(remembered(&lab), "");
}

// Fails when the client goes around a server that has shown the wrong key, or takes a foreign program's for it.
#[test]
fn a_wrong_key_by_one_way_is_the_end_whatever_the_other_says() {
    let (right, wrong) = (Lab::new(&[("a", b"right")]), Lab::new(&[("a", b"wrong")]));
    let pin = wrong.server().fingerprint().to_owned();
    // UDP leads to one server and TCP to the other.
    let udp = UdpProxy::start(right.server().address(), Faults::default()).unwrap();
    let _tcp = TcpProxy::start(udp.addr(), wrong.server().address(), None).unwrap();
    let port = udp.addr().port();
    let done = run(&mut right.through(port, &["list", "--fingerprint", &pin])).ends_with(4);
    assert!(done.out.is_empty() && done.err.contains(&pin), "{done:?}");
    // Over UDP the right one answers: who answers over TCP does not count.
    let pin = right.server().fingerprint();
    assert!(run(&mut right.through(port, &["list", "--fingerprint", pin])).ends_with(0).out.ends_with("  a\n"));
    // Without UDP the wrong one is all there is.
    udp.blackhole(true);
    let done = run(&mut right.through(port, &["list", "--fingerprint", pin])).ends_with(4);
    assert!(done.out.is_empty() && done.err.contains(pin), "{done:?}");
}

#[test]
fn what_does_not_answer_is_told_by_its_way() {
    let mut lab = Lab::without_server(&[("a", b"a")]);
    lab.start_server_with("127.0.0.1", 0, &["--tcp", "off", "--http", "off"]);
    lab.run(["list"]).ends_with(0);
    over_tcp(&lab, &["list"]).ends_with(3).complains("nothing listens there", "");
    // Another program on the port.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in other.incoming() {
            let _ = stream.unwrap().write_all(b"HTTP/1.0 400 what?\r\n\r\n");
        }
    });
    let done = run(&mut lab.through(port, &["list", "--transport", "tcp"])).ends_with(3);
    assert!(done.err.contains("does not speak qfs/1"), "{done:?}");
}

#[test]
fn an_interrupted_download_is_continued_over_tcp() {
    let content = noise(LARGE);
    let lab = Lab::new(&[("large", &content)]);
    let (udp, tcp) = network(&lab);
    let child = lab.through(udp.addr().port(), &["get", "large", "--transport", "tcp"]).spawn().unwrap();
    wait_until("a part of the file", || tcp.carried() > LARGE as u64 / 3);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    finish(child).ends_with(130);
    let done = run(&mut lab.through(udp.addr().port(), &["get", "large", "--json", "--transport", "tcp"])).ends_with(0);
    assert_eq!(done.json()["files"][0]["status"], "resumed", "{done:?}");
    assert!(done.json()["bytes"].as_u64().unwrap() < LARGE as u64, "{done:?}");
    assert!(lab.saved("large") == content);
}

/// Starts a download and waits until a third of it has come.
fn under_way(lab: &Lab, port: u16, transport: &str, carried: impl Fn() -> u64) -> Child {
    let child = lab.through(port, &["get", "large", "--json", "-v", "--transport", transport]).spawn().unwrap();
    wait_until("a part of the file", || carried() > LARGE as u64 / 3);
    child
}

// Fails when a server that is lost over TCP is not found again.
#[test]
fn a_connection_lost_over_tcp_is_made_anew() {
    let content = noise(LARGE);
    let mut lab = Lab::new(&[("large", &content)]);
    let address = lab.server().address();
    let (udp, tcp) = network(&lab);
    let child = under_way(&lab, udp.addr().port(), "tcp", || tcp.carried());
    lab.stop_server();
    lab.start_server("127.0.0.1", address.port());
    let done = finish(child).ends_with(0);
    assert!(done.err.contains("connecting again"), "{done:?}");
    assert!(lab.saved("large") == content);
}

// The long version is the torture suite's `ways`. Fails when the client waits for QUIC's idle time-out, begins at the start, or
// ends there.
#[test]
fn when_udp_dies_midway_the_rest_comes_over_tcp() {
    let content = noise(LARGE);
    let lab = Lab::new(&[("large", &content)]);
    let (udp, tcp) = network(&lab);
    let child = under_way(&lab, udp.addr().port(), "auto", || udp.stats().to_client.forwarded_bytes);
    assert_eq!(tcp.carried(), 0);
    udp.blackhole(true);
    let done = finish(child).ends_with(0);
    assert!(done.err.contains("nothing comes over udp any more; going on over tcp"), "{done:?}");
    assert!(!done.err.contains("connecting again"), "{done:?}");
    assert_eq!(done.json()["limited_by"]["over"], "tcp");
    assert!(lab.saved("large") == content);
    assert!(tcp.carried() < LARGE as u64, "it began anew");
    assert!(!remembered(&lab).is_empty());
}

// Fails when one lost packet at the start makes it TCP to the end, and for a day.
#[test]
fn where_udp_was_only_late_the_rest_comes_over_it() {
    let content = noise(2 * LARGE);
    let lab = Lab::new(&[("large", &content)]);
    let (udp, tcp) = network(&lab);
    udp.blackhole(true);
    let child = under_way(&lab, udp.addr().port(), "auto", || tcp.carried());
    assert!(!remembered(&lab).is_empty());
    udp.blackhole(false);
    let done = finish(child).ends_with(0);
    assert!(done.err.contains("note: the server answers over udp too; going on over it"), "{done:?}");
    assert!(!done.err.contains("connecting again"), "{done:?}");
    assert_eq!(done.json()["limited_by"]["over"], "udp");
    assert!(lab.saved("large") == content);
    assert!(tcp.carried() < content.len() as u64, "it stayed there");
    assert!(udp.stats().to_client.forwarded_bytes < content.len() as u64, "it began anew");
    assert_eq!(remembered(&lab), "");
}

// Fails when the client closes a connection that works under an upload that cannot be sent again.
#[test]
fn an_upload_that_cannot_be_sent_again_stays_on_its_way() {
    let mut lab = Lab::without_server(&[]);
    lab.start_server_with("127.0.0.1", 0, &["--allow", "write"]);
    let (udp, tcp) = network(&lab);
    udp.blackhole(true);
    let mut command = lab.through(udp.addr().port(), &["put", "-", "--as", "x", "-v", "--transport", "auto"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let (mut input, block) = (child.stdin.take().unwrap(), noise(64 << 10));
    let mut fed = Vec::new();
    let mut feed = || {
        // Where the program has ended, its exit code tells.
        let _ = input.write_all(&block);
        fed.extend_from_slice(&block);
    };
    wait_until("a part of the file", || {
        feed();
        tcp.carried() > block.len() as u64
    });
    udp.blackhole(false);
    wait_until("an answer over UDP", || {
        feed();
        udp.stats().to_client.forwarded_bytes > 0
    });
    // A second at the network's rate: more than a handshake takes.
    (0..RATE / block.len() as u64).for_each(|_| feed());
    drop(input);
    finish(child).ends_with(0);
    assert!(std::fs::read(lab.path().join("root/x")).unwrap() == fed);
}
