//! What limited a run: the verdict of the real program in situations that leave no doubt.

use std::process::Command;
use std::time::Duration;

use qfs_testkit::binaries::without_settings;
use qfs_testkit::udp_proxy::{Bottleneck, Faults, LinkSpec, Loss, PathFaults, UdpProxy};

use crate::support::{Done, Lab, far_link, noise, run, slow_link};

/// Runs the client through `proxy`, with a report for programs.
fn through(lab: &Lab, proxy: &UdpProxy, args: &[&str]) -> Done {
    let mut command = lab.client(["--json", "get"]);
    run(command.env("QFS_PORT", proxy.addr().port().to_string()).args(args)).ends_with(0)
}

#[track_caller]
fn limit(done: &Done) -> String {
    let limit = &done.json()["limited_by"];
    assert!(limit["because"].as_str().is_some_and(|because| !because.is_empty()), "{done:?}");
    limit["what"].as_str().unwrap().to_owned()
}

/// Fails when the queue before a link of 40 Mbit/s, which the server fills at once, is not seen in the round trips.
#[test]
fn a_narrow_link_is_the_path() {
    let lab = Lab::new(&[("big", &noise(8 << 20))]);
    let proxy = slow_link(lab.server().address());
    let done = through(&lab, &proxy, &["big"]);
    assert_eq!(limit(&done), "path", "{done:?}");
}

/// Fails when a lossy link is taken for something at either end.
#[test]
fn a_lossy_link_is_the_path() {
    let lab = Lab::new(&[("big", &noise(8 << 20))]);
    // So narrow that the round trips of the start are a small part of the run.
    let bottleneck = Some(Bottleneck { bits_per_second: 50_000_000, queue_bytes: 256 << 10 });
    let link =
        LinkSpec { loss: Loss::Random(0.03), delay: Duration::from_millis(5), bottleneck, ..LinkSpec::default() };
    let faults = Faults { to_client: PathFaults { link, ..PathFaults::default() }, ..Faults::default() };
    let proxy = UdpProxy::start(lab.server().address(), faults.seeded(3)).unwrap();
    let done = through(&lab, &proxy, &["big"]);
    // How much of it a busy machine carries, and whether it queues packets by itself, is not for this test to say.
    assert!(["path", "congestion_window"].contains(&limit(&done).as_str()), "{done:?}");
}

/// Fails when round trips are not counted for small files: 200 ms of a run that needs little more than one or two.
#[test]
fn small_files_from_far_away_wait_for_round_trips() {
    let files: Vec<_> = (0..20).map(|n| (format!("f{n}"), noise(100))).collect();
    let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), &content[..])).collect();
    let lab = Lab::new(&files);
    let proxy = far_link(lab.server().address());
    let done = through(&lab, &proxy, &["--parallel=1", "--all"]);
    assert_eq!(limit(&done), "latency", "{done:?}");
    assert!(done.json()["limited_by"]["hint"].as_str().unwrap().contains("--parallel"), "{done:?}");
}

/// Fails when standing still for writes is not counted, or is taken for the network: every write returns a tenth of a second late.
#[test]
fn a_slow_disk_is_the_disk() {
    let lab = Lab::new(&[("big", &noise(8 << 20))]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null"]);
    if !strace.arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("limits: no slow disk: no strace, or it may not trace");
        return;
    }
    let mut client = Command::new("strace");
    without_settings(&mut client)
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=pwritev,pwritev2,pwrite64"])
        .args(["-e", "inject=pwritev,pwritev2,pwrite64:delay_exit=100000"])
        .arg(env!("CARGO_BIN_EXE_qfs-client"))
        .args(["--port", &lab.server().address().port().to_string(), "--json", "get", "big"])
        .env("QFS_CONFIG_DIR", lab.path().join("config"))
        .current_dir(lab.home());
    let done = run(&mut client).ends_with(0);
    assert_eq!(limit(&done), "receiver_disk", "{done:?}");
}

/// Fails when the line is missing, comes twice, or comes without being asked for.
#[test]
fn people_are_told_in_one_line_when_they_ask() {
    let lab = Lab::new(&[("a", b"text")]);
    let lines = |done: &Done| done.err.lines().filter(|line| line.starts_with("limited by ")).count();
    let done = lab.run(["-v", "get", "a"]).ends_with(0);
    assert_eq!(lines(&done), 1, "{done:?}");
    let done = lab.run(["get", "a"]).ends_with(0);
    assert_eq!(lines(&done), 0, "{done:?}");
}

/// Fails when a run that never began has no field, or one that nothing was measured for.
#[test]
fn a_run_that_never_began_has_no_limit() {
    let mut lab = Lab::new(&[("a", b"text")]);
    let port = lab.server().address().port().to_string();
    lab.stop_server();
    let done = run(lab.bare().args(["--json", "--port", &port, "get", "a"])).ends_with(3);
    assert!(done.json()["limited_by"].is_null(), "{done:?}");
}
