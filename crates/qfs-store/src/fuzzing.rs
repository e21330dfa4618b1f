//! What stores read that others may have written, for the fuzzers: each target takes any bytes and must neither panic nor break what it
//! asserts. Compiled for them and for tests alone.

#[cfg(feature = "bucket")]
pub use crate::bucket::fuzzing::{documents as bucket_documents, metadata as bucket_metadata};
pub use crate::local::fuzzing::partial;

#[cfg(test)]
#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;

/// Fails when an input of a corpus breaks what its target asserts.
#[cfg(test)]
#[test]
fn no_input_that_was_ever_found_breaks_a_decoder() {
    corpus::run(&[("partial", partial)]);
    #[cfg(feature = "bucket")]
    corpus::run(&[("bucket_documents", bucket_documents), ("bucket_metadata", bucket_metadata)]);
}
