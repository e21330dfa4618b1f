//! The part of a version that is here already, and how it is kept across attempts and runs.

use std::sync::Arc;

use qfs_core::body::Assembly;
use qfs_core::model::{Digest, ETag, HashKind, Holes};
use qfs_core::store::{CommitSpec, StoreError};
use qfs_store::blocking;

use super::delta::Rest;
use crate::error::AttemptError;

/// State kept across attempts to fetch one version.
pub(crate) struct Partial {
    pub(super) etag: ETag,
    pub(super) assembly: Arc<Assembly>,
    /// What is copied within it, where it is put together from what was here: what is missing is asked for as ranges then.
    pub(super) rest: Option<Arc<Rest>>,
}

impl Partial {
    /// Goes on for the digest that the server gives. Where that is another than before, all that is here is hashed anew.
    pub(super) async fn hash_as(&self, kind: HashKind) -> Result<(), StoreError> {
        if self.assembly.kind() == kind {
            return Ok(());
        }
        let assembly = Arc::clone(&self.assembly);
        blocking(move || assembly.hash_as(kind)).await
    }

    /// Makes it the target if it has the digest `expected`; what has another one is discarded.
    pub(super) async fn commit(self, expected: Digest, commit: CommitSpec) -> Result<Digest, AttemptError> {
        let assembly = self.assembly;
        blocking(move || {
            assembly.finish()?;
            match assembly.digest() {
                Some(got) if got == expected => {
                    assembly.stage().commit(&commit)?;
                    Ok(Ok(got))
                }
                Some(got) => {
                    assembly.stage().discard()?;
                    Ok(Err(AttemptError::DigestMismatch { got, expected }))
                }
                None => Ok(Err(AttemptError::Protocol("the body is not whole".to_owned()))),
            }
        })
        .await?
    }

    /// Fills the holes that the server told of; how many bytes need not arrive by that.
    pub(super) async fn fill(&self, holes: &Holes) -> Result<u64, StoreError> {
        if holes.is_empty() {
            return Ok(0);
        }
        let (assembly, holes) = (Arc::clone(&self.assembly), holes.clone());
        blocking(move || assembly.write_holes(&holes)).await
    }
}

/// Keeps a partial file for the next attempt, and its frontier for the next run.
pub(super) async fn keep(known: Partial, partial: &mut Option<Partial>) {
    let assembly = Arc::clone(&known.assembly);
    *partial = Some(known);
    if let Err(error) = blocking(move || assembly.record()).await {
        tracing::warn!("it cannot be recorded how far a partial file is: {error}");
    }
}

/// Records the frontier when the download is dropped halfway, as by an interrupt. That is on the thread of a runtime, which does not wait
/// for whoever hashes.
pub(crate) struct RecordOnDrop(pub(crate) Arc<Assembly>);

impl Drop for RecordOnDrop {
    fn drop(&mut self) {
        if let Err(error) = self.0.try_record() {
            tracing::warn!("it cannot be recorded how far a partial file is: {error}");
        }
    }
}
