//! What operations result in, as Python sees it.

use jiff::Timestamp;
use pyo3::prelude::*;
use qfs_client::plan::sync::Step as PlanStep;
use qfs_client::transfer::look::Found;
use qfs_client::transfer::outcome::{FileOutcome, Status};
use qfs_core::model::Digest;
use qfs_core::wire::Kind;

/// What the server has under a name.
#[pyclass(frozen, get_all, module = "qfs")]
pub(crate) struct Entry {
    name: String,
    kind: &'static str,
    size: u64,
    /// Seconds since 1970; None where it is not known.
    mtime: Option<f64>,
    digest: Option<String>,
    etag: Option<String>,
    executable: bool,
    target: Option<String>,
}

impl Entry {
    pub(crate) fn new(name: &str, found: Found) -> Self {
        let Found { kind, size, modified, etag, digest, executable, target } = found;
        let kind = match kind {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Link => "link",
        };
        let (digest, etag) = (digest.map(text), etag.map(|etag| etag.to_string()));
        Self { name: name.to_owned(), kind, size, mtime: modified.map(seconds), digest, etag, executable, target }
    }
}

#[pymethods]
impl Entry {
    fn __repr__(&self) -> String {
        format!("Entry(name={:?}, kind={:?}, size={})", self.name, self.kind, self.size)
    }
}

/// How one file ended.
#[pyclass(frozen, get_all, module = "qfs")]
pub(crate) struct Outcome {
    name: String,
    status: &'static str,
    size: Option<u64>,
    digest: Option<String>,
    /// Bytes that were transferred for it.
    transferred: u64,
    seconds: f64,
    /// Why it failed: the word for it, and a sentence.
    error: Option<(String, String)>,
}

impl From<FileOutcome> for Outcome {
    fn from(file: FileOutcome) -> Self {
        let error = match &file.status {
            Status::Failed(failure) => Some((failure.code().to_owned(), failure.to_string())),
            _ => None,
        };
        Self {
            status: file.status.name(),
            size: file.size,
            digest: file.digest.map(text),
            transferred: file.received,
            seconds: file.elapsed.as_secs_f64(),
            name: file.name,
            error,
        }
    }
}

#[pymethods]
impl Outcome {
    fn __repr__(&self) -> String {
        format!("Outcome(name={:?}, status={:?})", self.name, self.status)
    }
}

/// One step of a `pull` or `push`.
#[pyclass(frozen, get_all, module = "qfs")]
pub(crate) struct Step {
    action: &'static str,
    name: String,
}

impl From<&PlanStep> for Step {
    fn from(step: &PlanStep) -> Self {
        let action = match step {
            PlanStep::MakeDirectory { .. } => "make_directory",
            PlanStep::CopyOnTarget { .. } => "copy",
            PlanStep::Transfer { .. } => "transfer",
            PlanStep::MakeLink { .. } => "make_link",
            PlanStep::SetMetadata { .. } => "set_metadata",
            PlanStep::RemoveFile { .. } | PlanStep::RemoveLink { .. } | PlanStep::RemoveDirectory { .. } => "remove",
            PlanStep::SetDirectoryTime { .. } => "set_directory_time",
        };
        Self { action, name: step.path().as_str().to_owned() }
    }
}

#[pymethods]
impl Step {
    fn __repr__(&self) -> String {
        format!("Step(action={:?}, name={:?})", self.action, self.name)
    }
}

/// As it stands in `sha256:HEX`.
fn text(digest: Digest) -> String {
    format!("{}:{digest}", digest.kind().name())
}

fn seconds(time: Timestamp) -> f64 {
    time.as_nanosecond() as f64 / 1e9
}
