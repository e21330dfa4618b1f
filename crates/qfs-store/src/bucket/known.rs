//! What was learnt of objects and would cost a request each to learn again: attributes by what a listing shows, digests by version.
//!
//! Bounded: two generations of each, of [`GENERATION`] entries of about 250 bytes: 33 MB at worst.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use qfs_core::model::{Digest, ETag, HashKind};

use super::attributes::{self, Attributes};

/// Entries of a generation. What was not asked for while one filled is forgotten with the one before.
const GENERATION: usize = 32 << 10;

/// See the module.
#[derive(Default)]
pub(super) struct Known {
    listed: Mutex<Generations<Described>>,
    digests: Mutex<Generations<(Option<Digest>, Option<Digest>)>>,
}

/// What an object says of itself, which need not be what a listing shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) tag: Option<String>,
    pub(super) attributes: Attributes,
}

struct Generations<T> {
    young: HashMap<u128, T>,
    old: HashMap<u128, T>,
}

impl<T> Default for Generations<T> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<T: Clone> Generations<T> {
    fn insert(&mut self, key: u128, value: T) {
        if self.young.len() >= GENERATION && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    fn get(&mut self, key: u128) -> Option<T> {
        if let Some(value) = self.young.get(&key) {
            return Some(value.clone());
        }
        let value = self.old.remove(&key)?;
        self.insert(key, value.clone());
        Some(value)
    }
}

impl Known {
    /// What the object that a listing shows so says of itself.
    pub(super) fn described(&self, listed: u128) -> Option<Described> {
        lock(&self.listed).get(listed)
    }

    /// Keeps that.
    pub(super) fn keep_described(&self, listed: u128, described: Described) {
        lock(&self.listed).insert(listed, described);
    }

    /// Keeps the digests that stand beside an object, by its version.
    pub(super) fn learn(&self, etag: &ETag, attributes: Option<&Attributes>) {
        let digests = attributes.map_or((None, None), |attributes| (attributes.sha256, attributes.blake3));
        if digests != (None, None) {
            lock(&self.digests).insert(attributes::identity(etag), digests);
        }
    }

    /// The digest of `kind` of this version.
    pub(super) fn digest(&self, etag: &ETag, kind: HashKind) -> Option<Digest> {
        let (sha256, blake3) = lock(&self.digests).get(attributes::identity(etag))?;
        match kind {
            HashKind::Sha256 => sha256,
            HashKind::Blake3 => blake3,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_keeps_what_is_asked_for() {
        let known = Known::default();
        let kept = Described { tag: Some("\"t\"".to_owned()), ..Described::default() };
        known.keep_described(u128::MAX, kept.clone());
        for n in 0..3 * GENERATION as u128 {
            known.keep_described(n, Described::default());
            if n % 1000 == 0 {
                assert_eq!(known.described(u128::MAX), Some(kept.clone()));
            }
        }
        let listed = lock(&known.listed);
        assert!(listed.young.len() + listed.old.len() <= 2 * GENERATION + 1);
    }
}
