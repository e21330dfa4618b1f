//! Blocks on disk are what was written, or not there, and never take more than they may.

#![allow(clippy::disallowed_methods, reason = "a test, which acts behind the cache's back")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;

struct Lab {
    place: TempDir,
    disk: Disk,
    writer: Writer,
}

fn lab(bound: u64) -> Lab {
    let place = tempfile::tempdir().unwrap();
    let disk = Disk::open(&place.path().join("blocks"), bound).unwrap();
    let writer = Writer::new(Arc::clone(&disk.directory), bound);
    Lab { place, disk, writer }
}

impl Lab {
    fn path(&self) -> PathBuf {
        self.place.path().join("blocks")
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn bytes(&self) -> u64 {
        self.files().iter().map(|file| room::occupied(fs::metadata(file).unwrap().len())).sum()
    }

    fn write(&mut self, version: &Version, index: u64, content: &[u8]) {
        self.writer.write(&version.block(index), &Bytes::copy_from_slice(content)).unwrap();
    }
}

#[test]
fn a_block_is_read_back_by_its_version_alone() {
    let mut lab = lab(1 << 30);
    let version = Version::new(7, "\"tag\"");
    lab.write(&version, 3, b"content");
    assert_eq!(lab.disk.read(&version, 3, 7).unwrap(), "content");
    assert_eq!(lab.disk.read(&version, 2, 7), None, "another block");
    assert_eq!(lab.disk.read(&Version::new(7, "\"other\""), 3, 7), None, "another ETag");
    assert_eq!(lab.disk.read(&Version::new(8, "\"tag\""), 3, 7), None, "another version");
    // Another process finds it, too, and nobody else.
    let another = Disk::open(&lab.path(), 1 << 30).unwrap();
    assert_eq!(another.read(&version, 3, 7).unwrap(), "content");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&lab.path()), mode(&lab.files()[0])), (0o700, 0o600));
    assert_eq!(lab.disk.read(&version, 3, 6), None, "of another length than the object has there");
}

#[test]
fn a_directory_that_others_may_read_is_closed() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    drop(Disk::open(place.path(), 1 << 30).unwrap());
    assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

/// Fails when: a byte of a file is not covered by what is checked.
#[test]
fn what_is_damaged_is_no_block_and_goes() {
    let mut lab = lab(1 << 30);
    let (version, other) = (Version::new(1, "a"), Version::new(2, "a"));
    lab.write(&version, 0, b"content");
    let file = lab.files().remove(0);
    let whole = fs::read(&file).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&file, &damaged).unwrap();
        assert_eq!(lab.disk.read(&version, 0, 7), None, "byte {at}");
        assert!(!file.exists(), "byte {at}");
        fs::write(&file, &whole[..at]).unwrap();
        assert_eq!(lab.disk.read(&version, 0, 7), None, "cut at {at}");
    }
    fs::write(&file, [&whole[..], b"x"].concat()).unwrap();
    assert_eq!(lab.disk.read(&version, 0, 7), None, "too long");
    // A block under the name of another is not that one.
    fs::write(lab.path().join(other.block(0)), &whole).unwrap();
    assert_eq!(lab.disk.read(&other, 0, 7), None);
    fs::write(&file, &whole).unwrap();
    assert_eq!(lab.disk.read(&version, 0, 7).unwrap(), "content");
}

#[test]
fn the_bound_is_kept_and_what_was_used_last_stays() {
    const BOUND: u64 = 64 * PAGES;
    const PAGES: u64 = 8 * 4096;
    let mut lab = lab(BOUND);
    let version = Version::new(1, "a");
    let content = vec![1; PAGES as usize - HEADER];
    let past = |seconds| SystemTime::now() - Duration::from_secs(seconds);
    for index in 0..500 {
        lab.write(&version, index, &content);
        assert!(lab.bytes() <= BOUND / 16 * 15, "{} of {BOUND} bytes after {index}", lab.bytes());
        // Times within one tick are the same; these are not.
        let file = File::options().write(true).open(lab.path().join(version.block(index))).unwrap();
        file.set_modified(past(100_000 - 10 * index)).unwrap();
        if index > 0 {
            assert!(lab.disk.read(&version, 0, content.len()).is_some(), "used all the time, gone after {index}");
        }
    }
    assert!(lab.bytes() > BOUND / 2);
    let kept: Vec<_> = (1..500).filter(|index| lab.disk.read(&version, *index, content.len()).is_some()).collect();
    assert_eq!(kept, (500 - kept.len() as u64..500).collect::<Vec<_>>(), "the oldest have gone first");
}

#[test]
fn two_processes_keep_one_bound() {
    const BOUND: u64 = 64 * 4096;
    let mut lab = lab(BOUND);
    let mut second = Writer::new(Arc::clone(&lab.disk.directory), BOUND);
    let (version, other) = (Version::new(1, "a"), Version::new(2, "a"));
    for index in 0..300 {
        lab.write(&version, index, b"one");
        second.write(&other.block(index), &Bytes::from_static(b"two")).unwrap();
        assert!(lab.bytes() <= BOUND, "{} of {BOUND} bytes after {index}", lab.bytes());
    }
    assert_eq!(lab.disk.read(&version, 299, 3).unwrap(), "one");
    assert_eq!(lab.disk.read(&other, 299, 3).unwrap(), "two");
}

#[test]
fn a_smaller_bound_holds_from_the_first_block_on_and_leftovers_go() {
    let mut lab = lab(64 * 4096);
    let version = Version::new(1, "a");
    (0..32).for_each(|index| lab.write(&version, index, b"x"));
    let (old, new, foreign) = (lab.path().join("unfinished-old"), lab.path().join("unfinished-new"), "notes.txt");
    fs::write(&old, b"x").unwrap();
    fs::write(&new, b"x").unwrap();
    fs::write(lab.path().join(foreign), vec![0; 1 << 20]).unwrap();
    let file = File::options().write(true).open(&old).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    let mut smaller = Writer::new(Arc::clone(&lab.disk.directory), 16 * 4096);
    smaller.write(&version.block(99), &Bytes::from_static(b"y")).unwrap();
    assert!(!old.exists() && new.exists() && lab.path().join(foreign).exists());
    fs::remove_file(lab.path().join(foreign)).unwrap();
    assert!(lab.bytes() <= 16 * 4096, "{}", lab.bytes());
}
