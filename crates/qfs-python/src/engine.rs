//! The thread on which a client's work is done. Each client has one, so that there is no state that clients share.

use std::io;
use std::sync::mpsc;
use std::thread;

use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How long blocking steps that are under way may take when a client ends, before they are left to themselves.
const LAST_STEPS: std::time::Duration = std::time::Duration::from_secs(1);

/// A thread with a runtime, which ends when this is dropped.
pub(crate) struct Engine {
    handle: Handle,
    /// Calls back into Python, so that the thread of the network never waits for the interpreter.
    herald: mpsc::Sender<Py<PyAny>>,
    /// The process that has the thread: a fork does not take it along.
    process: u32,
    /// Dropped to end the thread.
    _running: oneshot::Sender<()>,
}

impl Engine {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the system says when there can be none.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().thread_name("qfs-disk").build()?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel::<()>();
        thread::Builder::new().name("qfs".to_owned()).spawn(move || {
            // Ends with an error when the engine is dropped, which is all that is waited for.
            let _ = runtime.block_on(ended);
            runtime.shutdown_timeout(LAST_STEPS);
        })?;
        let (herald, news) = mpsc::channel::<Py<PyAny>>();
        thread::Builder::new().name("qfs-news".to_owned()).spawn(move || {
            for callback in news {
                // None when the interpreter is ending: then nobody listens.
                Python::try_attach(|py| {
                    if let Err(error) = callback.call0(py) {
                        error.write_unraisable(py, Some(callback.bind(py)));
                    }
                    drop(callback);
                });
            }
        })?;
        Ok(Self { handle, herald, process: std::process::id(), _running: running })
    }

    /// Where work is spawned.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Where callbacks go that are to be called.
    pub(crate) fn herald(&self) -> &mpsc::Sender<Py<PyAny>> {
        &self.herald
    }

    /// Whether the thread is in this process.
    pub(crate) fn is_here(&self) -> bool {
        self.process == std::process::id()
    }
}
