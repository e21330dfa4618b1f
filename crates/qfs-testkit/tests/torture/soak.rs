//! A mixed load for a long time, and whether the server grows.

use std::time::{Duration, Instant};

use crate::lab::{Lab, finish, noise};
use crate::tally::{Tally, count, seed};

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Promise: under a mixed load memory grows by at most 1 MiB an hour and descriptors not at all.
///
/// Fails when: a connection's task outlives it; an open version is never forgotten (`Versions`).
#[test]
fn a_mixed_load_leaves_nothing_behind() {
    let length = Duration::from_secs(count("soak_seconds", 5));
    let mut random = fastrand::Rng::with_seed(seed() ^ 0x50);
    let mut lab = Lab::new();
    for n in 0..50 {
        lab.publish(&format!("small/{n}"), &noise(n, 2000));
    }
    let large = noise(seed() ^ 17, 8 << 20);
    lab.publish("large", &large);
    lab.start();
    let pid = lab.server().id();
    let mut round = || {
        let commands: [&[&str]; 4] = [
            &["list", "--json"],
            &["get", "small/*", "--parallel", "--overwrite", "--json"],
            &["get", "large", "--overwrite", "--json"],
            &["get", "nothing", "--json"],
        ];
        let children: Vec<_> =
            (0..3).map(|_| lab.client(lab.address(), commands[random.usize(..4)]).spawn().unwrap()).collect();
        for (n, mut child) in children.into_iter().enumerate() {
            if n == 2 && random.bool() {
                child.kill().unwrap();
            }
            let done = finish(child);
            assert!(matches!(done.code, None | Some(0 | 5)), "{done:?}");
        }
        if let Some(file) = lab.saved_file("large") {
            assert!(file == large);
        }
        lab.clear();
    };
    // What a server keeps for good (threads, caches, the allocator's arenas) is there after a while.
    let warm = Instant::now() + length / 4;
    while Instant::now() < warm {
        round();
    }
    let (before, open_before, begun) = (resident_kib(pid), descriptors(pid), Instant::now());
    let mut rounds = 0;
    while begun.elapsed() < length * 3 / 4 {
        round();
        rounds += 1;
    }
    let (after, open_after) = (resident_kib(pid), descriptors(pid));
    let hours = begun.elapsed().as_secs_f64() / 3600.0;
    let slope = after.saturating_sub(before) as f64 / 1024.0 / hours;
    assert!(open_after <= open_before + 8, "descriptors: {open_before}, then {open_after}");
    // Over seconds the slope says nothing: the server's buffers are still on their way to their most. Only a torrent would show.
    assert!(after <= before + (64 << 10), "memory: {before} KiB, then {after} KiB");
    assert!(length < Duration::from_secs(1800) || slope <= 1.0, "{slope:.2} MiB an hour");
    let mut tally = Tally::new("soak", 1);
    tally.note("steady");
    tally.end(&format!(
        "{rounds} rounds in {:.2} h, memory {before} → {after} KiB, descriptors {open_before} → {open_after}",
        hours
    ));
}
