//! Whether a name is free to be written: in a bucket nothing keeps `a` and `a/b` from being objects both, so this has to be asked.

use std::sync::Arc;

use qfs_core::model::RemotePath;
use qfs_core::store::StoreError;

use super::cloud::Info;
use super::error::CloudError;
use super::listing::exists_below;
use super::shared::{Shared, is_hidden};

/// What is under a name.
pub(super) enum There {
    Nothing,
    Object(Box<Info>),
    Directory,
}

/// What is under `path`.
///
/// # Errors
/// [`StoreError::NotRegular`] when an object has the name of a directory on the way; what asking failed with.
pub(super) fn look(shared: &Arc<Shared>, path: &RemotePath) -> Result<There, StoreError> {
    let key = shared.key(path);
    match head(shared, &key)? {
        Some(info) => Ok(There::Object(Box::new(info))),
        None if is_directory(shared, path)? => Ok(There::Directory),
        None => ensure_ways(shared, path).map(|()| There::Nothing),
    }
}

/// The object under `key`, if there is one.
pub(super) fn head(shared: &Shared, key: &str) -> Result<Option<Info>, StoreError> {
    match shared.wait(shared.cloud.head(key)) {
        Ok(info) => Ok(Some(shared.named(info))),
        Err(CloudError::Missing) => Ok(None),
        Err(error) => Err(error.into_store()),
    }
}

/// Whether anything is below `path`, or it was made a directory.
pub(super) fn is_directory(shared: &Arc<Shared>, path: &RemotePath) -> Result<bool, StoreError> {
    exists_below(shared, &format!("{}/", shared.key(path))).map_err(CloudError::into_store)
}

/// Makes sure that no directory on the way to `path` is an object.
///
/// # Errors
/// [`StoreError::NotRegular`].
pub(super) fn ensure_ways(shared: &Arc<Shared>, path: &RemotePath) -> Result<(), StoreError> {
    for (end, _) in path.as_str().match_indices('/') {
        let key = format!("{}{}", shared.prefix, &path.as_str()[..end]);
        if shared.ways.is_known(&key) {
            continue;
        }
        if head(shared, &key)?.is_some() {
            return Err(StoreError::NotRegular);
        }
        shared.ways.remember(key);
    }
    Ok(())
}

/// Makes sure that an object may be made under `path`.
///
/// # Errors
/// [`StoreError::Reserved`] for a hidden name; [`StoreError::NotRegular`] when it is a directory, or an object is on the way.
pub(super) fn ensure_free(shared: &Arc<Shared>, path: &RemotePath) -> Result<(), StoreError> {
    if is_hidden(shared, path) {
        return Err(StoreError::Reserved);
    }
    ensure_ways(shared, path)?;
    if is_directory(shared, path)? { Err(StoreError::NotRegular) } else { Ok(()) }
}
