//! tokio's blocking threads, for everything that waits for a disk.

use qfs_core::offload::{Offload, Threads};
use qfs_core::store::StoreError;

struct TokioThreads;

impl Offload for TokioThreads {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        drop(tokio::task::spawn_blocking(work));
    }
}

/// The blocking threads of the tokio runtime that asks for work to be done. They are reached only from inside a runtime.
#[must_use]
pub fn blocking_threads() -> Threads {
    Threads::new(TokioThreads)
}

/// Runs `work` where blocking is allowed; a panic there becomes an error here instead of spreading.
///
/// # Errors
/// [`StoreError::Io`] when `work` panicked or the runtime is shutting down.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Io(std::io::Error::other(error))),
    }
}
