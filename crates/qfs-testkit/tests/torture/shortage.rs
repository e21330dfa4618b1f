//! A server without a free file descriptor.

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::lab::{Lab, finish, noise, wait_until};
use crate::tally::{Tally, count, seed};

/// Lets the server have descriptors below `most` only.
fn limit_descriptors(lab: &Lab, most: u64) {
    let pid = Pid::from_raw(i32::try_from(lab.server().id()).unwrap()).unwrap();
    // The hard limit stays, so that the soft one can be raised again.
    let maximum = prlimit_of(lab).1;
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(most), maximum }).unwrap();
}

/// Soft and hard limit of descriptors that the server has.
fn prlimit_of(lab: &Lab) -> (Option<u64>, Option<u64>) {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", lab.server().id())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut values = line.split_whitespace().map(|value| value.parse().ok());
    (values.next().unwrap(), values.next().unwrap())
}

/// The lowest descriptor that the server does not have open: the next one it would get.
fn next_descriptor(lab: &Lab) -> u64 {
    let open = |n: &u64| std::fs::read_link(format!("/proc/{}/fd/{n}", lab.server().id())).is_ok();
    (0..).find(|n| !open(n)).unwrap()
}

/// Promise: a server out of descriptors answers `busy`; the client asks again, and has everything once there are some.
///
/// Fails when: EMFILE is not `Busy` (`shortage`): the first refusal is final then; `busy` is not retried (`Tries`).
#[test]
fn a_server_out_of_descriptors_is_busy_and_asked_again() {
    let total = count("shortages", 2);
    let audit = tempfile::NamedTempFile::new().unwrap();
    let files: Vec<_> = (0..6).map(|n| (format!("f{n}"), noise(seed() ^ (30 + n), 400_000 * n as usize))).collect();
    let mut lab = Lab::new();
    for (name, content) in &files {
        lab.publish(name, content);
    }
    lab.start_with(&["--audit-log", audit.path().to_str().unwrap()]);
    let usual = prlimit_of(&lab).0.unwrap();
    let refusals = || std::fs::read_to_string(audit.path()).unwrap().matches("busy").count();
    let mut tally = Tally::new("shortages", total);
    for _ in 0..total {
        lab.clear();
        // The client is connected and known by now, so that nothing else needs a descriptor.
        lab.run(&["list"]).ends_with(0);
        let before = refusals();
        limit_descriptors(&lab, next_descriptor(&lab));
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        let child = lab.client(lab.address(), &[&["get", "--json"][..], &names].concat()).spawn().unwrap();
        wait_until("a refusal", || refusals() > before);
        limit_descriptors(&lab, usual);
        finish(child).ends_with(0);
        for (name, content) in &files {
            assert!(lab.saved_file(name).as_ref() == Some(content), "{name}");
        }
        tally.note("busy, asked again, whole");
    }
    // Where nothing changes, the client says what it was told and ends.
    lab.clear();
    limit_descriptors(&lab, next_descriptor(&lab));
    let done = lab.run(&["get", "f1", "--json"]).ends_with(5);
    assert_eq!(done.json()["files"][0]["error"]["code"], "busy", "{done:?}");
    limit_descriptors(&lab, usual);
    lab.run(&["get", "f1"]).ends_with(0);
    tally.end("for good: exit 5, busy");
}
