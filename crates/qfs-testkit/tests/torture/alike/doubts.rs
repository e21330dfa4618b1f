//! `--delete` while listings fail, servers die and calls go wrong.

use std::collections::BTreeMap;
use std::path::Path;

use fastrand::Rng;
use qfs_testkit::udp_proxy::{Faults, UdpProxy};

use super::grove::{census, things};
use crate::disk::{has_strace, run_injected, trace_server};
use crate::lab::{Done, Lab, finish, noise, wait_for_bytes};
use crate::tally::{Tally, count, seed};

/// Directories of the tree: a listing of each is a call that may fail.
const DIRECTORIES: usize = 4;

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Reading a directory fails, at the client or at the server.
    Listing { at_server: bool },
    /// Opening something fails.
    Opening { at_server: bool },
    /// The server is killed, and perhaps another one takes its place, which has nothing of what would come next.
    Death { successor: bool },
}

const FAULTS: [Fault; 6] = [
    Fault::Listing { at_server: false },
    Fault::Listing { at_server: true },
    Fault::Opening { at_server: false },
    Fault::Opening { at_server: true },
    Fault::Death { successor: false },
    Fault::Death { successor: true },
];

/// Promise: `--delete` never deletes on a doubt.
///
/// Fails when: a directory that could not be read counts as empty, on either side (`Omission::Unreadable`, `partial`); a listing
/// that was cut off counts as whole (`TreeListing::is_whole`); removals do not wait for what comes before them (`phases`).
#[test]
fn nothing_is_deleted_on_a_doubt() {
    if !has_strace() {
        eprintln!("torture: doubts skipped: no strace, or it may not trace");
        return;
    }
    let total = count("doubts", 6);
    let mut random = Rng::with_seed(seed() ^ 0xd0b7);
    let mut tally = Tally::new("doubts", total);
    for round in 0..total {
        let fault = FAULTS[round as usize % FAULTS.len()];
        let verb = if random.bool() { "pull" } else { "push" };
        tally.note(one(fault, verb, &mut random));
    }
    tally.end("0 files deleted that the source has");
}

fn one(fault: Fault, verb: &'static str, random: &mut Rng) -> &'static str {
    let mut lab = Lab::new();
    let (here, there) = (lab.home().join("d"), lab.root());
    let (source, target) = if verb == "pull" { (&there, &here) } else { (&here, &there) };
    // What both have, what is to be brought over, and what is to go.
    for directory in 0..DIRECTORIES {
        for file in 0..3 {
            let name = format!("{directory}/kept{file}");
            write(source, &name, &noise(seed(), 500));
            write(target, &name, &noise(seed(), 500));
        }
        write(source, &format!("{directory}/new"), &noise(seed(), 3_000));
        write(target, &format!("{directory}/extra"), b"extra");
    }
    let kept = names(source);
    let before = census(target);
    lab.start_with(&["--allow", "read,write,delete", "--drain-timeout", "100ms"]);
    let args = [verb, "d", "--delete", "--max-delete=100%", "--retry-timeout", "2s"];
    let done = match fault {
        Fault::Listing { at_server } => failing(&lab, at_server, "getdents64", random, &args),
        Fault::Opening { at_server } => failing(&lab, at_server, "openat2", random, &args),
        Fault::Death { successor } => dying(&mut lab, successor, random, &args),
    };
    let what = format!("{fault:?}, {verb}: {done:?}");
    let after = census(target);
    for name in &kept {
        assert!(!before.contains_key(name) || after.contains_key(name), "{name} is gone: {what}");
    }
    let has_all = before.keys().all(|name| after.contains_key(name));
    // A removal may be what failed, after others, but not where nothing can fail but a listing.
    let only_listings = matches!(fault, Fault::Listing { .. });
    assert!(has_all || done.code == Some(0) || !only_listings, "something was removed: {what}");
    // Left alone, the same command finishes.
    if matches!(fault, Fault::Death { .. }) {
        return if has_all { "all kept" } else { "ended before" };
    }
    lab.run(&args).ends_with(0);
    assert_eq!(contents(&census(target)), contents(&census(source)), "{what}");
    match done.code {
        Some(0) => "not met",
        _ if has_all => "all kept",
        _ => "failed while removing",
    }
}

fn failing(lab: &Lab, at_server: bool, calls: &str, random: &mut Rng, args: &[&str]) -> Done {
    let error = ["EIO", "EACCES", "EMFILE"][random.usize(0..3)];
    let nth = random.u64(1..=2 * DIRECTORIES as u64 + 2);
    if at_server {
        let mut tracer = trace_server(lab, calls, error, nth);
        let done = lab.run(args);
        tracer.stop();
        done
    } else {
        run_injected(lab, calls, &format!("error={error}:when={nth}"), args)
    }
}

fn dying(lab: &mut Lab, successor: bool, random: &mut Rng, args: &[&str]) -> Done {
    let proxy = UdpProxy::start(lab.address(), Faults::default()).unwrap();
    let mut client = lab.client(proxy.addr(), args).spawn().unwrap();
    wait_for_bytes(&proxy, 0, random.u64(1_000..12_000), &mut client);
    if successor {
        lab.crash_and_restart_with(&["--allow", "read,write,delete"]);
    } else {
        lab.server_mut().kill().unwrap();
    }
    finish(client)
}

fn write(root: &Path, name: &str, content: &[u8]) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn names(root: &Path) -> Vec<String> {
    things(root).iter().map(|path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()).collect()
}

fn contents(census: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    census.iter().map(|(name, what)| (name.as_str(), what.rsplit(' ').next().unwrap_or_default())).collect()
}
