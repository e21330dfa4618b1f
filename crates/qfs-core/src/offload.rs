//! Where work that blocks is done: disks and hashing wait on threads of their own, never on the thread of the network.
//!
//! This crate has no runtime, so whoever assembles a program says how such threads are had: [`Threads`] carries that, and the
//! pump asks it. `qfs-store` has the threads of tokio for it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::store::StoreError;

/// Runs work on another thread.
pub trait Offload: Send + Sync {
    /// Runs `work` where blocking is allowed, or drops it when no more work is taken. Does not wait for it.
    fn run(&self, work: Box<dyn FnOnce() + Send>);
}

/// The threads where blocking work is done. Cloning is cheap.
#[derive(Clone)]
pub struct Threads(Arc<dyn Offload>);

impl Threads {
    /// The threads that `offload` provides.
    pub fn new(offload: impl Offload + 'static) -> Self {
        Self(Arc::new(offload))
    }

    /// Begins `work` at once; the result is the future's. Dropping the future does not stop the work.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Offloaded<T> {
        let (done, result) = oneshot::channel();
        // Nobody may be waiting any more.
        self.0.run(Box::new(move || drop(done.send(work()))));
        Offloaded(result)
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Threads")
    }
}

/// Work on another thread. Resolves to its result, and to [`StoreError::Io`] when it panicked or was dropped.
#[derive(Debug)]
pub struct Offloaded<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Future for Offloaded<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|result| {
            result.unwrap_or_else(|_| Err(StoreError::Io(io::Error::other("a thread for blocking work failed"))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Spawned;

    impl Offload for Spawned {
        fn run(&self, work: Box<dyn FnOnce() + Send>) {
            std::thread::spawn(work);
        }
    }

    fn wait<T>(work: Offloaded<T>) -> Result<T, StoreError> {
        work.0.blocking_recv().unwrap_or_else(|_| Err(StoreError::Busy))
    }

    #[test]
    fn a_result_comes_back_and_a_panic_becomes_an_error() {
        let threads = Threads::new(Spawned);
        assert_eq!(wait(threads.run(|| Ok(7))).unwrap(), 7);
        assert!(matches!(wait(threads.run(|| Err::<(), _>(StoreError::Changed))), Err(StoreError::Changed)));
        assert!(wait(threads.run(|| -> Result<(), StoreError> { panic!("as a test of what follows") })).is_err());
    }
}
