//! Whether a name is free to be written: in a bucket nothing keeps `a` and `a/b` from being objects both, so this has to be asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use qfs_core::model::RemotePath;
use qfs_core::store::StoreError;

use super::Shared;
use super::cloud::Info;
use super::error::CloudError;
use super::listing::exists_below;

/// How long it is believed that no object has the name of a directory. Where another program makes one meanwhile, both are there,
/// and nothing is lost.
const BELIEVED: Duration = Duration::from_secs(60);
/// Directories remembered.
const MAX_REMEMBERED: usize = 4096;

/// Names of directories that were found to be no objects.
#[derive(Default)]
pub(super) struct Names(Mutex<HashMap<String, Instant>>);

impl Names {
    fn is_known(&self, key: &str) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).is_some_and(|at| at.elapsed() < BELIEVED)
    }

    fn remember(&self, key: String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(key, Instant::now());
    }

    /// An object is made under this key.
    pub(super) fn forget(&self, key: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

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
        Ok(info) => Ok(Some(info)),
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
        if shared.names.is_known(&key) {
            continue;
        }
        if head(shared, &key)?.is_some() {
            return Err(StoreError::NotRegular);
        }
        shared.names.remember(key);
    }
    Ok(())
}

/// Makes sure that an object may be made under `path`.
///
/// # Errors
/// [`StoreError::Reserved`] for a hidden name; [`StoreError::NotRegular`] when it is a directory, or an object is on the way.
pub(super) fn ensure_free(shared: &Arc<Shared>, path: &RemotePath) -> Result<(), StoreError> {
    if super::is_hidden(shared, path) {
        return Err(StoreError::Reserved);
    }
    ensure_ways(shared, path)?;
    if is_directory(shared, path)? { Err(StoreError::NotRegular) } else { Ok(()) }
}
