//! Names of directories that were found to be no objects: remembered, so that each file in one does not ask again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long it is believed that no object has the name of a directory. Where another program makes one meanwhile, both are there,
/// and nothing is lost.
const BELIEVED: Duration = Duration::from_secs(60);
/// Directories remembered.
const MAX_REMEMBERED: usize = 4096;

/// Names of directories that were found to be no objects.
#[derive(Default)]
pub(super) struct Ways(Mutex<HashMap<String, Instant>>);

impl Ways {
    pub(super) fn is_known(&self, key: &str) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).is_some_and(|at| at.elapsed() < BELIEVED)
    }

    pub(super) fn remember(&self, key: String) {
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
