//! The client is killed at random moments and run again.

use std::path::Path;

use crate::lab::{Lab, finish, noise, run, slow_link, wait_for_bytes};
use crate::tally::{Tally, count, seed};

const SIZE: usize = 20 << 20;

/// Promise: the final name never holds wrong bytes, and what was recorded is not fetched again.
///
/// Fails when: `Assembly::new` takes the recorded frontier as 0 (restarted, not resumed); `Staged::commit` renames before
/// the digest was compared (`download.rs`, `settle`); the body is written to the target itself.
#[test]
fn a_killed_client_leaves_nothing_wrong_and_goes_on() {
    let total = count("kills", 4);
    let mut random = fastrand::Rng::with_seed(seed());
    let content = noise(seed(), SIZE);
    let lab = Lab::serving(&[("large", &content)]);
    let proxy = slow_link(lab.address(), 400_000_000);
    let mut tally = Tally::new("kills", total);
    for _ in 0..total {
        lab.clear();
        let mut frontier = 0;
        // Some runs are killed more than once.
        for _ in 0..random.u32(1..3) {
            let before = proxy.stats().to_client.forwarded_bytes;
            let mut child = lab.client(proxy.addr(), &["get", "large", "--json"]).spawn().unwrap();
            wait_for_bytes(&proxy, before, random.u64(0..SIZE as u64 * 21 / 20 - frontier), &mut child);
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(lab.saved_file("large").is_none_or(|bytes| bytes == content), "a wrong byte under the final name");
            frontier = recorded_frontier(&lab);
        }
        let complete = lab.saved_file("large").is_some();
        let done = run(&mut lab.client(proxy.addr(), &["get", "large", "--json"])).ends_with(0);
        let (status, received) = done.one_file();
        assert!(lab.saved_file("large").as_deref() == Some(&content[..]), "{done:?}");
        assert_eq!(received, if complete { 0 } else { SIZE as u64 - frontier }, "recorded {frontier}: {done:?}");
        assert!(lab.partials().is_empty(), "{:?}", lab.partials());
        tally.note(&status);
    }
    let resumed = tally.of("resumed");
    assert!(total < 20 || resumed > total / 10, "killed too early to say anything: {resumed} resumed");
    tally.end("0 corrupt");
}

/// How far the partial file says it is: the record behind the body is `qfs-part`, the frontier, and a check.
fn recorded_frontier(lab: &Lab) -> u64 {
    let record = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        let record = bytes.get(SIZE..SIZE + 16).filter(|record| record.starts_with(b"qfs-part"))?;
        Some(u64::from_le_bytes(record[8..].try_into().unwrap()))
    };
    lab.partials().iter().filter_map(|path| record(path)).max().unwrap_or(0)
}

/// A partial file that something damaged while nobody ran is not believed: the file ends right, at the cost of a restart.
///
/// Fails when: `Assembly::new` trusts the recorded frontier without reading (then there is no digest of it), or `settle`
/// commits what the digest refutes.
#[test]
fn damage_to_a_partial_file_is_found_out() {
    let total = count("damaged_partials", 2);
    let mut random = fastrand::Rng::with_seed(seed() ^ 0xda);
    let content = noise(seed() ^ 1, SIZE);
    let lab = Lab::serving(&[("large", &content)]);
    let proxy = slow_link(lab.address(), 400_000_000);
    let mut tally = Tally::new("damaged_partials", total);
    for _ in 0..total {
        lab.clear();
        let mut child = lab.client(proxy.addr(), &["get", "large"]).spawn().unwrap();
        // The first record is written with the first eight megabytes.
        crate::lab::wait_until("a recorded frontier", || {
            recorded_frontier(&lab) > 0 || child.try_wait().unwrap().is_some()
        });
        child.kill().unwrap();
        finish_killed(child);
        let frontier = recorded_frontier(&lab);
        if frontier > 0 {
            let path = &lab.partials()[0];
            let mut bytes = std::fs::read(path).unwrap();
            bytes[random.usize(0..frontier as usize)] ^= 1 << random.u32(0..8);
            std::fs::write(path, bytes).unwrap();
        }
        let done = run(&mut lab.client(lab.address(), &["get", "large", "--json"])).ends_with(0);
        assert!(lab.saved_file("large").as_deref() == Some(&content[..]), "{done:?}");
        tally.note(if frontier > 0 { "damaged" } else { "finished too early" });
    }
    tally.end("0 corrupt");
}

fn finish_killed(child: std::process::Child) {
    assert_eq!(finish(child).code, None);
}
