//! Everything the fuzzers were given or found, fed to the same functions as an ordinary test.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and this one reads the corpora, not published files"
)]

use std::path::Path;

#[allow(unreachable_pub, reason = "public to the targets of libFuzzer")]
#[path = "../../../fuzz/src/lib.rs"]
mod fuzz;

/// Fails when: a decoder panics, or what it read is not what it writes, as when `page` takes names in any order, an
/// `Answer` believes a length beyond its frame, or the tail of a body is not bounded.
#[test]
fn no_input_that_was_ever_found_breaks_a_decoder() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in fuzz::TARGETS {
        let mut inputs = 0;
        for entry in std::fs::read_dir(corpora.join(name)).unwrap() {
            let path = entry.unwrap().path();
            // libFuzzer shows which input it was; here the file's name must.
            let input = std::fs::read(&path).unwrap();
            if std::panic::catch_unwind(|| target(&input)).is_err() {
                panic!("{}", path.display());
            }
            inputs += 1;
        }
        assert!(inputs > 0, "the corpus of {name} is empty");
    }
}
