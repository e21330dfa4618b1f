//! CLI.md: a download that was cut off is continued by running the same command again; interrupts; connections that are lost.

use std::process::Child;
use std::time::{Duration, Instant};

use qfs_testkit::binaries::{ServerOptions, ServerProcess};
use qfs_testkit::udp_proxy::{Bottleneck, Faults, LinkSpec, PathFaults, UdpProxy};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Lab, far_link, finish, lossy_link, noise, run, slow_link, sums, wait_until};

/// Two seconds on the slow link.
const LARGE: usize = 10 << 20;

/// Starts a download and waits until about a fifth of it has come through.
fn halfway(lab: &Lab, proxy: &UdpProxy, args: &[&str]) -> Child {
    let before = proxy.stats().to_client.forwarded_bytes;
    let child = lab.through(proxy.addr().port(), args).spawn().unwrap();
    wait_until("a part of the file", || proxy.stats().to_client.forwarded_bytes - before > LARGE as u64 / 3);
    child
}

#[test]
fn an_interrupted_download_is_continued_by_the_same_command() {
    let content = noise(LARGE);
    let lab = Lab::new(&[("large", &content)]);
    let proxy = slow_link(lab.server().address());
    for signal in [Signal::INT, Signal::TERM] {
        let child = halfway(&lab, &proxy, &["get", "large", "--overwrite"]);
        let told = Instant::now();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let done = finish(child).ends_with(130);
        assert!(told.elapsed() < Duration::from_secs(2), "it took {:?}", told.elapsed());
        assert_eq!(done.out, "");
        let done = done.complains("interrupted", "run the same command again to continue");
        assert!(!lab.home().join("client_env/large").exists(), "{done:?}");

        let done = run(&mut lab.through(proxy.addr().port(), &["get", "large", "--json"])).ends_with(0);
        let value = done.json();
        assert_eq!(value["files"][0]["status"], "resumed", "{done:?}");
        assert!(value["bytes"].as_u64().unwrap() < LARGE as u64, "{done:?}");
        assert_eq!(lab.saved("large"), content);
        std::fs::remove_dir_all(lab.home().join("client_env")).unwrap();
    }
}

#[test]
fn who_comes_second_to_the_same_content_has_it_all_the_same() {
    let content = noise(LARGE);
    let lab = Lab::new(&[("large", &content)]);
    let proxy = slow_link(lab.server().address());
    let child = halfway(&lab, &proxy, &["get", "large", "--json"]);
    lab.put("large", &content);
    let done = finish(child).ends_with(0);
    assert_eq!(done.json()["files"][0]["status"], "unchanged", "{done:?}");
    assert_eq!(std::fs::read_dir(lab.home().join("client_env")).unwrap().count(), 1, "a partial file is left");

    std::fs::remove_dir_all(lab.home().join("client_env")).unwrap();
    let child = halfway(&lab, &proxy, &["get", "large"]);
    lab.put("large", b"something else");
    finish(child).ends_with(7);
    assert_eq!(lab.saved("large"), b"something else");
}

#[test]
fn a_killed_download_is_continued_too() {
    let content = noise(LARGE);
    let lab = Lab::new(&[("large", &content)]);
    let proxy = slow_link(lab.server().address());
    let mut child = halfway(&lab, &proxy, &["get", "large"]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!lab.home().join("client_env/large").exists());
    assert_eq!(
        run(&mut lab.through(proxy.addr().port(), &["get", "large"])).ends_with(0).out,
        sums(&[("large", &content)])
    );
    assert_eq!(lab.saved("large"), content);
}

#[test]
fn a_lost_connection_is_made_anew_and_told_of() {
    let content = noise(LARGE);
    let mut lab = Lab::new(&[("large", &content)]);
    let address = lab.server().address();
    let proxy = slow_link(address);
    let child = halfway(&lab, &proxy, &["get", "large", "--retry-timeout", "30s"]);
    lab.stop_server();
    lab.start_server("127.0.0.1", address.port());
    let done = finish(child).ends_with(0);
    assert!(done.err.contains("connection lost") && done.err.contains("connecting again"), "{done:?}");
    assert_eq!(lab.saved("large"), content);
}

#[test]
fn retries_run_out_with_exit_code_3() {
    // Far away rather than narrow: nothing is dropped, so that the server's farewell is heard.
    let mut lab = Lab::new(&[("large", &noise(3 * LARGE)), ("small", b"x")]);
    let proxy = far_link(lab.server().address());
    let child = halfway(&lab, &proxy, &["get", "large", "small", "--retry-timeout", "1s"]);
    lab.terminate_server();
    let begun = Instant::now();
    let done = finish(child).ends_with(3);
    assert!(done.err.contains("error: large: ") && done.err.contains("hint: run the same command again"), "{done:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// A connection that is lost leaves gaps: what came behind a lost packet is there. The second one is lost in the middle of what was
/// missing of the first.
///
/// Fails when: only the first gap is asked for after a loss.
#[test]
fn connections_lost_on_a_lossy_link_leave_no_gaps() {
    let content = noise(LARGE);
    let mut lab = Lab::new(&[("large", &content)]);
    let address = lab.server().address();
    let proxy = lossy_link(address);
    let child = lab.through(proxy.addr().port(), &["get", "large", "--json", "--retry-timeout=30s"]).spawn().unwrap();
    for part in 1..=2 {
        wait_until("a part of the file", || proxy.stats().to_client.forwarded_bytes > part * LARGE as u64 / 4);
        lab.stop_server();
        lab.start_server("127.0.0.1", address.port());
    }
    let done = finish(child).ends_with(0);
    assert!(lab.saved("large") == content, "{done:?}");
}

// PROTOCOL §3.1: "later, on a new connection". Fails when what a server that shuts down refuses is asked of the same connection again,
// until nobody waits any longer.
#[test]
fn what_a_server_that_shuts_down_refuses_is_asked_of_the_next_one() {
    let large = noise(24 << 20);
    let others: Vec<String> = (0..40).map(|n| format!("b{n}")).collect();
    let mut files = vec![("a", &large[..])];
    // Too large to go together on one stream.
    files.extend(others.iter().map(|name| (name.as_str(), &large[..200_000])));
    let lab = Lab::without_server(&files);
    let (root, certs) = (lab.path().join("root"), lab.path().join("certs"));
    let start = |port| {
        let args = &["--drain-timeout", "40s"];
        let options = ServerOptions { port, certs: Some(&certs), args, ..ServerOptions::new(&root) };
        ServerProcess::start_with(&options)
    };
    let mut server = start(0);
    let address = server.address();
    let bottleneck = Some(Bottleneck { bits_per_second: 20_000_000, queue_bytes: 256 << 10 });
    let link = LinkSpec { bottleneck, ..LinkSpec::default() };
    let proxy = UdpProxy::start(address, Faults::both(PathFaults { link, ..PathFaults::default() })).unwrap();
    let args = ["get", "--all", "--parallel=2", "--json", "--transport", "udp"];
    let child = lab.through(proxy.addr().port(), &args).spawn().unwrap();
    wait_until("a part of the files", || proxy.stats().to_client.forwarded_bytes > 2 << 20);
    // The large one is brought to its end for longer than a refusal is borne with.
    assert!(server.terminate().unwrap().success());
    let _server = start(address.port());
    finish(child).ends_with(0);
    for (name, content) in &files {
        assert!(lab.saved(name) == *content, "{name}");
    }
}
