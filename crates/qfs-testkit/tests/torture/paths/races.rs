//! Links that are swapped in while files are opened.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use qfs_core::wire::StatusCode;
use qfs_store::local::{FollowLinks, LocalStore};
use quinn::Connection;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{ALONE, LINKS_TO_EVERYTHING, MODES, PUBLISHED, Trap, furnish, surroundings, write_to};
use crate::crowd::runtime;
use crate::lab::{Lab, WATCHDOG};
use crate::raw::{ask, begin, connect, download, soon};
use crate::tally::{Tally, count, seed};

/// Two entries of a directory exchanged as fast as it goes, again and again, until this is dropped: also when the test fails.
struct Swapper<'scope> {
    stop: &'scope AtomicBool,
    swaps: Option<ScopedJoinHandle<'scope, u64>>,
}

impl<'scope> Swapper<'scope> {
    fn start(
        scope: &'scope Scope<'scope, '_>,
        stop: &'scope AtomicBool,
        directory: PathBuf,
        pairs: &'static [(&'static str, &'static str)],
    ) -> Self {
        let swap = move || {
            let mut swaps = 0;
            while !stop.load(Ordering::Relaxed) {
                for (one, other) in pairs {
                    let (one, other) = (directory.join(one), directory.join(other));
                    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
                    swaps += 1;
                }
            }
            swaps
        };
        Self { stop, swaps: Some(scope.spawn(swap)) }
    }

    /// Ends it; how often it swapped.
    fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.swaps.take().map_or(0, |swaps| swaps.join().unwrap())
    }
}

impl Drop for Swapper<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How long a race goes on: as long as it should, and until both sides have won it once.
struct Race {
    begun: Instant,
    time: Duration,
}

impl Race {
    fn start() -> Self {
        Self { begun: Instant::now(), time: Duration::from_secs(count("race_seconds", 2)) }
    }

    fn goes_on(&self, both_won: bool) -> bool {
        assert!(both_won || self.begun.elapsed() < self.time + WATCHDOG, "no race");
        !both_won || self.begun.elapsed() < self.time
    }
}

/// Promise: while a directory and a file are swapped with links to the outside, 0 escapes; and where links to the outside are
/// followed, 0 to what no link may lead to.
///
/// Fails when: a path is checked first and opened afterwards, or `resolve::open` is without `NO_SYMLINKS`; `links::find` lets the
/// kernel follow a link, or looks at one file and opens another.
#[test]
fn links_swapped_while_files_are_fetched() {
    let mut tally = Tally::new("symlink_race", MODES.len() as u64);
    let mut figures = Vec::new();
    for (follow, flag) in MODES {
        figures.push(race_of(follow, flag));
        tally.note("run");
    }
    tally.end(&format!("{}, 0 escapes", figures.join("; ")));
}

fn race_of(follow: FollowLinks, flag: &str) -> String {
    let mut lab = Lab::new();
    let place = lab.root().parent().unwrap().to_owned();
    // What any link may end at is for everybody; what none may are the server's own files.
    let evil = if follow == FollowLinks::Any { place.join("certs") } else { place.join("outside") };
    furnish(&lab.root(), &place.join("outside"));
    LINKS_TO_EVERYTHING.iter().for_each(|name| std::fs::remove_file(lab.root().join(name)).unwrap());
    for name in ["dir/secret", "dir/server.key", "file"] {
        lab.publish(name, PUBLISHED);
    }
    symlink(&evil, lab.root().join("evil-dir")).unwrap();
    symlink(evil.join(if follow == FollowLinks::Any { "server.key" } else { "secret" }), lab.root().join("evil-file"))
        .unwrap();
    lab.start_with(&[ALONE, flag]);
    let (stop, race) = (AtomicBool::new(false), Race::start());
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    let swaps = std::thread::scope(|scope| {
        let swapper = Swapper::start(scope, &stop, lab.root(), &[("dir", "evil-dir"), ("file", "evil-file")]);
        runtime().block_on(async {
            let connection = connect(lab.address()).await;
            while race.goes_on(outcomes.contains_key("published") && outcomes.contains_key("refused")) {
                for outcome in race_for(&connection, &["dir/secret", "dir/server.key", "file"]).await {
                    *outcomes.entry(outcome).or_default() += 1;
                }
            }
        });
        swapper.end()
    });
    format!("{follow:?}: {} s, {swaps} swaps, answers {outcomes:?}", race.time.as_secs())
}

/// What came of asking for each of `names` many times at once. The listing must always be one.
async fn race_for(connection: &Connection, names: &[&str]) -> Vec<&'static str> {
    let mut answers = Vec::new();
    for name in names.repeat(16) {
        let (mut send, receive) = begin(connection, &download(name)).await;
        send.finish().unwrap();
        answers.push(receive);
    }
    let mut outcomes = Vec::new();
    for mut receive in answers {
        outcomes.push(match soon(receive.read_to_end(1 << 16)).await {
            Ok(answer) if answer.windows(PUBLISHED.len()).any(|bytes| bytes == PUBLISHED) => "published",
            Ok(answer) => {
                let text = String::from_utf8_lossy(&answer).into_owned();
                assert!(!text.contains("not published") && !text.contains("PRIVATE KEY"), "an escape: {text}");
                assert!(text.contains(r#""code":3"#) || text.contains(r#""code":5"#), "{text}");
                "refused"
            }
            Err(_) => "reset",
        });
    }
    assert_eq!(ask(connection, br#"{"command":"get_files_list"}"#).await, StatusCode::OK);
    outcomes
}

/// Directories written to, below the one that is swapped.
const SUBDIRECTORIES: u8 = 8;

/// The same while a client writes: nothing may arrive outside.
///
/// Fails when: `resolve::open` lets symbolic links pass.
#[test]
fn links_swapped_while_files_are_written() {
    let trap = Trap::new(FollowLinks::None);
    let (root, outside) = (trap.place.path().join("target"), trap.place.path().join("outside"));
    std::fs::create_dir(root.join("dir")).unwrap();
    // Whoever follows the link finds what it looks for.
    (0..SUBDIRECTORIES).for_each(|n| std::fs::create_dir(outside.join(format!("sub{n}"))).unwrap());
    symlink(&outside, root.join("evil-dir")).unwrap();
    let before = surroundings(trap.place.path(), &root);
    let mut tally = Tally::new("symlink_race_writing", 1);
    let (stop, race) = (AtomicBool::new(false), Race::start());
    let (mut written, mut tried, mut rng) = (0u64, 0u64, fastrand::Rng::with_seed(seed()));
    let swaps = std::thread::scope(|scope| {
        let swapper = Swapper::start(scope, &stop, root.clone(), &[("dir", "evil-dir")]);
        while race.goes_on(written > 0 && written < tried) {
            // A new store has no handles of directories yet: it must find the way anew, which is what is raced for.
            let store = LocalStore::open_root(&root).unwrap();
            written += u64::from(write_to(&store, &format!("dir/sub{}/{}", rng.u8(..SUBDIRECTORIES), rng.u8(..))));
            written += u64::from(write_to(&store, &format!("dir/{}", rng.u8(..))));
            tried += 2;
        }
        swapper.end()
    });
    assert_eq!(surroundings(trap.place.path(), &root), before, "something was written outside");
    tally.note("run");
    tally.end(&format!("{} s, {swaps} swaps, {written} of {tried} written inside, 0 outside", race.time.as_secs()));
}
