//! A copy of a file within a directory here.

use qfs_core::body;
use qfs_core::model::{ETag, HashKind, RemotePath};
use qfs_core::store::{CommitSpec, StageSpec, StoreError, WriteStore as _};

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
        let kind = wanted.sha256.map_or_else(HashKind::default, |digest| digest.kind());
        if Some(body::copy(&original, &*stage, kind)?) != wanted.sha256 {
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
