//! A corpus of names that lead outside, and names made up.

use std::cell::Cell;
use std::ops::ControlFlow;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use qfs_core::model::RemotePath;
use qfs_core::store::{ListQuery, Store as _};
use qfs_store::local::FollowLinks;

use super::{ALONE, LINKS_TO_EVERYTHING, MODES, PUBLISHED, Trap, furnish, surroundings};
use crate::crowd::runtime;
use crate::lab::Lab;
use crate::raw::{begin, connect, download, soon};
use crate::tally::{Tally, count, seed};

/// Names, as JSON strings, one a line.
const CORPUS: &str = include_str!("../../../corpus/paths.jsonl");

fn corpus() -> Vec<String> {
    let names: Vec<String> = CORPUS.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(names.len() >= 500, "{}", names.len());
    names
}

/// Promise: a corpus of at least 500 names, 0 escapes, for reading, listing and writing, whichever links are followed.
///
/// Fails when: `resolve::open` lets symbolic links pass (`NO_SYMLINKS`) or forgets `BENEATH`; `RemotePath::check` lets `..` or an
/// empty component pass and so does the kernel; `put` or `stage` go by a path instead of a directory's handle; `links::find` takes
/// what is outside for inside, or forgets what no link may lead to.
#[test]
fn names_that_lead_outside() {
    let names = corpus();
    let mut tally = Tally::new("path_corpus", (MODES.len() * names.len()) as u64);
    for (follow, _) in MODES {
        let trap = Trap::new(follow);
        let (place, target) = (trap.place.path(), trap.place.path().join("target"));
        let before = surroundings(place, &target);
        for name in &names {
            // No link is followed for writing, whichever are for reading.
            let (read, written) = (trap.read(name), follow == FollowLinks::None && trap.write(name));
            tally.note(match (RemotePath::parse(name).is_ok(), read || written) {
                (false, _) => "no name",
                (true, false) => "refused",
                (true, true) => "inside",
            });
        }
        assert_eq!(surroundings(place, &target), before, "something was written outside");
        if follow == FollowLinks::Any {
            // Some of its links lead to all of this machine, which is no listing's business here.
            continue;
        }
        let mut listed = 0;
        trap.source
            .list(&ListQuery::default(), &mut |path, _| {
                assert!(trap.read(path.as_str()), "{path} is listed and cannot be opened");
                listed += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        let within = if follow == FollowLinks::Inside { 2 } else { 0 };
        assert_eq!(listed, 8 + within, "the files, and nothing behind a link that leads outside");
    }
    assert!(tally.of("inside") > 5 && tally.of("refused") > 150 && tally.of("no name") > 600);
    tally.end("0 escapes, read or written");
}

/// Names that lead to the server's own files where links are followed.
const OWN: [&str; 4] = ["up/certs/server.key", "deep/up/certs/server.key", "up/certs", "certs/server.key"];

/// The same names through the wire, with and without `--hidden`, whichever links are followed.
///
/// Fails when: the server opens anything but a `RemotePath` below its root, or what a link that it follows ends at; it follows one to
/// a hidden name or to its own key.
#[test]
fn names_that_lead_outside_through_the_wire() {
    let mut names = corpus();
    names.extend(OWN.map(str::to_owned));
    let runs: Vec<(FollowLinks, Vec<&str>)> = std::iter::once((FollowLinks::None, vec![ALONE, "--hidden"]))
        .chain(MODES.map(|(follow, flag)| (follow, vec![ALONE, flag])))
        .collect();
    let mut tally = Tally::new("path_corpus_on_the_wire", (runs.len() * names.len()) as u64);
    for (follow, flags) in runs {
        let mut lab = Lab::new();
        let place = lab.root().parent().unwrap().to_owned();
        furnish(&lab.root(), &place.join("outside"));
        if follow == FollowLinks::Any {
            LINKS_TO_EVERYTHING.iter().for_each(|name| std::fs::remove_file(lab.root().join(name)).unwrap());
        }
        lab.start_with(&flags);
        runtime().block_on(async {
            let connection = connect(lab.address()).await;
            for name in &names {
                let (mut send, mut receive) = begin(&connection, &download(name)).await;
                let _ = send.finish();
                let answer = soon(receive.read_to_end(1 << 16)).await.unwrap();
                let found = answer.windows(PUBLISHED.len()).any(|bytes| bytes == PUBLISHED);
                let text = String::from_utf8_lossy(&answer);
                let is_published = found || follow == FollowLinks::Any;
                assert!(is_published || text.contains(r#""code":3"#), "{name:?}: {text}");
                assert!(!text.contains("PRIVATE KEY"), "{name:?}: {text}");
                let is_hidden = RemotePath::parse(name).is_ok_and(|path| path.is_hidden());
                assert!(!(found && is_hidden && !flags.contains(&"--hidden")), "{name:?} is hidden: {text}");
                tally.note(if found { "inside" } else { "not inside" });
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

/// Of so many made-up names one is written too, which takes much longer.
const WRITTEN: u64 = 16;

/// Promise: a million made-up names, 0 escapes, whichever links are followed.
///
/// Fails when: what makes `names_that_lead_outside` fail.
#[test]
fn names_made_up() {
    let total = count("path_cases", 3000);
    let mut tally = Tally::new("path_cases", MODES.len() as u64);
    let mut figures = Vec::new();
    for (follow, _) in MODES {
        figures.push(made_up(follow, total));
        tally.note("run");
    }
    tally.end(&format!("{total} cases in each mode: {}; 0 escapes", figures.join("; ")));
}

fn made_up(follow: FollowLinks, total: u64) -> String {
    let trap = Trap::new(follow);
    let (place, target) = (trap.place.path(), trap.place.path().join("target"));
    let before = surroundings(place, &target);
    let config = Config { cases: u32::try_from(total).unwrap(), failure_persistence: None, ..Config::default() };
    let names = prop::collection::vec(prop::sample::select(PIECES), 0..9).prop_map(|pieces| pieces.concat());
    // Cases, names among them, files that were there, files written.
    let counts = Cell::new([0u64; 4]);
    let tested = TestRunner::new_with_rng(config, random()).run(&names, |name| {
        let [cases, valid, inside, written] = counts.get();
        counts.set([
            cases + 1,
            valid + u64::from(RemotePath::parse(&name).is_ok()),
            inside + u64::from(trap.read(&name)),
            written + u64::from(cases % WRITTEN == 0 && trap.write(&name)),
        ]);
        Ok(())
    });
    tested.unwrap();
    assert_eq!(surroundings(place, &target), before, "something was written outside");
    let [cases, valid, inside, written] = counts.get();
    assert!(cases >= total && inside > 0 && written > 0, "{counts:?}");
    format!("{follow:?}: {valid} names, {inside} read inside, {written} written")
}

/// What proptest decides by: this run's seed and nothing else.
fn random() -> TestRng {
    let mut bytes = [0; 32];
    fastrand::Rng::with_seed(seed() ^ 41).fill(&mut bytes);
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}
