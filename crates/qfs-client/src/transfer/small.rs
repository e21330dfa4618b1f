//! A small file that is in memory: hashed, written and committed in one step.

use std::sync::Arc;

use bytes::Bytes;
use qfs_core::body::Stage;
use qfs_core::model::{Digest, HashKind, Hasher};
use qfs_core::store::CommitSpec;
use qfs_store::blocking;

use crate::error::AttemptError;
use crate::transfer::job::{Context, Job};

/// All of a file.
pub(crate) struct Small {
    /// Its bytes, one piece behind the other.
    pub(crate) content: Vec<Bytes>,
    /// The kind of digest that was agreed on, whatever the server then sent.
    pub(crate) kind: HashKind,
    /// What their digest is to be.
    pub(crate) expected: Digest,
    pub(crate) commit: CommitSpec,
}

impl Small {
    /// Verifies it and makes it the target of `job`.
    pub(crate) async fn store(self, context: &Context, job: &Job) -> Result<Digest, AttemptError> {
        let Self { content, kind, expected, commit } = self;
        let (store, path, stages) = (Arc::clone(&context.store), job.path.clone(), Arc::clone(&context.stages));
        let store_small = move || {
            let mut hasher = Hasher::of_kind(kind);
            content.iter().for_each(|piece| hasher.update(piece));
            let got = hasher.finish();
            if got != expected {
                return Ok(Err(AttemptError::DigestMismatch { got, expected }));
            }
            store.put(&path, &content, &commit)?;
            Ok(Ok(got))
        };
        blocking(move || stages.time(Stage::Committing, store_small)).await?
    }
}
