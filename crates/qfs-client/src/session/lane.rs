//! A thread for a connection of its own, so that several connections use several processors: it drives the connection, and runs what is
//! done with it.
//!
//! Knows nothing of sessions.

use std::fmt;
use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Most threads beside it on which what was received for one lane is written and hashed.
const BLOCKING_THREADS: usize = 2;

/// A thread with a runtime. When it is dropped, what still runs there is dropped too, before the drop returns.
pub(super) struct Lane {
    handle: Handle,
    /// None only while it is being dropped; its end tells the thread to stop.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Lane {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has none.
    pub(super) fn start(number: usize) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (told, started) = mpsc::channel();
        // The runtime is made there: where there is no thread for it, none would be left behind that must not be dropped here.
        let thread = std::thread::Builder::new().name(format!("qfs-lane-{number}")).spawn(move || {
            let made = Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build();
            let runtime = match made {
                Ok(runtime) => runtime,
                Err(error) => return drop(told.send(Err(error))),
            };
            drop(told.send(Ok(runtime.handle().clone())));
            // Both its sending and its end mean the same.
            drop(runtime.block_on(stopped));
            // A slow disk must not keep the program.
            runtime.shutdown_background();
        })?;
        let handle = started.recv().unwrap_or_else(|_| Err(io::Error::other("its thread ended")))?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been told by the task that it was in.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lane")
    }
}

/// Runs `work` on the runtime of `handle`, and drops it there when this is dropped.
pub(super) async fn run_on<T: Send + 'static>(handle: &Handle, work: impl Future<Output = T> + Send + 'static) -> T {
    let task = handle.spawn(work);
    let _abort = AbortOnDrop(task.abort_handle());
    match task.await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The lane is being dropped, by whoever owns this future too.
            Err(_) => std::future::pending().await,
        },
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Told(Arc<std::sync::atomic::AtomicBool>);

    impl Drop for Told {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn work_runs_on_the_thread_of_the_lane() {
        let lane = Lane::start(3).unwrap();
        let name = run_on(lane.handle(), async { std::thread::current().name().map(str::to_owned) }).await;
        assert_eq!(name.as_deref(), Some("qfs-lane-3"));
    }

    // Fails when what a download keeps on being dropped may come behind the end of the program.
    #[tokio::test]
    async fn what_runs_there_is_dropped_before_the_lane_is() {
        let lane = Lane::start(1).unwrap();
        let dropped = Arc::default();
        let told = Told(Arc::clone(&dropped));
        let work = run_on(lane.handle(), async move {
            let _told = told;
            std::future::pending::<()>().await;
        });
        // Polled once, so that it runs there.
        tokio::select! { biased; () = work => (), () = std::future::ready(()) => () }
        drop(lane);
        assert!(dropped.load(std::sync::atomic::Ordering::SeqCst));
    }

    #[tokio::test]
    #[should_panic(expected = "as a test of what follows")]
    async fn a_panic_there_is_one_here() {
        let lane = Lane::start(1).unwrap();
        run_on(lane.handle(), async { panic!("as a test of what follows") }).await
    }
}
