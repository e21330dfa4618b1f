//! What the client keeps of servers and hears of strangers, for the fuzzers: each target takes any bytes and must neither panic nor break what
//! it asserts. Compiled for them and for tests alone.

pub use crate::discovery::exercise as announced;
pub use crate::session::fuzzing::remembered;

#[cfg(test)]
#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;

/// Fails when an input of a corpus breaks what its target asserts.
#[cfg(test)]
#[test]
fn no_input_that_was_ever_found_breaks_a_decoder() {
    corpus::run(&[("remembered", remembered), ("announced", announced)]);
}
