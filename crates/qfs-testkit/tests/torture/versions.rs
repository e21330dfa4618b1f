//! The source changes while it is served, and between two attempts at it.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use qfs_testkit::udp_proxy::UdpProxy;

use crate::lab::{Lab, finish, noise, run, slow_link, wait_for_bytes};
use crate::tally::{Tally, count, seed};

const SIZE: usize = 12 << 20;

/// What happens to the source.
#[derive(Debug, Clone, Copy)]
enum Change {
    Appended,
    Truncated,
    /// By a rename, as careful programs do.
    Replaced,
    RewrittenInPlace,
    /// And its modification time set back: only ctime tells.
    RewrittenInSecret,
}

const ALL: [Change; 5] =
    [Change::Appended, Change::Truncated, Change::Replaced, Change::RewrittenInPlace, Change::RewrittenInSecret];

impl Change {
    fn name(self) -> &'static str {
        match self {
            Self::Appended => "appended",
            Self::Truncated => "truncated",
            Self::Replaced => "replaced",
            Self::RewrittenInPlace => "rewritten",
            Self::RewrittenInSecret => "rewritten in secret",
        }
    }

    /// What the source holds afterwards.
    fn applied_to(self, old: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
        match self {
            Self::Appended => [old, &noise(random.u64(..), 100_000)].concat(),
            Self::Truncated => old[..random.usize(old.len() / 2..old.len())].to_vec(),
            _ => noise(random.u64(..), old.len()),
        }
    }

    fn apply(self, path: &Path, new: &[u8], old_length: usize) {
        let times = File::open(path).unwrap().metadata().unwrap().modified().unwrap();
        let mut file = OpenOptions::new().write(true).open(path).unwrap();
        match self {
            Self::Appended => {
                file.seek(SeekFrom::End(0)).unwrap();
                file.write_all(&new[old_length..]).unwrap();
            }
            Self::Truncated => file.set_len(new.len() as u64).unwrap(),
            Self::Replaced => {
                let beside = path.with_file_name(".new");
                std::fs::write(&beside, new).unwrap();
                std::fs::rename(beside, path).unwrap();
            }
            Self::RewrittenInPlace => file.write_all(new).unwrap(),
            Self::RewrittenInSecret => {
                file.write_all(new).unwrap();
                file.set_modified(times).unwrap();
            }
        }
    }
}

struct Source {
    lab: Lab,
    proxy: UdpProxy,
    old: Vec<u8>,
}

impl Source {
    fn new(seed: u64) -> Self {
        let old = noise(seed, SIZE);
        let lab = Lab::serving(&[("source", &old)]);
        let proxy = slow_link(lab.address(), 300_000_000);
        Self { lab, proxy, old }
    }

    /// Starts over with the old version, and fetches a part of it.
    fn begin(&self, part: u64) -> std::process::Child {
        self.lab.clear();
        self.lab.publish("source", &self.old);
        let before = self.proxy.stats().to_client.forwarded_bytes;
        let mut child = self.lab.client(self.proxy.addr(), &["get", "source", "--json"]).spawn().unwrap();
        wait_for_bytes(&self.proxy, before, part, &mut child);
        child
    }
}

/// Promise: no blend of versions. The client ends with one whole version, or says `changed` and leaves nothing.
///
/// Fails when: `LocalObject::ensure_unchanged` always agrees (the digest then is of the blend the server read, and matches);
/// the etag leaves ctime out (a rewrite in secret is continued); `Download::attempt` keeps the partial file after `changed`.
#[test]
fn a_source_that_changes_while_it_is_served_is_never_blended() {
    let each = count("changes_served", 2);
    let mut random = fastrand::Rng::with_seed(seed() ^ 0xc);
    let source = Source::new(seed() ^ 3);
    let mut tally = Tally::new("changes_served", each * ALL.len() as u64);
    for round in 0..each * ALL.len() as u64 {
        let change = ALL[round as usize % ALL.len()];
        let new = change.applied_to(&source.old, &mut random);
        let child = source.begin(random.u64(0..SIZE as u64 * 19 / 20));
        change.apply(&source.lab.root().join("source"), &new, SIZE);
        let done = finish(child);
        let what = match (done.code, source.lab.saved_file("source")) {
            (Some(0), Some(file)) if file == new => "new version",
            (Some(0), Some(file)) if file == source.old => "old version",
            (Some(6), None) => {
                assert_eq!(done.json()["files"][0]["error"]["code"], "changed", "{done:?}");
                "clear error"
            }
            (_, file) => panic!("{}: {:?} bytes saved, {done:?}", change.name(), file.map(|f| f.len())),
        };
        tally.note(&format!("{} → {what}", change.name()));
    }
    tally.end("0 blends");
}

/// Promise: what is left of an old version is not continued with a new one.
///
/// Fails when: neither the name nor the record of a partial file holds the etag, and the digest is not compared. Each of them alone
/// would find it out, and so would `if_match`.
#[test]
fn a_source_that_changes_between_attempts_is_fetched_anew() {
    let each = count("changes_between", 1);
    let mut random = fastrand::Rng::with_seed(seed() ^ 0xd);
    let source = Source::new(seed() ^ 4);
    let mut tally = Tally::new("changes_between", each * ALL.len() as u64);
    for round in 0..each * ALL.len() as u64 {
        let change = ALL[round as usize % ALL.len()];
        let new = change.applied_to(&source.old, &mut random);
        let mut child = source.begin(random.u64(SIZE as u64 / 2..SIZE as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        let complete = source.lab.saved_file("source").is_some();
        change.apply(&source.lab.root().join("source"), &new, SIZE);
        let mut again = source.lab.client(source.lab.address(), &["get", "source", "--json", "--overwrite"]);
        let done = run(&mut again).ends_with(0);
        if complete && matches!(change, Change::RewrittenInSecret) {
            // Size and modification time are what an existing file is told by, unless `--checksum` is given.
            tally.note("finished too early");
            continue;
        }
        assert!(source.lab.saved_file("source").as_deref() == Some(&new[..]), "{}: {done:?}", change.name());
        assert_eq!(source.lab.partials(), Vec::<std::path::PathBuf>::new());
        tally.note(change.name());
    }
    tally.end("each time the new version");
}
