//! What was read is kept on disk: it costs no request again, and is never a wrong byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use qfs_core::model::RemotePath;
use qfs_core::store::{BLOCK_BYTES, Store};
use qfs_store::bucket::{BucketStore, DiskCache};
use qfs_testkit::binaries::{ServerOptions, ServerProcess, client_bin, without_settings};
use qfs_testkit::s3_engine::S3Engine;
use tempfile::TempDir;

use super::conformance::open_with;
use super::programs::{noise, options};

const SIZE: usize = (5 << 20) + 77;
const BLOCKS: usize = SIZE.div_ceil(BLOCK_BYTES as usize);

struct Lab {
    engine: S3Engine,
    place: TempDir,
}

fn lab() -> Lab {
    Lab { engine: S3Engine::start(), place: tempfile::tempdir().unwrap() }
}

impl Lab {
    fn directory(&self) -> PathBuf {
        self.place.path().join("blocks")
    }

    /// A store with nothing in memory, as a server has it after a restart.
    fn store(&self) -> BucketStore {
        let cache = DiskCache { directory: self.directory(), bound: 1 << 30 };
        open_with(&self.engine, "", &self.place, Some(cache), &[])
    }

    /// Ranges that were asked for since the last call.
    fn gets(&self) -> usize {
        self.engine.seen().iter().filter(|(method, _)| method == "GET").count()
    }
}

/// Files in `directory` that have their names, once there are `count`, or more.
fn kept(directory: &Path, count: usize) -> Vec<PathBuf> {
    let begun = Instant::now();
    loop {
        let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = files.filter(|file| !file.to_string_lossy().contains("unfinished")).collect();
        if files.len() >= count {
            return files;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{} files rather than {count}", files.len());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn read(store: &BucketStore, name: &str) -> Vec<u8> {
    let object = store.object(&RemotePath::parse(name).unwrap()).unwrap();
    let (size, mut whole) = (object.meta().size, Vec::new());
    while (whole.len() as u64) < size {
        let at = whole.len() as u64;
        whole.extend_from_slice(&object.read_at(at, BLOCK_BYTES.min(size - at) as usize).unwrap());
    }
    whole
}

#[test]
fn what_was_read_once_costs_no_request_again() {
    let lab = lab();
    let content = noise(SIZE, 1);
    lab.engine.put("large", &content);
    assert!(read(&lab.store(), "large") == content);
    assert!(lab.gets() > 0);
    kept(&lab.directory(), BLOCKS);
    assert!(read(&lab.store(), "large") == content);
    assert_eq!(lab.gets(), 0);
    // Two at once, on one directory, and what is missing is all that is asked for.
    fs::remove_file(&kept(&lab.directory(), BLOCKS)[3]).unwrap();
    let (one, other) = (lab.store(), lab.store());
    std::thread::scope(|scope| {
        let readers = [&one, &other].map(|store| scope.spawn(|| read(store, "large")));
        readers.into_iter().for_each(|reader| assert!(reader.join().unwrap() == content));
    });
    assert!((1..=2).contains(&lab.gets()));
    kept(&lab.directory(), BLOCKS);
}

#[test]
fn another_version_is_read_from_the_bucket() {
    let lab = lab();
    let (old, new) = (noise(SIZE, 1), noise(SIZE, 2));
    lab.engine.put("large", &old);
    assert!(read(&lab.store(), "large") == old);
    kept(&lab.directory(), BLOCKS);
    lab.engine.put("large", &new);
    lab.gets();
    assert!(read(&lab.store(), "large") == new);
    assert!(lab.gets() > 0);
    kept(&lab.directory(), 2 * BLOCKS);
}

/// Fails when: a block is believed because of its name.
#[test]
fn damaged_and_truncated_files_are_misses() {
    let lab = lab();
    let content = noise(SIZE, 1);
    lab.engine.put("large", &content);
    assert!(read(&lab.store(), "large") == content);
    for (number, file) in kept(&lab.directory(), BLOCKS).into_iter().enumerate() {
        let mut stored = fs::read(&file).unwrap();
        match number % 4 {
            0 => stored.truncate(stored.len() / 2),
            1 => stored.clear(),
            2 => *stored.last_mut().unwrap() ^= 1,
            _ => stored[20] ^= 1,
        }
        fs::write(&file, stored).unwrap();
    }
    lab.gets();
    assert!(read(&lab.store(), "large") == content);
    assert!(lab.gets() > 0);
    kept(&lab.directory(), BLOCKS);
    assert!(read(&lab.store(), "large") == content);
    assert_eq!(lab.gets(), 0, "they were written anew");
}

/// Fails when: the sandbox lets a server keep or remove nothing there, or flag and directory do not meet.
#[test]
fn a_server_finds_again_what_it_kept_before_it_was_killed() {
    let lab = lab();
    let content = noise(SIZE, 1);
    lab.engine.put("large", &content);
    let (certs, cache) = (lab.place.path().join("certs"), lab.place.path().join("cache"));
    let start = || {
        let options = options(&lab.engine.endpoint());
        let mut args = vec!["--cache-disk=16M"];
        args.extend(options.iter().map(String::as_str));
        let root = Path::new("s3://demo");
        ServerProcess::start_with(&ServerOptions {
            certs: Some(&certs),
            cache: Some(&cache),
            args: &args,
            ..ServerOptions::new(root)
        })
    };
    let fetch = |server: &ServerProcess, name: &str| {
        let mut command = Command::new(client_bin());
        without_settings(&mut command).args(["--server", server.ticket(), "cat", name]).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{} {}", String::from_utf8_lossy(&output.stderr), server.said());
        output.stdout
    };
    let blocks = || {
        let places = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
        places.into_iter().find(|place| place.extension().is_some_and(|end| end == "blocks")).unwrap()
    };
    let mut server = start();
    assert!(fetch(&server, "large") == content);
    // The first block came with the look at the object.
    kept(&blocks(), BLOCKS - 1);
    server.kill().unwrap();
    lab.gets();
    let server = start();
    assert!(fetch(&server, "large") == content);
    let ranges = lab.engine.seen().into_iter().filter(|(method, target)| method == "GET" && target.contains("large"));
    // The object is looked at, with its first bytes perhaps; its blocks are here.
    assert!(ranges.count() <= 1);
    // More than fits: what lies there can be seen and removed.
    for number in 0..6 {
        lab.engine.put(&format!("more-{number}"), &noise(SIZE, 10 + number));
        assert_eq!(fetch(&server, &format!("more-{number}")).len(), SIZE);
    }
    let bytes = fs::read_dir(blocks()).unwrap().map(|entry| entry.unwrap().metadata().map_or(0, |meta| meta.len()));
    let bytes: u64 = bytes.sum();
    assert!((4 << 20..16 << 20).contains(&bytes), "{bytes} {}", server.said());
}
