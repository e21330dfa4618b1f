//! Names and links that lead outside: against the names' own rules, against the store, for reading and for writing, and through the
//! wire; and links that are swapped in while files are opened.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use qfs_core::model::RemotePath;
use qfs_core::store::local::{Hidden, LocalStore};
use qfs_core::store::{CommitSpec, StageSpec, Store as _, StoreError, WriteStore as _};
use qfs_core::wire::StatusCode;
use rustix::fs::{CWD, Mode, RenameFlags, mknodat, renameat_with};
use tempfile::TempDir;

use crate::crowd::runtime;
use crate::lab::{Lab, files_below};
use crate::raw::{begin, connect, download, soon, status_of};
use crate::tally::{Tally, count, seed};

/// What every published file begins with, and no other on this machine.
const PUBLISHED: &[u8] = b"published by this test: ";

/// Names, as JSON strings, one a line.
const CORPUS: &str = include_str!("../../corpus/paths.jsonl");

fn corpus() -> Vec<String> {
    let names: Vec<String> = CORPUS.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(names.len() >= 500, "{}", names.len());
    names
}

/// Fills `root` with files, and with links and other things that lead out of it to `outside`.
fn furnish(root: &Path, outside: &Path) {
    std::fs::create_dir_all(outside.join("deep")).unwrap();
    for secret in ["secret", "deep/secret"] {
        std::fs::write(outside.join(secret), "not published").unwrap();
    }
    for name in ["a/inner", "a/b/inner", "deep/inner", ".hidden", ".git/config", "..a", "a/.hidden/inner", "secret"] {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, [PUBLISHED, name.as_bytes()].concat()).unwrap();
    }
    let links: &[(&str, &Path)] = &[
        ("link", outside),
        ("deep/link", outside),
        ("up", Path::new("..")),
        ("deep/up", Path::new("../..")),
        ("abs", Path::new("/")),
        ("loop", Path::new("loop")),
        ("chain", Path::new("link")),
        ("dangling", Path::new("nowhere")),
        ("proc", Path::new("/proc")),
        ("selfroot", Path::new("/proc/self/root")),
        ("fdlink", Path::new("/proc/self/fd/3")),
        ("linkfile", &outside.join("secret")),
        ("absfile", Path::new("/etc/passwd")),
    ];
    for (name, target) in links {
        symlink(target, root.join(name)).unwrap();
    }
    mknodat(CWD, root.join("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    drop(UnixListener::bind(root.join("socket")).unwrap());
}

/// Everything outside: names, contents and when they were changed.
fn surroundings(place: &Path, inside: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let outside = files_below(place).into_iter().filter(|path| !path.starts_with(inside));
    outside
        .map(|path| {
            let changed = path.symlink_metadata().unwrap().modified().unwrap();
            (path.clone(), (std::fs::read(&path).unwrap_or_default(), changed))
        })
        .collect()
}

/// A root for reading and one for writing, with the same traps in both.
struct Trap {
    place: TempDir,
    source: LocalStore,
    target: LocalStore,
}

impl Trap {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let [source, target, outside] = ["root", "target", "outside"].map(|name| place.path().join(name));
        for root in [&source, &target] {
            std::fs::create_dir(root).unwrap();
            furnish(root, &outside);
        }
        let source = LocalStore::open_root(&source).unwrap().hidden(Hidden::Included);
        let target = LocalStore::open_root(&target).unwrap();
        Self { place, source, target }
    }

    /// Opens `name` if it is one; whether it was there. Nothing but what is published may be read.
    fn read(&self, name: &str) -> bool {
        let Ok(path) = RemotePath::parse(name) else { return false };
        match self.source.open(&path) {
            Ok(object) => {
                let length = usize::try_from(object.meta().size).unwrap();
                let content = object.read_at(0, length).unwrap();
                assert!(content.starts_with(PUBLISHED), "{name:?} is {content:?}");
                true
            }
            Err(StoreError::NotFound) => false,
            Err(error) => panic!("{name:?} tells of this machine: {error:?}"),
        }
    }

    /// Writes under `name` in every way, if it is one; whether anything was written.
    fn write(&self, name: &str) -> bool {
        let Ok(path) = RemotePath::parse(name) else { return false };
        let commit = CommitSpec { modified: Timestamp::UNIX_EPOCH, replace: true, durable: false };
        let _ = self.target.existing(&path);
        let put = self.target.put(&path, &[Bytes::from_static(PUBLISHED)], &commit).is_ok();
        let spec = StageSpec { size: PUBLISHED.len() as u64, etag: "0123".parse().unwrap() };
        let staged = self.target.stage(&path, &spec).and_then(|staged| {
            staged.write_at(0, &[Bytes::from_static(PUBLISHED)])?;
            staged.commit(&commit)
        });
        let _ = self.target.touch(&path, Timestamp::UNIX_EPOCH);
        put || staged.is_ok()
    }
}

/// Promise: a corpus of at least 500 names, 0 escapes, for reading, listing and writing.
///
/// Fails when: `resolve::open` lets symbolic links pass (`NO_SYMLINKS`) or forgets `BENEATH`; `RemotePath::check` lets `..` or an
/// empty component pass and so does the kernel; `put` or `stage` go by a path instead of a directory's handle.
#[test]
fn names_that_lead_outside() {
    let trap = Trap::new();
    let (place, target) = (trap.place.path(), trap.place.path().join("target"));
    let before = surroundings(place, &target);
    let names = corpus();
    let mut tally = Tally::new("path_corpus", names.len() as u64);
    for name in &names {
        let (read, written) = (trap.read(name), trap.write(name));
        tally.note(match (RemotePath::parse(name).is_ok(), read || written) {
            (false, _) => "no name",
            (true, false) => "refused",
            (true, true) => "inside",
        });
    }
    assert_eq!(surroundings(place, &target), before, "something was written outside");
    assert!(tally.of("inside") > 5 && tally.of("refused") > 50 && tally.of("no name") > 200);
    let mut listed = 0;
    trap.source
        .list(&mut |path, _| {
            assert!(trap.read(path.as_str()), "{path} is listed and cannot be opened");
            listed += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(listed, 8, "the files, and nothing behind a link");
    tally.end("0 escapes, read or written");
}

/// The same names through the wire, with and without `--hidden`.
///
/// Fails when: the server opens anything but a `RemotePath` below its root.
#[test]
fn names_that_lead_outside_through_the_wire() {
    let names = corpus();
    let mut tally = Tally::new("path_corpus_on_the_wire", 2 * names.len() as u64);
    for flags in [&["--hidden"][..], &[]] {
        let mut lab = Lab::new();
        let place = lab.root().parent().unwrap().to_owned();
        furnish(&lab.root(), &place.join("outside"));
        lab.start_with(flags);
        runtime().block_on(async {
            let connection = connect(lab.address()).await;
            for name in &names {
                let (mut send, mut receive) = begin(&connection, &download(name)).await;
                let _ = send.finish();
                let answer = soon(receive.read_to_end(1 << 16)).await.unwrap();
                let found = answer.windows(PUBLISHED.len()).any(|bytes| bytes == PUBLISHED);
                let text = String::from_utf8_lossy(&answer);
                assert!(found || text.contains(r#""code":3"#), "{name:?}: {text}");
                let is_hidden = RemotePath::parse(name).is_ok_and(|path| path.is_hidden());
                assert!(!(found && is_hidden && flags.is_empty()), "{name:?} is hidden: {text}");
                tally.note(if found { "inside" } else { "not_found" });
            }
        });
    }
    tally.end("0 escapes");
}

/// Pieces of which names are made that nobody has thought of.
const PIECES: &[&str] = &[
    "..",
    ".",
    "/",
    "/",
    "/",
    "\\",
    "\0",
    "link",
    "up",
    "abs",
    "deep",
    "chain",
    "loop",
    "proc",
    "selfroot",
    "root",
    "outside",
    "secret",
    "a",
    "b",
    "inner",
    ".hidden",
    "etc/passwd",
    "%2e",
    "%2f",
    "\u{2215}",
    "\u{ff0e}",
    " ",
    "\n",
    "é",
    "fifo",
];

/// Promise: a million made-up names, 0 escapes.
///
/// Fails when: what makes `names_that_lead_outside` fail.
#[test]
fn names_made_up() {
    let total = count("path_cases", 3000);
    let trap = Trap::new();
    let mut tally = Tally::new("path_cases", 1);
    let config = Config { cases: u32::try_from(total).unwrap(), failure_persistence: None, ..Config::default() };
    let names = prop::collection::vec(prop::sample::select(PIECES), 0..9).prop_map(|pieces| pieces.concat());
    let (mut valid, mut inside) = (0u64, 0u64);
    let counts = std::cell::RefCell::new((&mut valid, &mut inside));
    TestRunner::new(config)
        .run(&names, |name| {
            let mut counts = counts.borrow_mut();
            *counts.0 += u64::from(RemotePath::parse(&name).is_ok());
            *counts.1 += u64::from(trap.read(&name));
            Ok(())
        })
        .unwrap();
    tally.note("run");
    tally.end(&format!("{total} cases, {valid} of them names, {inside} inside, 0 escapes"));
}

/// Exchanges two entries of a directory as fast as it can, until told to stop.
fn swap(directory: &Path, pairs: &[(&str, &str)], stop: &AtomicBool) -> u64 {
    let mut swaps = 0;
    while !stop.load(Ordering::Relaxed) {
        for (one, other) in pairs {
            renameat_with(CWD, directory.join(one), CWD, directory.join(other), RenameFlags::EXCHANGE).unwrap();
            swaps += 1;
        }
    }
    swaps
}

/// Promise: while a directory and a file are swapped with links to the outside, 0 escapes.
///
/// Fails when: a path is checked first and opened afterwards, or `resolve::open` is without `NO_SYMLINKS`.
#[test]
fn links_swapped_while_files_are_fetched() {
    let time = Duration::from_secs(count("race_seconds", 2));
    let lab = {
        let mut lab = Lab::new();
        let outside = lab.root().parent().unwrap().join("outside");
        furnish(&lab.root(), &outside);
        lab.publish("dir/secret", PUBLISHED);
        symlink(&outside, lab.root().join("evil-dir")).unwrap();
        symlink(outside.join("secret"), lab.root().join("evil-file")).unwrap();
        lab.publish("file", PUBLISHED);
        lab.start();
        lab
    };
    let (root, stop) = (lab.root(), AtomicBool::new(false));
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    let swaps = std::thread::scope(|scope| {
        let swapping = scope.spawn(|| swap(&root, &[("dir", "evil-dir"), ("file", "evil-file")], &stop));
        let end = Instant::now() + time;
        runtime().block_on(async {
            let connection = connect(lab.address()).await;
            while Instant::now() < end {
                let mut answers = Vec::new();
                for name in ["dir/secret", "file"].repeat(16) {
                    let (mut send, receive) = begin(&connection, &download(name)).await;
                    send.finish().unwrap();
                    answers.push(receive);
                }
                for mut receive in answers {
                    let outcome = match soon(receive.read_to_end(1 << 16)).await {
                        Ok(answer) if answer.windows(PUBLISHED.len()).any(|bytes| bytes == PUBLISHED) => "published",
                        Ok(answer) => {
                            let text = String::from_utf8_lossy(&answer).into_owned();
                            assert!(!text.contains("not published"), "an escape: {text}");
                            assert!(text.contains(r#""code":3"#) || text.contains(r#""code":5"#), "{text}");
                            "refused"
                        }
                        Err(_) => "reset",
                    };
                    *outcomes.entry(outcome).or_default() += 1;
                }
                let listing = qfs_core::wire::frame(br#"{"command":"get_files_list"}"#).unwrap();
                let (mut send, receive) = begin(&connection, &listing).await;
                send.finish().unwrap();
                assert_eq!(status_of(receive).await, StatusCode::OK);
            }
        });
        stop.store(true, Ordering::Relaxed);
        swapping.join().unwrap()
    });
    assert!(outcomes.get("published").is_some_and(|n| *n > 0) && outcomes.len() > 1, "no race: {outcomes:?}");
    let mut tally = Tally::new("symlink_race", 1);
    tally.note("run");
    tally.end(&format!("{} s, {swaps} swaps, answers {outcomes:?}, 0 escapes", time.as_secs()));
}

/// The same while a client writes: nothing may arrive outside.
///
/// Fails when: `put` or `stage` resolve a path anew between making a directory and the file in it.
#[test]
fn links_swapped_while_files_are_written() {
    let time = Duration::from_secs(count("race_seconds", 2));
    let trap = Trap::new();
    let (root, outside) = (trap.place.path().join("target"), trap.place.path().join("outside"));
    std::fs::create_dir(root.join("dir")).unwrap();
    symlink(&outside, root.join("evil-dir")).unwrap();
    let before = surroundings(trap.place.path(), &root);
    let stop = AtomicBool::new(false);
    let (mut written, mut tried, mut rng) = (0u64, 0u64, fastrand::Rng::with_seed(seed()));
    let swaps = std::thread::scope(|scope| {
        let swapping = scope.spawn(|| swap(&root, &[("dir", "evil-dir")], &stop));
        let end = Instant::now() + time;
        while Instant::now() < end {
            written += u64::from(trap.write(&format!("dir/sub{}/{}", rng.u8(..8), rng.u8(..))));
            written += u64::from(trap.write(&format!("dir/{}", rng.u8(..))));
            tried += 2;
        }
        stop.store(true, Ordering::Relaxed);
        swapping.join().unwrap()
    });
    assert_eq!(surroundings(trap.place.path(), &root), before, "something was written outside");
    assert!(written > 0 && written < tried, "no race: {written} of {tried}");
    let mut tally = Tally::new("symlink_race_writing", 1);
    tally.note("run");
    tally.end(&format!("{} s, {swaps} swaps, {written} of {tried} written inside, 0 outside", time.as_secs()));
}
