//! What can be done on the side that is written to.

use qfs_core::model::RemotePath;

use crate::error::Failure;
use crate::plan::sync::{Condition, File, Step};
use crate::transfer::outcome::FileOutcome;

/// A file to transfer.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The number of its step.
    pub(super) step: usize,
    pub(super) path: RemotePath,
    pub(super) file: File,
    pub(super) onto: Condition,
}

/// What a step came to that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Performed {
    Done,
    /// A directory that is not empty.
    Kept,
}

/// How a transfer ended.
#[derive(Debug)]
pub(super) struct Transferred {
    /// The number of its step.
    pub(super) step: usize,
    /// Bytes that were transferred, resent ones included.
    pub(super) moved: u64,
    /// Bytes that were on the target already.
    pub(super) reused: u64,
    pub(super) ended: Result<(), Failure>,
}

impl Transferred {
    /// One of which nothing was transferred.
    pub(super) fn failed(step: usize, failure: Failure) -> Self {
        Self { step, moved: 0, reused: 0, ended: Err(failure) }
    }

    /// As `outcome` says, `ended` like this.
    pub(super) fn of(step: usize, outcome: &FileOutcome, ended: Result<(), Failure>) -> Self {
        let reused = if ended.is_ok() { outcome.reused } else { 0 };
        Self { step, moved: outcome.received, reused, ended }
    }
}

/// The side that is written to.
pub(super) trait Target {
    /// Steps that are carried out at once.
    const AT_ONCE: usize;

    /// Carries out a step that is no transfer, under the condition that it names.
    async fn perform(&self, step: &Step) -> Result<Performed, Failure>;

    /// Transfers files, and tells `done` of each as it ends, in no order.
    async fn transfer(&mut self, files: Vec<Wanted>, done: &mut (dyn FnMut(Transferred) + Send));

    /// What remains to be done at the end of a run in which anything was changed.
    async fn finish(&mut self) -> Result<(), Failure>;
}
