//! Runs corpora as an ordinary test: each crate with targets of its own includes this file.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that panics has failed, and this one reads the corpora, not published files"
)]

use std::path::Path;

/// Takes any bytes.
pub(crate) type Target = fn(&[u8]);

/// Feeds each target everything in the corpus of its name.
///
/// # Panics
/// With the name of the input that a target panics on; when a corpus is empty.
pub(crate) fn run(targets: &[(&str, Target)]) {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in targets {
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
