//! An operation under way: Python waits for it, or is called when it has ended, looks how far it is, and may end it.

use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::task::AbortHandle;

use crate::counters::Counters;
use crate::engine::Engine;
use crate::fault::Fault;

/// What an operation results in, as Python sees it.
type Outcome = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

/// An operation under way. It ends its work when nobody holds it any more.
#[pyclass(frozen, module = "qfs._native")]
pub(crate) struct Call {
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    abort: AbortHandle,
}

struct Shared {
    state: Mutex<State>,
    ended: Condvar,
    herald: mpsc::Sender<Py<PyAny>>,
}

#[derive(Default)]
struct State {
    is_over: bool,
    outcome: Option<Outcome>,
    callback: Option<Py<PyAny>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, outcome: Option<Outcome>) {
        let mut state = self.state();
        if state.is_over {
            return;
        }
        (state.is_over, state.outcome) = (true, outcome);
        self.ended.notify_all();
        if let Some(callback) = state.callback.take() {
            // Nobody takes it when the interpreter is ending.
            let _ = self.herald.send(callback);
        }
    }
}

/// Ends the call, whatever becomes of its task.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(None);
    }
}

impl Call {
    /// Begins `work` on the thread of `engine`; `value` makes what Python sees of its result.
    ///
    /// # Errors
    /// [`Fault::OtherProcess`].
    pub(crate) fn begin<T: Send + 'static>(
        engine: &Engine,
        counters: Arc<Counters>,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
        value: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> PyResult<Self> {
        if !engine.is_here() {
            return Err(Fault::OtherProcess.into());
        }
        let herald = engine.herald().clone();
        let shared = Arc::new(Shared { state: Mutex::default(), ended: Condvar::new(), herald });
        let ending = Ending(Arc::clone(&shared));
        let task = engine.handle().spawn(async move {
            let ended = work.await;
            ending.0.end(Some(Box::new(move |py| value(py, ended?))));
        });
        Ok(Self { shared, counters, abort: task.abort_handle() })
    }
}

#[pymethods]
impl Call {
    /// Waits until it has ended, for so many seconds at most; true when it has.
    fn wait(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let patience = Duration::try_from_secs_f64(seconds).map_err(|e| PyRuntimeError::new_err(e.to_string()))?;
        py.detach(|| {
            let waiting = self.shared.ended.wait_timeout_while(self.shared.state(), patience, |state| !state.is_over);
            let (state, _) = waiting.unwrap_or_else(PoisonError::into_inner);
            Ok(state.is_over)
        })
    }

    /// Has `callback` called without arguments, on another thread, when it has ended; at once when it has.
    fn when_over(&self, callback: Py<PyAny>) {
        let mut state = self.shared.state();
        if state.is_over {
            // As above.
            let _ = self.shared.herald.send(callback);
        } else {
            state.callback = Some(callback);
        }
    }

    /// What it has resulted in, once; raises why it failed.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let outcome = self.shared.state().outcome.take();
        outcome.ok_or(Fault::Ended)?(py)
    }

    /// Bytes done and in all, files done and in all.
    fn progress(&self) -> (u64, u64, u64, u64) {
        self.counters.read()
    }

    /// Ends its work.
    pub(crate) fn cancel(&self) {
        self.abort.abort();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.abort.abort();
    }
}
