//! CLI.md: `--mtu N` bounds the packets of both directions, whichever side says it.

use qfs_testkit::udp_proxy::{Faults, UdpProxy};

use crate::support::{Lab, noise, run};

/// Downloads and uploads 2 MiB with these arguments of both programs; returns the largest UDP payload towards the client and towards
/// the server, in bytes.
fn largest(server: &[&str], client: &[&str]) -> (u64, u64) {
    let content = noise(2 << 20);
    let mut lab = Lab::without_server(&[("down", &content)]);
    lab.start_server_with("127.0.0.1", 0, &[&["--allow", "read,write"], server].concat());
    let proxy = UdpProxy::start(lab.server().address(), Faults::default()).unwrap();
    std::fs::write(lab.home().join("up"), &content).unwrap();
    for command in [["get", "down"], ["put", "up"]] {
        let args = ["--transport", "udp"].iter().chain(client).chain(&command);
        run(lab.client(args).env("QFS_PORT", proxy.addr().port().to_string())).ends_with(0);
    }
    let stats = proxy.stats();
    (stats.to_client.largest, stats.to_server.largest)
}

// Fails when the bound of one side holds for what that side sends alone. Loopback carries the largest packets that qfs tries.
#[test]
fn a_bound_of_either_side_holds_in_both_directions() {
    let (down, up) = largest(&[], &[]);
    assert!(down > 1452 && up > 1452, "{down} {up}: nothing to bound");
    for (server, client) in [(&[][..], &["--mtu", "1300"][..]), (&["--mtu", "1300"], &[])] {
        let (down, up) = largest(server, client);
        assert!((1200..=1300).contains(&down) && (1200..=1300).contains(&up), "{server:?} {client:?}: {down} {up}");
    }
}
