//! CLI.md: what changed alone is fetched; `--seed`, `--whole`, and what the report says of it.

use std::process::Stdio;

use qfs_core::chunks::MAX_MAP_BYTES;
use qfs_core::model::{Digest, HashKind};
use qfs_core::wire::{Request, StatusCode, encode};
use qfs_testkit::hostile_server::{HostileServer, Step};
use qfs_testkit::udp_proxy::{Faults, UdpProxy};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Done, Lab, finish, noise, run, slow_link, sums, wait_until};

const MIB: usize = 1 << 20;

/// Other noise than [`noise`] makes.
fn other_noise(length: usize) -> Vec<u8> {
    noise(length + 1000).split_off(1000).iter().map(|byte| byte ^ 0x5a).collect()
}

/// `content` as of another time than whatever was saved just now, so that sizes and times do not agree by chance.
fn older(lab: &Lab, name: &str, content: &[u8]) {
    lab.put(name, content);
    let file = std::fs::File::options().write(true).open(lab.home().join("client_env").join(name)).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
}

/// What a run of `get f` with `args` came to, and how many bytes passed in both directions, headers and handshake included.
fn fetch(lab: &Lab, args: &[&str]) -> (Done, u64) {
    let proxy = UdpProxy::start(lab.server().address(), Faults::default()).unwrap();
    let mut command = lab.bare();
    command.env("QFS_PORT", proxy.addr().port().to_string()).args(["get", "--json"]).args(args);
    let done = run(&mut command);
    (done, proxy.stats().to_client.forwarded_bytes + proxy.stats().to_server.forwarded_bytes)
}

fn file(done: &Done) -> serde_json::Value {
    done.json()["files"][0].clone()
}

fn reused(done: &Done) -> u64 {
    file(done)["reused"].as_u64().unwrap_or_default()
}

/// `content` with about one percent of it changed in 100 places.
fn with_places_changed(content: &[u8]) -> Vec<u8> {
    let mut changed = content.to_vec();
    let (step, length) = (content.len() / 100, content.len() / 10_000);
    for place in 0..100 {
        let start = place * step + (place * 7919) % (step - length);
        changed[start..start + length].iter_mut().for_each(|byte| *byte = !*byte);
    }
    changed
}

/// Promise: 1000 bytes inserted at the front cost 1 %, one percent changed in 100 places 3 %.
///
/// Fails when: chunks are cut at fixed offsets, all of a block is sent for a part of it, or the older version is not looked at.
#[test]
fn only_what_changed_is_moved() {
    let lab = Lab::new(&[]);
    let old = noise(64 * MIB);
    let inserted = [&other_noise(1000), &old[..]].concat();
    let moved = [&old[20 * MIB..30 * MIB], &old[..20 * MIB], &old[30 * MIB..]].concat();
    let appended = [&old[..], &other_noise(5000)].concat();
    for (what, new, percent) in [
        ("inserted", &inserted, 1.0),
        ("moved", &moved, 1.0),
        ("appended", &appended, 1.0),
        ("cut off", &old[..60 * MIB].to_vec(), 1.0),
        ("changed", &with_places_changed(&old), 3.0),
    ] {
        lab.publish("f", new);
        older(&lab, "f", &old);
        let (done, bytes) = fetch(&lab, &["f", "--overwrite"]);
        let done = done.ends_with(0);
        assert!(lab.saved("f") == *new, "{what}");
        let share = bytes as f64 / new.len() as f64 * 100.0;
        assert!(share < percent, "{what}: {share:.2} % of it were moved: {done:?}");
        let (file, received) = (file(&done), done.json()["bytes"].as_u64().unwrap());
        assert_eq!(file["status"], "downloaded");
        assert!(reused(&done) as f64 > new.len() as f64 * 0.97, "{what}: {file}");
        assert!(received + reused(&done) >= new.len() as u64 && received < bytes, "{what}: {file}");
        assert_eq!(done.json()["reused"], file["reused"]);
    }
}

/// Promise: a file that has nothing in common with what is here costs 2 % more at most.
///
/// Fails when: the map is larger than it should be, or what is asked for in vain is asked for twice.
#[test]
fn nothing_in_common_costs_next_to_nothing() {
    let lab = Lab::new(&[]);
    let new = noise(12 * MIB);
    lab.publish("f", &new);
    let mut passed = Vec::new();
    for args in [&["f", "--overwrite"][..], &["f", "--overwrite", "--whole"]] {
        older(&lab, "f", &other_noise(12 * MIB));
        let (done, bytes) = fetch(&lab, args);
        assert_eq!(reused(&done.ends_with(0)), 0);
        assert!(lab.saved("f") == new);
        passed.push(bytes as f64);
    }
    assert!(passed[0] < passed[1] * 1.02, "{passed:?}");
}

/// Fails when: `--whole` asks for a map, or copies; a small file is put together; a report is not what is promised.
#[test]
fn the_report_says_what_was_reused_and_whole_is_whole() {
    let lab = Lab::new(&[]);
    let old = noise(3 * MIB);
    let new = [b"changed", &old[..]].concat();
    lab.publish("f", &new);
    lab.publish("small", &new[..MIB]);
    older(&lab, "f", &old);
    older(&lab, "small", &old[..MIB]);
    let done = lab.run(["get", "f", "small", "--overwrite"]).ends_with(0);
    assert_eq!(done.out, sums(&[("f", &new), ("small", &new[..MIB])]));
    let line = done.err.lines().find(|line| line.starts_with("reused: ")).unwrap_or_else(|| panic!("{done:?}"));
    assert!(line.contains(" of f were here, ") && line.ends_with(" were received"), "{line}");
    let total = done.err.lines().find(|line| line.starts_with("total ")).unwrap();
    assert!(total.contains(" reused, ") && !done.err.contains("of small were here"), "{done:?}");
    older(&lab, "f", &old);
    let whole = lab.run(["get", "f", "--overwrite", "--whole", "--json"]).ends_with(0);
    assert_eq!((reused(&whole), whole.json()["bytes"].as_u64()), (0, Some(new.len() as u64)));
    assert!(lab.saved("f") == new);
    // Nothing is replaced that was not to be.
    older(&lab, "f", &old);
    let refused = lab.run(["get", "f"]).ends_with(7);
    assert!(lab.saved("f") == old, "{refused:?}");
}

/// Fails when: a seed is not found, not read, or read as something else; or one that is not there passes unnoticed.
#[test]
fn seeds_are_files_and_directories() {
    let lab = Lab::new(&[]);
    let parts: Vec<_> = (0..4u8).map(|n| noise(4 * MIB)[n as usize * MIB..][..MIB].to_vec()).collect();
    let new = parts.concat();
    lab.publish("f", &new);
    let place = lab.home().join("seeds");
    std::fs::create_dir_all(place.join("deep")).unwrap();
    std::fs::write(place.join("a"), &parts[3]).unwrap();
    std::fs::write(place.join("deep/.b"), &parts[1]).unwrap();
    std::fs::write(lab.home().join("alone"), [&parts[0][1000..], &parts[2]].concat()).unwrap();
    std::os::unix::fs::symlink("alone", lab.home().join("link")).unwrap();
    for (args, least) in [
        (&["--seed", "alone"][..], 19),
        (&["--seed", "link"], 19),
        (&["--seed", "seeds"], 19),
        (&["--seed", "seeds/deep/.b"], 9),
        (&["--seed", "seeds", "--seed", "alone"], 39),
        (&["--seed", "alone", "--parallel", "--connections=3"], 19),
    ] {
        let done = lab.run(["get", "f", "--json"].iter().chain(args)).ends_with(0);
        assert!(lab.saved("f") == new, "{args:?}");
        assert!(reused(&done) as usize > least * MIB / 10, "{args:?}: {done:?}");
        std::fs::remove_file(lab.home().join("client_env/f")).unwrap();
    }
    let mut variable = lab.client(["get", "f", "--json"]);
    assert!(reused(&run(variable.env("QFS_SEED", "alone")).ends_with(0)) as usize > MIB);
    lab.run(["get", "f", "--seed", "nothing"]).ends_with(7).complains("cannot use nothing as a seed", "that are there");
    lab.run(["get", "f", "--seed", "alone", "--whole"]).ends_with(2).complains("--whole", "");
    // What has nothing in common does no harm, and neither does a seed that is empty, nor a name that is a directory there.
    std::fs::write(lab.home().join("empty"), b"").unwrap();
    std::fs::remove_file(lab.home().join("client_env/f")).unwrap();
    lab.publish("dir/g", &new);
    let done = lab.run(["get", "f", "dir", "nope", "--seed", "empty", "--seed", "alone"]).ends_with(5);
    assert!(lab.saved("f") == new && lab.saved("dir/g") == new, "{done:?}");
}

/// Fails when: bytes of a seed count although they are not what the map says, or a file is wrong because a seed changed meanwhile.
#[test]
fn seeds_that_are_wrong_or_change_do_no_harm() {
    let lab = Lab::new(&[]);
    let new = noise(6 * MIB);
    lab.publish("f", &new);
    let mut flipped = new.clone();
    for at in [0, 5000, 3 * MIB, 6 * MIB - 1] {
        flipped[at] ^= 1;
    }
    let seed = lab.home().join("seed");
    std::fs::write(&seed, &flipped).unwrap();
    let done = lab.run(["get", "f", "--json", "--seed", "seed"]).ends_with(0);
    assert!(lab.saved("f") == new && reused(&done) as usize > 5 * MIB, "{done:?}");
    // One that is written to all the time, sizes and all.
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::os::unix::fs::FileExt as _;
            let file = std::fs::File::options().write(true).open(&seed).unwrap();
            for turn in 0u64.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                let at = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (6 * MIB as u64);
                file.write_all_at(&[turn as u8; 7], at).unwrap();
                if turn % 100 == 0 {
                    file.set_len(at).unwrap();
                    file.write_all_at(&new, 0).unwrap();
                }
            }
        });
        for _ in 0..5 {
            std::fs::remove_file(lab.home().join("client_env/f")).unwrap();
            let done = lab.run(["get", "f", "--json", "--seed", "seed"]).ends_with(0);
            assert!(lab.saved("f") == new, "{done:?}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// Fails when: a killed client begins anew, or what it left is taken for what it is not.
#[test]
fn a_killed_client_goes_on_where_it_was() {
    let lab = Lab::new(&[]);
    let old = noise(30 * MIB);
    // From 10 MiB on nothing is as it was, and the end is: what is left to do is known only with the older version.
    let new = [&old[..10 * MIB], &other_noise(12 * MIB), &old[22 * MIB..]].concat();
    lab.publish("f", &new);
    let proxy = slow_link(lab.server().address());
    let through = |args: &[&str]| {
        let mut command = lab.bare();
        command.env("QFS_PORT", proxy.addr().port().to_string()).args(["get", "f", "--overwrite", "--json"]).args(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    for signal in [Signal::INT, Signal::KILL] {
        older(&lab, "f", &old);
        let before = proxy.stats().to_client.forwarded_bytes;
        let child = through(&[]).spawn().unwrap();
        wait_until("most of it", || proxy.stats().to_client.forwarded_bytes - before > 10 * MIB as u64);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let killed = finish(child);
        assert!(lab.saved("f") == old, "{killed:?}");
        let done = run(&mut through(&[])).ends_with(0);
        assert!(lab.saved("f") == new, "{done:?}");
        assert_eq!(file(&done)["status"], "resumed", "{done:?}");
        // The frontier is recorded every 8 MiB.
        assert!(done.json()["bytes"].as_u64().unwrap() < 11 * MIB as u64, "{signal:?}: {done:?}");
        assert!(reused(&done) > 7 * MIB as u64 && reused(&done) < 21 * MIB as u64, "{signal:?}: {done:?}");
        std::fs::remove_file(lab.home().join("client_env/f")).unwrap();
    }
}

/// Fails when: `--hash blake3` fetches all of it, or is given a digest of the other kind; what was begun with one kind is of no use
/// with the other.
#[test]
fn any_kind_of_digest_will_do() {
    let lab = Lab::new(&[]);
    let old = noise(24 * MIB);
    let new = [&other_noise(1000), &old[..]].concat();
    lab.publish("f", &new);
    for seed in [&["f", "--overwrite"][..], &["f", "--seed", "seed"]] {
        match seed {
            [.., "--overwrite"] => older(&lab, "f", &old),
            _ => std::fs::write(lab.home().join("seed"), &old).unwrap(),
        }
        let (done, moved) = fetch(&lab, &[seed, &["--hash", "blake3"]].concat());
        assert!(lab.saved("f") == new && moved < (new.len() / 100) as u64, "{moved}: {done:?}");
        assert_eq!(file(&done)["blake3"], Digest::of_kind(HashKind::Blake3, &new).to_string(), "{done:?}");
        std::fs::remove_file(lab.home().join("client_env/f")).unwrap();
    }
    // Nothing of it is missing here, and so only the digest is asked for.
    let (done, moved) = fetch(&lab, &["f", "--hash", "blake3", "--seed", "seed", "--save-dir", "half"]);
    assert!(moved < (new.len() / 100) as u64, "{done:?}");
    lab.publish("f", &old[..20 * MIB]);
    let (done, _) = fetch(&lab, &["f", "--hash", "blake3", "--seed", "seed", "--save-dir", "other"]);
    assert_eq!(file(&done)["blake3"], Digest::of_kind(HashKind::Blake3, &old[..20 * MIB]).to_string(), "{done:?}");
    let through = slow_link(lab.server().address());
    let fresh = [&old[..4 * MIB], &other_noise(12 * MIB), &old[4 * MIB..8 * MIB]].concat();
    lab.publish("f", &fresh);
    older(&lab, "f", &old);
    let run = |args: &[&str]| {
        let args = [&["get", "f", "--overwrite", "--json"], args].concat();
        lab.through(through.addr().port(), &args).spawn().unwrap()
    };
    let child = run(&["--hash", "blake3"]);
    wait_until("most of it", || through.stats().to_client.forwarded_bytes > 10 * MIB as u64);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    finish(child);
    let done = finish(run(&[])).ends_with(0);
    assert!(lab.saved("f") == fresh, "{done:?}");
    assert_eq!(
        (&file(&done)["status"], &file(&done)["sha256"]),
        (&"resumed".into(), &Digest::of(&fresh).to_string().into())
    );
    assert!(done.json()["bytes"].as_u64().unwrap() < 6 * MIB as u64, "{done:?}");
}

/// Fails when: what was copied is forgotten with the connection, or asked for.
#[test]
fn a_lost_connection_is_made_anew() {
    let mut lab = Lab::new(&[]);
    let old = noise(20 * MIB);
    let new = [&old[..8 * MIB], &other_noise(8 * MIB), &old[8 * MIB..]].concat();
    lab.publish("f", &new);
    older(&lab, "f", &old);
    let address = lab.server().address();
    let proxy = slow_link(address);
    let mut command = lab.bare();
    command.env("QFS_PORT", proxy.addr().port().to_string()).args(["get", "f", "--overwrite", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("a part of it", || proxy.stats().to_client.forwarded_bytes > 3 * MIB as u64);
    lab.stop_server();
    lab.start_server("127.0.0.1", address.port());
    let done = finish(child).ends_with(0);
    assert!(lab.saved("f") == new);
    assert!(done.json()["bytes"].as_u64().unwrap() < 13 * MIB as u64 && reused(&done) > 19 * MIB as u64, "{done:?}");
}

/// A server of before maps, and one that has none just now: the file is fetched whole.
///
/// Fails when: a server that does not know the command is asked again for every file, or its answer is an error.
#[test]
fn servers_without_maps_send_files_whole() {
    for code in [StatusCode::UNKNOWN_COMMAND, StatusCode::USE_DOWNLOAD, StatusCode::INTERNAL] {
        let lab = Lab::without_server(&[]);
        let new = noise(2 * MIB);
        let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let (content, log) = (new.clone(), std::sync::Arc::clone(&asked));
        let server = HostileServer::start(move |request| {
            log.lock().unwrap().push(request.command());
            match request {
                Request::Download(request) => answer(&content, request.range.and_then(|range| range.end) == Some(0)),
                _ => vec![Step::Send(encode(&qfs_core::wire::RemoteError::new(code, "")).unwrap()), Step::Finish],
            }
        })
        .unwrap();
        for name in ["f", "g"] {
            older(&lab, name, &noise(2 * MIB + 5));
        }
        let mut command = lab.bare();
        let done =
            run(command.env("QFS_PORT", server.address().port().to_string()).args(["get", "f", "g", "--overwrite"]));
        let done = done.ends_with(0);
        assert_eq!(done.out, sums(&[("f", &new), ("g", &new)]));
        assert!(lab.saved("f") == new && lab.saved("g") == new);
        let maps = asked.lock().unwrap().iter().filter(|command| **command == "chunk_map").count();
        let most = if code == StatusCode::UNKNOWN_COMMAND { 1..=2 } else { 2..=2 };
        assert!(most.contains(&maps), "{code}: {maps}");
        assert!(!asked.lock().unwrap().contains(&"download_ranges"));
    }
}

/// The answer to a download of `content`, or to a probe.
fn answer(content: &[u8], is_probe: bool) -> Vec<Step> {
    let size = content.len();
    let end = if is_probe { 0 } else { size };
    let head = format!(
        r#"{{"code":0,"size":{size},"modified":"2026-11-23T08:09:24Z","etag":"v","range":{{"start":0,"end":{end}}}}}"#
    );
    let trailer = encode(&qfs_core::wire::Trailer::new(Digest::of(content))).unwrap();
    let head = qfs_core::wire::frame(head.as_bytes()).unwrap();
    let body = bytes::Bytes::copy_from_slice(&content[..end]);
    vec![Step::Send(head), Step::Send(body), Step::Send(trailer), Step::Finish]
}

/// Fails when: the length of a map is believed before it was checked.
#[test]
fn a_map_of_any_length_is_not_waited_for() {
    let lab = Lab::without_server(&[]);
    let new = noise(2 * MIB);
    let content = new.clone();
    let server = HostileServer::start(move |request| match request {
        Request::Download(request) => answer(&content, request.range.and_then(|range| range.end) == Some(0)),
        _ => {
            let head = format!(r#"{{"code":0,"size":{},"etag":"v","length":{}}}"#, 2 * MIB, MAX_MAP_BYTES + 1);
            vec![
                Step::Send(qfs_core::wire::frame(head.as_bytes()).unwrap()),
                Step::Forever(bytes::Bytes::from(vec![1; 60_000])),
            ]
        }
    })
    .unwrap();
    older(&lab, "f", &noise(2 * MIB + 5));
    let mut command = lab.bare();
    let done = run(command.env("QFS_PORT", server.address().port().to_string()).args(["get", "f", "--overwrite"]));
    assert_eq!(done.ends_with(0).out, sums(&[("f", &new)]));
}
