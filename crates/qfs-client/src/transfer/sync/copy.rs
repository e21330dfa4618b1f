//! A copy of a file within a directory here.

use qfs_core::model::{ETag, HashKind, Hasher, RemotePath};
use qfs_core::store::{BLOCK_BYTES, CommitSpec, StageSpec, StoreError, WriteStore as _};

use crate::plan::sync::File;
use crate::transfer::put::Tree;

/// Makes `to` from the version `seen` of `from`, where nothing may be; what comes out is the content that `wanted` names. Blocks.
///
/// # Errors
/// [`StoreError::Conflict`] when there is another version, or another content, than was listed; what the store says otherwise.
pub(super) fn copy(
    tree: &Tree,
    from: &RemotePath,
    seen: Option<&ETag>,
    to: &RemotePath,
    wanted: &File,
    spec: &CommitSpec,
) -> Result<(), StoreError> {
    let original = tree.open(from)?;
    let meta = original.meta().clone();
    if Some(&meta.etag) != seen {
        return Err(StoreError::Conflict);
    }
    let stage = tree.store().stage(to, &StageSpec { size: Some(meta.size), etag: meta.etag })?;
    let copied = (|| {
        let (mut position, mut hasher) =
            (0, Hasher::of_kind(wanted.sha256.map_or_else(HashKind::default, |digest| digest.kind())));
        while position < meta.size {
            let block = original.block(position / BLOCK_BYTES)?;
            hasher.update(&block);
            stage.write_at(position, std::slice::from_ref(&block))?;
            position += block.len() as u64;
        }
        original.ensure_unchanged()?;
        if Some(hasher.finish()) != wanted.sha256 {
            return Err(StoreError::Conflict);
        }
        stage.commit(spec).map(drop)
    })();
    if copied.is_err() {
        // What is left of it is of use to nobody.
        let _ = stage.discard();
    }
    copied
}
