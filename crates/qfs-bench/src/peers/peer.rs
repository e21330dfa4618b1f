//! What every peer is, and what it is asked to do.

use std::path::Path;

use crate::dataset::DataSet;
use crate::process::{Daemon, Invocation, ProcessError};
use crate::scenario::Task;

/// A program set up for one scenario, its server running.
pub trait Peer: std::fmt::Debug {
    /// What it does, in a few words for the report.
    fn about(&self) -> String;

    /// The command of one process of a run.
    fn command(&self, job: &Job<'_>) -> Invocation;

    /// Its server, where it has one.
    fn daemon(&self) -> Option<&Daemon>;
}

/// What one process of a run has to do.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The task.
    pub task: Task,
    /// The data set.
    pub data: &'a DataSet,
    /// The destination, an existing directory.
    pub dest: &'a Path,
}

impl Job<'_> {
    /// The name of its only file; `None` when it has many.
    pub(super) fn only_name(&self) -> Option<String> {
        (self.data.shape.files == 1).then(|| self.data.shape.name(0))
    }
}

/// Why a peer takes no part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// A program it consists of is not installed.
    #[error("{0} is not installed")]
    Missing(&'static str),
    /// Its configuration could not be written.
    #[error("cannot set it up: {0}")]
    Setup(String),
    /// Its server did not start.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl From<std::io::Error> for PeerError {
    fn from(error: std::io::Error) -> Self {
        Self::Setup(error.to_string())
    }
}

/// A peer that is set up, or why it is not.
pub type Started = Result<Box<dyn Peer>, PeerError>;
