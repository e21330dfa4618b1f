//! What the standard library leaves to everybody to write.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`; a panic of whoever held it has left nothing half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
