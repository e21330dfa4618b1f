//! What is sealed for this server alone and comes back from strangers, for the fuzzers: each target takes any bytes and must neither panic
//! nor break what it asserts. Compiled for them and for tests alone.

use crate::quic::{exercise_notes, exercise_steering};

/// A note about a path, and the first packet of a datagram: whatever they are, what nobody has sealed here opens nothing.
pub fn sealed(data: &[u8]) {
    exercise_notes(data);
    exercise_steering(data);
}

#[cfg(test)]
#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;

/// Fails when an input of the corpus breaks what [`sealed`] asserts.
#[cfg(test)]
#[test]
fn no_input_that_was_ever_found_breaks_a_decoder() {
    corpus::run(&[("sealed", sealed)]);
}
