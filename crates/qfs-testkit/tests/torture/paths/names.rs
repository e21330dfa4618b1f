//! A corpus of names that lead outside, and names made up.

use std::cell::Cell;
use std::ops::ControlFlow;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use qfs_core::model::RemotePath;
use qfs_core::store::{ListQuery, Store as _};

use super::{ALONE, PUBLISHED, Trap, furnish, surroundings};
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
        .list(&ListQuery::default(), &mut |path, _| {
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
    for flags in [&[ALONE, "--hidden"][..], &[ALONE]] {
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
                assert!(!(found && is_hidden && flags.len() == 1), "{name:?} is hidden: {text}");
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

/// Of so many made-up names one is written too, which takes much longer.
const WRITTEN: u64 = 16;

/// Promise: a million made-up names, 0 escapes.
///
/// Fails when: what makes `names_that_lead_outside` fail.
#[test]
fn names_made_up() {
    let total = count("path_cases", 3000);
    let trap = Trap::new();
    let (place, target) = (trap.place.path(), trap.place.path().join("target"));
    let before = surroundings(place, &target);
    let mut tally = Tally::new("path_cases", 1);
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
    tally.note("run");
    tally.end(&format!("{total} cases, {valid} of them names, {inside} read inside, {written} written, 0 escapes"));
}

/// What proptest decides by: this run's seed and nothing else.
fn random() -> TestRng {
    let mut bytes = [0; 32];
    fastrand::Rng::with_seed(seed() ^ 41).fill(&mut bytes);
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}
