//! An upload whose bytes come one after another. The file appears when it is finished, and not at all when it is dropped before.

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use pyo3::prelude::*;
use tokio::sync::mpsc;

use crate::call::Call;
use crate::counters::Counters;
use crate::engine::Engine;
use crate::fault::Fault;

/// Blocks that wait to be sent; Python hands over no more than a few hundred KiB at once.
pub(crate) const BLOCKS_AHEAD: usize = 4;

/// See the module.
#[pyclass(frozen, module = "qfs._native")]
pub(crate) struct Upload {
    engine: Arc<Engine>,
    /// None once it is finished.
    blocks: Mutex<Option<mpsc::Sender<std::io::Result<Bytes>>>>,
    /// What it comes to, until it is asked for.
    ending: Mutex<Option<Py<Call>>>,
}

impl Upload {
    pub(crate) fn new(engine: Arc<Engine>, blocks: mpsc::Sender<std::io::Result<Bytes>>, ending: Py<Call>) -> Self {
        Self { engine, blocks: Mutex::new(Some(blocks)), ending: Mutex::new(Some(ending)) }
    }
}

#[pymethods]
impl Upload {
    /// Hands over more bytes, when there is room for them. Results in false when the upload has ended: `finish` tells why.
    fn write(&self, data: &[u8]) -> PyResult<Call> {
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let block = Bytes::copy_from_slice(data);
        let work = async move {
            match blocks {
                Some(blocks) => Ok(blocks.send(Ok(block)).await.is_ok()),
                None => Err(Fault::Ended),
            }
        };
        Call::begin(&self.engine, Arc::<Counters>::default(), work, |py, taken| {
            Ok(taken.into_pyobject(py)?.to_owned().into_any().unbind())
        })
    }

    /// All has been written: the call that ends with the file's outcome.
    fn finish(&self) -> PyResult<Py<Call>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner).take();
        ending.ok_or_else(|| Fault::Ended.into())
    }

    /// Ends it: nothing appears on the server.
    fn abort(&self, py: Python<'_>) {
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ending) = ending {
            ending.get().cancel();
            drop(ending.into_bound(py));
        }
    }
}
