//! Names that are left out of listings, and told of once.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use crate::sync::lock;
use qfs_core::model::escape_untrusted;

/// Names that were left out, each logged only the first time it is met.
#[derive(Debug, Default)]
pub(super) struct Unlistable(Mutex<HashSet<u64>>);

impl Unlistable {
    /// Names remembered, at 16 bytes each; beyond it nothing more is logged.
    const MAX_REMEMBERED: usize = 4096;

    /// Logs that `path` is left out.
    pub(super) fn warn(&self, path: &str, reason: impl fmt::Display) {
        if self.is_new(path) {
            tracing::warn!("{} is left out of listings: {reason}", escape_untrusted(path));
        }
    }

    /// Whether `path` was not told of yet; now it counts as told.
    pub(super) fn is_new(&self, path: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let mut seen = lock(&self.0);
        seen.len() < Self::MAX_REMEMBERED && seen.insert(hasher.finish())
    }
}
