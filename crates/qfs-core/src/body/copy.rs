//! Version → stage, within one machine.

use crate::model::{Digest, HashKind, Hasher};
use crate::store::{BLOCK_BYTES, StagedObject, StoreError, Version};

/// Writes all of `original` into `stage`; returns the digest of what was written. Nothing is committed. Blocks.
///
/// # Errors
/// [`StoreError::Changed`] when it is not one version from beginning to end; what reading or writing failed with.
pub fn copy(original: &Version, stage: &dyn StagedObject, kind: HashKind) -> Result<Digest, StoreError> {
    let (mut position, mut hasher) = (0, Hasher::of_kind(kind));
    while position < original.meta().size {
        let block = original.block(position / BLOCK_BYTES)?;
        hasher.update(&block);
        stage.write_at(position, std::slice::from_ref(&block))?;
        position += block.len() as u64;
    }
    original.ensure_unchanged()?;
    Ok(hasher.finish())
}
