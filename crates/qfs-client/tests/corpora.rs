//! Everything the fuzzers were given or found, fed to the same functions as an ordinary test. Targets that reach into a crate have a
//! test of their own there, in its `fuzzing`.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and this one reads the corpora, not published files"
)]

use std::collections::BTreeSet;
use std::path::Path;

#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;
#[allow(unreachable_pub, reason = "public to the targets of libFuzzer")]
#[path = "../../../fuzz/src/lib.rs"]
mod fuzz;

/// Fails when: a decoder panics, or what it read is not what it writes, as when `page` takes names in any order, an
/// `Answer` believes a length beyond its frame, or the tail of a body is not bounded.
#[test]
fn no_input_that_was_ever_found_breaks_a_decoder() {
    corpus::run(&fuzz::TARGETS);
}

/// Fails when a target has no corpus, or a corpus no target, or no test runs it.
#[test]
fn every_target_has_a_corpus_and_a_test() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let names = |below: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(fuzz.join(below)).unwrap();
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names("fuzz_targets"), names("corpus"));
    let crates = std::fs::read_dir(fuzz.join("../crates")).unwrap();
    let reached = crates.filter_map(|entry| std::fs::read_to_string(entry.unwrap().path().join("src/fuzzing.rs")).ok());
    let tests: String = reached.chain([std::fs::read_to_string(fuzz.join("src/lib.rs")).unwrap()]).collect();
    for name in names("corpus") {
        assert!(tests.contains(&format!("(\"{name}\", ")), "no test runs the corpus of {name}");
    }
}
