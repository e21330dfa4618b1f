//! A file that is open for reading.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use qfs_client::transfer::remote_file::RemoteFile;

use crate::call::Call;
use crate::counters::Counters;
use crate::engine::Engine;
use crate::fault::Fault;

/// One version of a file on the server, which is read in parts.
#[pyclass(frozen, module = "qfs._native")]
pub(crate) struct File {
    engine: Arc<Engine>,
    file: RemoteFile,
}

impl File {
    pub(crate) fn new(engine: Arc<Engine>, file: RemoteFile) -> Self {
        Self { engine, file }
    }
}

#[pymethods]
impl File {
    /// Size in bytes.
    #[getter]
    fn size(&self) -> u64 {
        self.file.size()
    }

    /// Up to `length` bytes from `offset` on.
    fn read_at(&self, offset: u64, length: usize) -> PyResult<Call> {
        let file = self.file.clone();
        let work = async move { file.read_at(offset, length).await.map_err(Fault::of(file.path().as_str())) };
        Call::begin(&self.engine, Arc::<Counters>::default(), work, |py, bytes| {
            Ok(PyBytes::new(py, &bytes).into_any().unbind())
        })
    }
}
