//! Errors of the library as exceptions of Python. The classes, and which of them a code stands for, are in `python/qfs/errors.py`.

use std::path::Path;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use qfs_client::error::{Failure, FailureClass, SessionError};
use qfs_client::plan::sync::PlanError;
use qfs_client::transfer::outcome::FileOutcome;
use qfs_client::transfer::put::SourceError;
use qfs_client::transfer::sync::SyncError;
use qfs_core::model::escape_untrusted;

use crate::values::Outcome;

/// Why an operation has no result.
pub(crate) enum Fault {
    /// The library says so, where there is one of this name.
    Failure(Option<String>, Failure),
    /// There is no connection.
    Session(SessionError),
    /// Something that was asked for makes no sense.
    Usage(String),
    /// A word for it, and why.
    Local(&'static str, String),
    /// Several files failed.
    Several(Vec<FileOutcome>),
    /// The operation was ended, or its result has been taken.
    Ended,
    /// The client is closed.
    Closed,
    /// The client was made before a fork.
    OtherProcess,
}

impl Fault {
    /// A failure that has to do with the file `name`.
    pub(crate) fn of(name: &str) -> impl Fn(Failure) -> Self {
        move |failure| Self::Failure(Some(name.to_owned()), failure)
    }

    /// A path of this machine that cannot be uploaded.
    pub(crate) fn source(path: &Path, error: &SourceError) -> Self {
        let is_missing = match error {
            SourceError::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
            SourceError::Store(error) => matches!(error, qfs_core::store::StoreError::NotFound),
            _ => false,
        };
        Self::Local(if is_missing { "not_found" } else { "local" }, format!("{}: {error}", path.display()))
    }

    /// How a run ended whose files became `files`.
    pub(crate) fn of_files(files: Vec<FileOutcome>) -> Result<Vec<FileOutcome>, Self> {
        use qfs_client::transfer::outcome::Status;
        let mut failed = files.iter().filter_map(|file| match &file.status {
            Status::Failed(failure) => Some((file.name.clone(), failure.clone())),
            _ => None,
        });
        match (failed.next(), failed.next()) {
            (None, _) => Ok(files),
            (Some((name, failure)), None) => Err(Self::Failure(Some(name), failure)),
            _ => Err(Self::Several(files)),
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Failure(None, failure)
    }
}

impl From<SyncError> for Fault {
    fn from(error: SyncError) -> Self {
        match error {
            SyncError::Failure(failure) => failure.into(),
            SyncError::Plan(error @ PlanError::Names(_)) => Self::Local("local", error.to_string()),
            SyncError::Plan(error) => Self::Local("too_many_removals", error.to_string()),
            other => Self::Local("local", other.to_string()),
        }
    }
}

impl From<Fault> for PyErr {
    fn from(fault: Fault) -> Self {
        let (code, class, message, name) = match fault {
            Fault::Failure(name, failure) => {
                let message = match &name {
                    Some(name) => format!("{}: {failure}", escape_untrusted(name)),
                    None => failure.to_string(),
                };
                (failure.code(), word(failure.class()), message, name)
            }
            Fault::Session(error) => ("", word(error.class()), error.to_string(), None),
            Fault::Usage(why) => ("usage", "usage", why, None),
            Fault::Local(code, why) => (code, "local", why, None),
            Fault::Several(files) => return several(files),
            Fault::Ended => return PyRuntimeError::new_err("the operation was ended"),
            Fault::Closed => ("closed", "usage", "the client is closed".to_owned(), None),
            Fault::OtherProcess => {
                let why = "the client was made before this process was forked off: connect again in it";
                ("closed", "usage", why.to_owned(), None)
            }
        };
        raised("of", |py| (code, class, message, name).into_pyobject(py))
    }
}

fn several(files: Vec<FileOutcome>) -> PyErr {
    raised("several", |py| {
        let outcomes: Vec<_> = files.into_iter().map(Outcome::from).collect();
        (outcomes,).into_pyobject(py)
    })
}

/// What the function `maker` of `qfs.errors` makes.
fn raised<F>(maker: &str, arguments: F) -> PyErr
where
    F: for<'a> FnOnce(Python<'a>) -> PyResult<Bound<'a, PyTuple>>,
{
    Python::attach(|py| {
        let made = py.import("qfs.errors").and_then(|errors| errors.getattr(maker)?.call1(arguments(py)?));
        made.map_or_else(|error| error, PyErr::from_value)
    })
}

fn word(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Connection => "connection",
        FailureClass::Trust => "trust",
        FailureClass::Refused => "refused",
        FailureClass::Integrity => "integrity",
        FailureClass::Local => "local",
        FailureClass::Vanished => "vanished",
        FailureClass::Interrupted => "interrupted",
    }
}
