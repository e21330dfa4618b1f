//! CLI.md: holes stay holes, on the way and on the disk; `--no-sparse`.
//!
//! What is allocated is checked where the file system of the temporary directory has holes.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use qfs_core::model::Hasher;
use qfs_testkit::udp_proxy::{Faults, UdpProxy};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Done, Lab, finish, noise, run, slow_link, wait_until};

const MIB: u64 = 1 << 20;

/// Publishes a file of `size` bytes that is nothing but a hole where it has no `data`.
fn publish(lab: &Lab, name: &str, size: u64, data: &[(u64, &[u8])]) {
    let file = File::create(lab.path().join("root").join(name)).unwrap();
    file.set_len(size).unwrap();
    for (offset, bytes) in data {
        file.write_all_at(bytes, *offset).unwrap();
    }
}

fn allocated(lab: &Lab, name: &str) -> u64 {
    std::fs::metadata(lab.home().join("client_env").join(name)).unwrap().blocks() * 512
}

/// Whether holes are not stored where the tests run.
fn has_holes(lab: &Lab) -> bool {
    let file = File::create(lab.path().join("probe")).unwrap();
    file.set_len(MIB).unwrap();
    file.write_all_at(b"x", MIB - 1).unwrap();
    file.metadata().unwrap().blocks() * 512 < MIB / 2
}

fn bytes_of(done: &Done) -> u64 {
    done.json()["bytes"].as_u64().unwrap()
}

/// Promise: 1 GiB of holes costs less than 1 MiB on the way and on the disk.
///
/// Fails when: the client does not ask for holes, the server does not look for them or sends them all the same, or what they read as
/// is written.
#[test]
fn a_hole_of_a_gibibyte_is_neither_sent_nor_stored() {
    let lab = Lab::new(&[]);
    publish(&lab, "hole", 1024 * MIB, &[]);
    let before = lab.server().address();
    let proxy = UdpProxy::start(before, Faults::default()).unwrap();
    let mut command = lab.bare();
    command.env("QFS_PORT", proxy.addr().port().to_string()).args(["get", "hole", "--json"]);
    let done = run(&mut command).ends_with(0);
    let mut hasher = Hasher::new();
    hasher.update_zeros(1024 * MIB);
    let digest = hasher.finish().to_string();
    let value = done.json();
    assert_eq!(
        (&value["files"][0]["sha256"], &value["files"][0]["size"]),
        (&digest.as_str().into(), &(1024 * MIB).into())
    );
    let passed = proxy.stats().to_client.forwarded_bytes + proxy.stats().to_server.forwarded_bytes;
    assert!(bytes_of(&done) == 0 && passed < MIB, "{passed} bytes on the wire: {done:?}");
    let saved = File::open(lab.home().join("client_env/hole")).unwrap();
    assert_eq!(saved.metadata().unwrap().len(), 1024 * MIB);
    if has_holes(&lab) {
        assert!(allocated(&lab, "hole") < MIB, "{} bytes allocated", allocated(&lab, "hole"));
    }
    // The line is what sha256sum prints, now and for a file that is there.
    let again = lab.run(["get", "hole"]).ends_with(0);
    assert_eq!(again.out, format!("{digest}  hole\n"), "{again:?}");
}

/// Where there is data in a file, and what.
type Data = Vec<(u64, Vec<u8>)>;

/// Size of the file that has data and holes.
const MIXED: u64 = 48 * MIB;

/// Data and holes of lengths that fit nothing, a third of it data; and the content they make.
fn mixed() -> (Data, Vec<u8>) {
    let (size, mut offset, mut data) = (MIXED, 1000, Vec::new());
    let noise = noise(20 << 20);
    let (mut taken, mut length) = (0, 300_001);
    while offset + length as u64 + 3 * MIB < size {
        data.push((offset, noise[taken..taken + length].to_vec()));
        taken += length;
        offset += length as u64 + 70_000 + 2 * (length as u64 % (MIB / 2));
        length = 50_003 + (length * 7) % 900_000;
        if taken + length > noise.len() {
            break;
        }
    }
    let mut content = vec![0; usize::try_from(size).unwrap()];
    for (offset, bytes) in &data {
        let start = usize::try_from(*offset).unwrap();
        content[start..start + bytes.len()].copy_from_slice(bytes);
    }
    (data, content)
}

fn publish_mixed(lab: &Lab) -> (Vec<u8>, u64) {
    let (data, content) = mixed();
    let borrowed: Vec<_> = data.iter().map(|(offset, bytes)| (*offset, &bytes[..])).collect();
    publish(lab, "mixed", MIXED, &borrowed);
    (content, data.iter().map(|(_, bytes)| bytes.len() as u64).sum())
}

/// Fails when: a body without its holes is put together wrongly, over one connection or in stripes; what is not asked for is left
/// out; or `--no-sparse` stores holes, or does not.
#[test]
fn data_and_holes_arrive_in_their_places() {
    let lab = Lab::new(&[]);
    let (content, data) = publish_mixed(&lab);
    // Files that go the short ways: in one piece, and many to a stream.
    publish(&lab, "small", 400_000, &[(100_000, b"some data")]);
    publish(&lab, "smaller", 200_000, &[(0, b"some data")]);
    let has_holes = has_holes(&lab);
    for (args, is_sparse) in [
        (&[][..], true),
        (&["--connections=3"], true),
        (&["--no-sparse"], false),
        (&["--no-sparse", "--connections=3"], false),
    ] {
        let done = lab.run(["get", "--all", "--json"].iter().chain(args)).ends_with(0);
        assert!(lab.saved("mixed") == content, "{args:?}");
        assert!(
            lab.saved("small").iter().filter(|byte| **byte != 0).count() == 9 && lab.saved("small").len() == 400_000
        );
        assert!(&lab.saved("smaller")[..9] == b"some data" && lab.saved("smaller").len() == 200_000);
        let sent = bytes_of(&done);
        let stored = allocated(&lab, "mixed");
        if is_sparse && has_holes {
            // Holes that are smaller than 64 KiB are sent, and files up to 256 KiB are sent whole.
            assert!(sent < data + 3 * MIB && stored < data + 4 * MIB, "{args:?}: {sent} sent, {stored} stored");
            assert!(allocated(&lab, "small") < 200_000 && allocated(&lab, "smaller") < 100_000, "{args:?}");
        } else if !is_sparse {
            assert!(sent > 48 * MIB && stored >= 48 * MIB, "{args:?}: {sent} sent, {stored} stored");
        }
        std::fs::remove_dir_all(lab.home().join("client_env")).unwrap();
    }
    let mut command = lab.bare();
    command.env("QFS_NO_SPARSE", "1").env("QFS_PORT", lab.server().address().port().to_string());
    assert!(bytes_of(&run(command.args(["get", "mixed", "--json"])).ends_with(0)) == 48 * MIB);
}

/// Fails when: a resumed download takes stale bytes for a hole, counts holes as bytes that are missing, or asks again for what it has.
#[test]
fn a_download_with_holes_is_continued() {
    let lab = Lab::new(&[]);
    let (content, data) = publish_mixed(&lab);
    let proxy = slow_link(lab.server().address());
    for (connections, signal) in
        [("--connections=1", Signal::INT), ("--connections=3", Signal::INT), ("--connections=3", Signal::KILL)]
    {
        let before = proxy.stats().to_client.forwarded_bytes;
        let child = lab.through(proxy.addr().port(), &["get", "mixed", connections]).spawn().unwrap();
        // A killed client has what it recorded, every 8 MiB of the file.
        wait_until("a part of the file", || proxy.stats().to_client.forwarded_bytes - before > data * 3 / 4);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let done = finish(child);
        assert!(!lab.home().join("client_env/mixed").exists(), "{done:?}");
        let done = run(&mut lab.through(proxy.addr().port(), &["get", "mixed", "--json", connections])).ends_with(0);
        assert!(lab.saved("mixed") == content, "{connections} {signal:?}");
        assert!(bytes_of(&done) < data, "{connections} {signal:?}: {done:?}");
        if signal == Signal::INT && connections == "--connections=1" {
            assert_eq!(done.json()["files"][0]["status"], "resumed", "{done:?}");
        }
        std::fs::remove_dir_all(lab.home().join("client_env")).unwrap();
    }
}

/// Fails when: a stripe that lost its connection asks for its first gap only, or for holes for ever.
#[test]
fn a_connection_lost_among_holes_is_made_anew() {
    let mut lab = Lab::new(&[]);
    let (content, data) = publish_mixed(&lab);
    let address = lab.server().address();
    let proxy = slow_link(address);
    let child = lab
        .through(proxy.addr().port(), &["get", "mixed", "--json", "--connections=3", "--retry-timeout=30s"])
        .spawn()
        .unwrap();
    wait_until("a part of the file", || proxy.stats().to_client.forwarded_bytes > data / 2);
    lab.stop_server();
    lab.start_server("127.0.0.1", address.port());
    let done = finish(child).ends_with(0);
    assert!(lab.saved("mixed") == content, "{done:?}");
    assert!(bytes_of(&done) < data + 4 * MIB, "{done:?}");
}

/// A server that is written to, and what it has of `name`.
fn writable() -> Lab {
    let mut lab = Lab::without_server(&[]);
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write"]);
    lab
}

fn root(lab: &Lab) -> std::path::PathBuf {
    lab.path().join("root")
}

/// Promise: what holes are here is neither sent nor stored there, by `put` and by `push`.
///
/// Fails when: the client does not look for holes or sends them all the same, the server stores them, what arrives is put together wrongly,
/// or `--no-sparse` leaves something out.
#[test]
fn holes_of_what_is_uploaded_are_neither_sent_nor_stored() {
    let (data, content) = mixed();
    let sum: u64 = data.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    for (command, args) in [
        (&["put", "f", "--as", "d/f"][..], &[][..]),
        (&["put", "f", "--as", "d/f"], &["--hash", "blake3"]),
        (&["put", "f", "--as", "d/f"], &["--no-sparse"]),
        (&["push", ".", "d"], &[]),
        (&["push", ".", "d"], &["--no-sparse"]),
    ] {
        let lab = writable();
        let file = File::create(lab.home().join("f")).unwrap();
        file.set_len(MIXED).unwrap();
        data.iter().for_each(|(offset, bytes)| file.write_all_at(bytes, *offset).unwrap());
        let done = lab.run(command.iter().chain(args).chain(&["--json"])).ends_with(0);
        let there = root(&lab).join("d/f");
        assert!(std::fs::read(&there).unwrap() == content, "{command:?} {args:?}");
        let (sent, stored) = (bytes_of(&done), std::fs::metadata(&there).unwrap().blocks() * 512);
        if args.contains(&"--no-sparse") {
            assert!(sent >= MIXED, "{command:?} {args:?}: {sent} sent");
        } else if has_holes(&lab) {
            assert!(sent < sum + 3 * MIB && stored < sum + 4 * MIB, "{command:?}: {sent} sent, {stored} stored");
        }
        let again = lab.run(command.iter().chain(args).chain(&["--json", "--checksum"])).ends_with(0);
        assert_eq!(bytes_of(&again), 0, "{again:?}");
        // What is copied from the version there, what is a hole, and the rest, together.
        file.write_all_at(&noise(70_000), 3 * MIB).unwrap();
        let changed = lab.run(command.iter().chain(args).chain(&["--json", "--overwrite"])).ends_with(0);
        assert!(std::fs::read(&there).unwrap() == std::fs::read(lab.home().join("f")).unwrap(), "{command:?} {args:?}");
        assert!(bytes_of(&changed) < 4 * MIB, "{command:?} {args:?}: {changed:?}");
    }
}

/// Fails when: a file that is nearly all hole takes the room of its zeros on the server, or is refused for want of that.
#[test]
fn a_file_needs_the_room_of_its_data_there() {
    let mut lab = Lab::without_server(&[]);
    let size = 2 * 1024 * MIB;
    let disk = rustix::fs::statvfs(lab.path()).unwrap();
    // Half of the file would be too much; other tests may fill some of it meanwhile.
    let keep = (disk.f_bavail * disk.f_frsize).saturating_sub(size / 2).to_string();
    lab.start_server_with("127.0.0.1", 0, &["--allow", "read,write", "--keep-free", &keep]);
    let file = File::create(lab.home().join("hole")).unwrap();
    file.set_len(size).unwrap();
    file.write_all_at(b"some data", size / 2).unwrap();
    if !has_holes(&lab) {
        return;
    }
    let mut hasher = Hasher::new();
    hasher.update_zeros(size / 2);
    hasher.update(b"some data");
    hasher.update_zeros(size - size / 2 - 9);
    let full = lab.run(["put", "hole", "--no-sparse"]).ends_with(5);
    assert!(full.err.contains("too full"), "{full:?}");
    let done = lab.run(["put", "hole"]).ends_with(0);
    assert_eq!(done.out, format!("{}  hole\n", hasher.finish()));
    let there = std::fs::metadata(root(&lab).join("hole")).unwrap();
    assert!(there.len() == size && there.blocks() * 512 < MIB, "{}", there.blocks() * 512);
}

/// Fails when: an upload whose client is killed among holes goes on wrongly, or begins anew.
#[test]
fn an_upload_with_holes_is_continued() {
    let lab = writable();
    let (data, content) = mixed();
    let file = File::create(lab.home().join("f")).unwrap();
    file.set_len(MIXED).unwrap();
    data.iter().for_each(|(offset, bytes)| file.write_all_at(bytes, *offset).unwrap());
    let sum: u64 = data.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let proxy = slow_link(lab.server().address());
    let child = lab.through(proxy.addr().port(), &["put", "f"]).spawn().unwrap();
    wait_until("a part of the file", || proxy.stats().to_server.forwarded_bytes > sum * 3 / 4);
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    finish(child);
    assert!(!root(&lab).join("f").exists());
    let done = run(&mut lab.through(proxy.addr().port(), &["put", "f", "--json"])).ends_with(0);
    assert!(std::fs::read(root(&lab).join("f")).unwrap() == content);
    assert!(bytes_of(&done) <= sum + 3 * MIB, "{done:?}");
}
