//! CLI.md: `put --overwrite` sends what changed alone.

use std::process::Stdio;

use bytes::Bytes;
use qfs_core::chunks::{Chunker, Grain};
use qfs_core::model::Digest;
use qfs_core::wire::{Request, StatusCode, encode, frame};
use qfs_testkit::hostile_server::{HostileServer, Step};
use qfs_testkit::udp_proxy::{Faults, UdpProxy};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Done, Lab, finish, noise, run, slow_link, wait_until};

const MIB: usize = 1 << 20;

fn lab() -> Lab {
    let mut lab = Lab::without_server(&[]);
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write"]);
    lab
}

fn published(lab: &Lab) -> Vec<u8> {
    std::fs::read(lab.path().join("root/f")).unwrap()
}

/// Publishes `old` as of another time, and has `new` here.
fn prepare(lab: &Lab, old: &[u8], new: &[u8]) {
    lab.publish("f", old);
    let file = std::fs::File::options().write(true).open(lab.path().join("root/f")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    std::fs::write(lab.home().join("f"), new).unwrap();
}

fn put(lab: &Lab, args: &[&str]) -> (Done, u64) {
    let proxy = UdpProxy::start(lab.server().address(), Faults::default()).unwrap();
    // The proxy knows UDP alone.
    let port = if args.contains(&"--transport=tcp") { lab.server().address().port() } else { proxy.addr().port() };
    let mut command = lab.bare();
    command.env("QFS_PORT", port.to_string()).args(["put", "f", "--json"]).args(args);
    let done = run(&mut command);
    (done, proxy.stats().to_client.forwarded_bytes + proxy.stats().to_server.forwarded_bytes)
}

fn file(done: &Done) -> serde_json::Value {
    done.json()["files"][0].clone()
}

/// Fails when: all of a file is sent though the server has most of it; what it has is put in the wrong place; or `--whole` is not.
#[test]
fn only_what_changed_is_sent() {
    let lab = lab();
    let old = noise(24 * MIB);
    let fresh: Vec<u8> = noise(MIB).iter().map(|byte| !byte).collect();
    let inserted = [&fresh[..1000], &old[..]].concat();
    let moved = [&old[10 * MIB..20 * MIB], &fresh[..50_000], &old[..10 * MIB], &old[20 * MIB..]].concat();
    let shorter = [&old[..5 * MIB], &fresh[..7], &old[9 * MIB..]].concat();
    for (what, new) in [("inserted", &inserted), ("moved", &moved), ("shorter", &shorter)] {
        for args in [&["--overwrite"][..], &["--if-unchanged"], &["--overwrite", "--transport=tcp"]] {
            prepare(&lab, &old, new);
            let (done, bytes) = put(&lab, args);
            let done = done.ends_with(0);
            assert!(published(&lab) == *new, "{what}");
            assert_eq!(
                (&file(&done)["status"], &file(&done)["sha256"]),
                (&"uploaded".into(), &Digest::of(new).to_string().into())
            );
            assert!(file(&done)["reused"].as_u64().unwrap() as usize > new.len() * 98 / 100, "{what}: {done:?}");
            assert!(bytes < new.len() as u64 / 50, "{what}: {bytes} bytes: {done:?}");
        }
    }
    prepare(&lab, &old, &inserted);
    let (done, bytes) = put(&lab, &["--overwrite", "--whole"]);
    assert!(file(&done.ends_with(0))["reused"].is_null() && bytes > inserted.len() as u64);
    assert!(published(&lab) == inserted);
    // Nothing is replaced that was not to be, and something that has nothing in common is sent.
    prepare(&lab, &old, &inserted);
    put(&lab, &[]).0.ends_with(7);
    assert!(published(&lab) == old);
    let other: Vec<u8> = old.iter().map(|byte| byte ^ 0x55).collect();
    prepare(&lab, &old, &other);
    let (done, bytes) = put(&lab, &["--overwrite"]);
    assert!(file(&done.ends_with(0))["reused"].is_null() && published(&lab) == other);
    assert!((bytes as f64) < other.len() as f64 * 1.07, "{bytes} bytes, headers and handshake among them");
    prepare(&lab, &old, &inserted);
    let done = run(&mut lab.client(["put", "f", "--overwrite"])).ends_with(0);
    assert!(done.err.contains(" of f were there, ") && done.err.contains(" reused, "), "{done:?}");
}

/// Fails when: an upload that was cut off is put together wrongly, or begun anew.
#[test]
fn an_upload_of_what_changed_is_continued() {
    let lab = lab();
    let old = noise(30 * MIB);
    let fresh: Vec<u8> = noise(12 * MIB).iter().map(|byte| !byte).collect();
    let new = [&old[..10 * MIB], &fresh, &old[12 * MIB..]].concat();
    let proxy = slow_link(lab.server().address());
    let through = || {
        let mut command = lab.bare();
        command.env("QFS_PORT", proxy.addr().port().to_string()).args(["put", "f", "--overwrite", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    prepare(&lab, &old, &new);
    let child = through().spawn().unwrap();
    wait_until("most of it", || proxy.stats().to_server.forwarded_bytes > 10 * MIB as u64);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    finish(child);
    assert!(published(&lab) == old);
    let names = std::fs::read_dir(lab.path().join("root")).unwrap().map(|entry| entry.unwrap().path());
    let held = names.into_iter().find(|path| path.extension().is_some_and(|end| end == "qfs-part")).unwrap();
    wait_until("the server lets go of what it has", || {
        let part = std::fs::File::open(&held).unwrap();
        rustix::fs::flock(&part, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
    });
    let done = run(&mut through()).ends_with(0);
    assert!(published(&lab) == new);
    assert_eq!(file(&done)["status"], "resumed", "{done:?}");
    assert!(done.json()["bytes"].as_u64().unwrap() < 11 * MIB as u64, "{done:?}");
}

/// A server of before maps, one that has none, and one that knows maps and no base: the file is sent whole. What a map that lies makes
/// is refused, and then the file is sent whole.
///
/// Fails when: parts are sent to a server that has not said that it takes them; a lie about what it has is an end.
#[test]
fn servers_without_maps_and_maps_that_lie() {
    let old = noise(2 * MIB);
    let new = [b"new", &old[..]].concat();
    let map = |content: &[u8]| {
        let mut chunker = Chunker::new(Grain::for_size(content.len() as u64).unwrap());
        chunker.push(content);
        chunker.finish(Digest::of(content)).unwrap().encode()
    };
    let refusal = |code| vec![Step::Send(encode(&qfs_core::wire::RemoteError::new(code, "")).unwrap()), Step::Finish];
    for (what, map_answer, has_base) in [
        ("no maps", None, false),
        ("no base", Some(map(&old)), false),
        // It says that it has the new version, and puts something together that is none.
        ("a lie", Some(map(&new)[..].to_vec()), true),
    ] {
        let lab = Lab::without_server(&[]);
        std::fs::write(lab.home().join("f"), &new).unwrap();
        let (size, length) = (old.len(), new.len());
        let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let log = std::sync::Arc::clone(&asked);
        let server = HostileServer::start(move |request| match request {
            Request::Download(_) => {
                let head = format!(r#"{{"code":0,"size":{size},"modified":"2026-11-23T08:09:24Z","etag":"v","range":{{"start":0,"end":0}}}}"#);
                let trailer = encode(&qfs_core::wire::Trailer::new(Digest::of(b"old"))).unwrap();
                vec![Step::Send(frame(head.as_bytes()).unwrap()), Step::Send(trailer), Step::Finish]
            }
            Request::ChunkMap(_) => match &map_answer {
                None => refusal(StatusCode::UNKNOWN_COMMAND),
                Some(map) => {
                    let size = if has_base { length } else { size };
                    let head = format!(r#"{{"code":0,"size":{size},"etag":"v","length":{}}}"#, map.len());
                    let map = Bytes::copy_from_slice(map);
                    vec![Step::Send(frame(head.as_bytes()).unwrap()), Step::Send(map), Step::Finish]
                }
            },
            Request::Upload(upload) => {
                log.lock().unwrap().push(upload.base.is_some());
                if upload.base.is_some() && has_base {
                    let head = Step::Send(frame(br#"{"code":0,"base":true}"#).unwrap());
                    return [vec![head], refusal(StatusCode::DIGEST_MISMATCH)].concat();
                }
                // It would have to read the body to agree to it.
                refusal(StatusCode::NO_SPACE)
            }
            _ => refusal(StatusCode::UNKNOWN_COMMAND),
        })
        .unwrap();
        let mut command = lab.bare();
        command.env("QFS_PORT", server.address().port().to_string()).args(["put", "f", "--overwrite", "--json"]);
        let done = run(&mut command);
        assert!(file(&done)["error"]["code"] == "no_space" && file(&done)["reused"].is_null(), "{what}: {done:?}");
        let bases = asked.lock().unwrap().clone();
        let expected: &[bool] = match what {
            "no maps" => &[false],
            "no base" => &[true],
            _ => &[true, false],
        };
        assert_eq!(bases, expected, "{what}");
    }
}
