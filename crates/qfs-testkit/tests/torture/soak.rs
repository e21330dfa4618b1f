//! A mixed load for a long time, and whether the server grows.

use std::time::{Duration, Instant};

use crate::crowd::memory;
use crate::lab::{Lab, finish, noise};
use crate::tally::{Tally, count, seed};

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// How many samples of the memory the whole length has; three quarters of them are taken.
const SAMPLES: u32 = 400;

/// The slope of the line with the least squared distance to all samples. Two samples alone would be a matter of luck:
/// memory swings by some MiB with what the clients just do.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let many = samples.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / many;
    let (mean_x, mean_y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let covariance: f64 = samples.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = samples.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if variance == 0.0 { 0.0 } else { covariance / variance }
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
    let (before, open_before, begun) = (memory(pid).0, descriptors(pid), Instant::now());
    let mut samples = Vec::new();
    let mut rounds = 0;
    while begun.elapsed() < length * 3 / 4 {
        round();
        rounds += 1;
        if begun.elapsed() >= length * samples.len() as u32 / SAMPLES {
            let (hours, memory) = (begun.elapsed().as_secs_f64() / 3600.0, memory(pid).0 as f64 / 1024.0);
            samples.push((hours, memory));
            eprintln!("torture: soak {hours:.4} h, {memory:.1} MiB, {} descriptors", descriptors(pid));
        }
    }
    let (after, open_after) = (memory(pid).0, descriptors(pid));
    let hours = begun.elapsed().as_secs_f64() / 3600.0;
    let slope = slope(&samples);
    assert!(open_after <= open_before + 8, "descriptors: {open_before}, then {open_after}");
    // Over seconds the slope says nothing: the server's buffers are still on their way to their most. Only a torrent would
    // show.
    assert!(after <= before + (64 << 10), "memory: {before} KiB, then {after} KiB");
    assert!(length < Duration::from_secs(1800) || slope <= 1.0, "{slope:.2} MiB an hour, {samples:?}");
    let mut tally = Tally::new("soak", 1);
    tally.note("steady");
    let memory = format!("memory {before} → {after} KiB, slope {slope:.2} MiB/h");
    tally.end(&format!("{rounds} rounds in {hours:.2} h, {memory}, descriptors {open_before} → {open_after}"));
}
