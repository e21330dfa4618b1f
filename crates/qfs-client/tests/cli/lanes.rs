//! CLI.md: `--connections N` drives each further connection on a thread of its own, in both directions, and nothing that holds for one
//! connection is lost by it.

use std::collections::BTreeMap;
use std::process::Child;

use qfs_testkit::udp_proxy::{Bottleneck, Faults, LinkSpec, PathFaults, UdpProxy};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Lab, finish, noise, run, wait_until};

/// Three stripes, and two and a half seconds on the link of these tests.
const LARGE: usize = 48 << 20;

/// A link of 160 Mbit/s in front of the server of `lab`.
fn link(lab: &Lab) -> UdpProxy {
    let bottleneck = Some(Bottleneck { bits_per_second: 160_000_000, queue_bytes: 512 << 10 });
    let link = LinkSpec { bottleneck, ..LinkSpec::default() };
    UdpProxy::start(lab.server().address(), Faults::both(PathFaults { link, ..PathFaults::default() })).unwrap()
}

/// The processor time of the program's first thread and of its lanes, by their names, in nanoseconds.
fn times(child: &Child) -> BTreeMap<String, u64> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    tasks
        .filter_map(|task| {
            let task = task.ok()?.path();
            let name = std::fs::read_to_string(task.join("comm")).ok()?.trim().to_owned();
            let is_first = task.file_name()?.to_str()? == child.id().to_string();
            // proc(5): time on a processor, time waiting for one, and how often.
            let used = std::fs::read_to_string(task.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()?;
            (is_first || name.starts_with("qfs-lane-")).then_some((name, used))
        })
        .collect()
}

/// Waits until two lanes have had much to do, each about as much as the first thread has since they began.
fn both_are_busy(what: &str, child: &Child) {
    let mut begun: Option<BTreeMap<String, u64>> = None;
    wait_until(&format!("two lanes that drive connections of {what}"), || {
        let times = times(child);
        if times.len() < 3 {
            return false;
        }
        let begun = begun.get_or_insert_with(|| times.clone());
        let used: Vec<u64> =
            times.iter().map(|(name, used)| used.saturating_sub(*begun.get(name).unwrap_or(&0))).collect();
        let most = used.iter().max().unwrap();
        used.iter().all(|used| used * 3 > *most && *used > 20_000_000)
    });
}

fn part_of_it_comes(proxy: &UdpProxy) {
    let before = proxy.stats().to_client.forwarded_bytes;
    wait_until("a part of the file", || proxy.stats().to_client.forwarded_bytes - before > LARGE as u64 / 3);
}

// Fails when the connections are driven by the thread that made them: stripes of one file, several files, and uploads.
#[test]
fn each_further_connection_has_a_thread_of_its_own() {
    let (content, third) = (noise(LARGE), noise(LARGE / 3));
    let mut lab = Lab::without_server(&[("large", &content), ("d/a", &third), ("d/b", &third), ("d/c", &third)]);
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write"]);
    for name in ["a", "b", "c"] {
        std::fs::create_dir_all(lab.home().join("up")).unwrap();
        std::fs::write(lab.home().join("up").join(name), &third).unwrap();
    }
    let proxy = link(&lab);
    let commands: [&[&str]; 4] =
        [&["get", "large"], &["get", "d", "--parallel"], &["put", "up", "--parallel"], &["push", "up", "pushed"]];
    for command in commands {
        let args = [command, &["--connections", "3"]].concat();
        let child = lab.through(proxy.addr().port(), &args).spawn().unwrap();
        both_are_busy(command[0], &child);
        finish(child).ends_with(0);
    }
    assert!(lab.saved("large") == content);
    for name in ["d/a", "d/b", "d/c"] {
        assert!(lab.saved(name) == third, "{name}");
    }
}

// Fails when the program ends before what was received on a lane is on record.
#[test]
fn an_interrupt_keeps_what_came_over_all_of_them() {
    let content = noise(LARGE);
    let lab = Lab::new(&[("large", &content)]);
    let proxy = link(&lab);
    let args = ["get", "large", "--json", "--connections", "3"];
    let child = lab.through(proxy.addr().port(), &args).spawn().unwrap();
    part_of_it_comes(&proxy);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    finish(child).ends_with(130);
    let done = run(&mut lab.through(proxy.addr().port(), &args)).ends_with(0);
    let value = done.json();
    assert_eq!(value["files"][0]["status"], "resumed", "{done:?}");
    assert!(value["bytes"].as_u64().unwrap() < LARGE as u64, "{done:?}");
    assert!(lab.saved("large") == content);
}

// Fails when a lane does not make its connection anew, or makes it where nobody drives it.
#[test]
fn each_of_them_is_made_anew_when_the_server_is() {
    let content = noise(LARGE);
    let mut lab = Lab::new(&[("large", &content)]);
    let (port, proxy) = (lab.server().address().port(), link(&lab));
    let args = ["get", "large", "--connections", "3", "--retry-timeout", "60s"];
    let child = lab.through(proxy.addr().port(), &args).spawn().unwrap();
    part_of_it_comes(&proxy);
    lab.start_server("127.0.0.1", port);
    finish(child).ends_with(0);
    assert!(lab.saved("large") == content);
}
