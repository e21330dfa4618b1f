//! What the server reads of strangers and of its own files, for the fuzzers: each target takes any bytes and must neither panic nor
//! break what it asserts. Compiled for them and for tests alone.
//!
//! `fuzz/fuzz_targets` feeds them from libFuzzer, and the test below everything in `fuzz/corpus`.

use qfs_core::model::RemotePath;

#[cfg(feature = "http")]
pub use crate::door::http::fuzzing::{
    http_archive, http_condition, http_credential, http_fields, http_page, http_range, http_target,
};
use crate::gate::tokens::{Document, MAX_TOKENS};
use crate::pace::Limit;

/// The token file. What was read is written so that it reads back as the same, and each token is found by its id alone.
pub fn tokens(data: &[u8]) {
    let Ok(document) = Document::parse(data) else { return };
    assert_eq!(Document::parse(document.to_string().as_bytes()).as_ref(), Ok(&document));
    assert!(document.records().len() <= MAX_TOKENS);
    for record in document.records() {
        assert_eq!(document.with_id(&record.id), Some(record));
        let Some(scope) = &record.scope else { continue };
        assert!(scope.texts().count() > 0, "a rule that reaches nothing");
        for text in scope.texts().filter(|text| !text.contains(['*', '?', '[', ']', '{', '}'])) {
            let name = RemotePath::parse(text.trim_end_matches('/')).expect("a rule is a name");
            let below = RemotePath::parse(&format!("{}/x", name.as_str()));
            assert!(scope.covers(&name) && below.is_err() || below.is_ok_and(|below| scope.covers(&below)));
        }
    }
}

/// A rate, or rates by the time of day. What was read is written so that it reads back as the same, nothing is slower than what gets
/// through, and each speed holds for a while and for a day at most.
pub fn limit(data: &[u8]) {
    const DAY: u32 = 24 * 3600;
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(limit) = text.parse::<Limit>() else { return };
    assert_eq!(limit.to_string().parse(), Ok(limit.clone()));
    for table in [&limit.down, &limit.up] {
        for second in (0..DAY).step_by(601) {
            let (speed, left) = table.at(second);
            assert!(speed.is_none_or(|speed| speed.get() >= 4 << 10));
            assert!(!(table.is_off() && speed.is_some()));
            assert!(left.as_secs() > 0);
            if let Ok(left) = u32::try_from(left.as_secs()) {
                assert!(left <= DAY);
                assert_eq!(table.at((second + left - 1) % DAY).0, speed, "it holds for as long as it was said to");
            }
        }
    }
}

#[cfg(test)]
#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;

/// Fails when an input of a corpus breaks what its target asserts: when an image of a README may come from `//elsewhere`, a quotation mark ends
/// the name in `Content-Disposition`, a name in an archive loses its line feed, or a change under a condition is made to any version.
#[cfg(test)]
#[test]
fn no_input_that_was_ever_found_breaks_a_decoder() {
    corpus::run(&[("tokens", tokens), ("limit", limit)]);
    #[cfg(feature = "http")]
    corpus::run(&[
        ("http_range", http_range),
        ("http_target", http_target),
        ("http_condition", http_condition),
        ("http_fields", http_fields),
        ("http_credential", http_credential),
        ("http_page", http_page),
        ("http_archive", http_archive),
    ]);
}
