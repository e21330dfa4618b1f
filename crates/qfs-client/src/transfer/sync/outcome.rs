//! How the steps of a `pull` or `push` ended.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Failure;

/// How one step ended.
#[derive(Debug, Clone)]
pub enum StepEnd {
    /// Done.
    Done,
    /// A directory is kept, because something is in it that takes no part.
    Kept,
    /// Failed; the target is as it was.
    Failed(Failure),
    /// Not begun, because something before it failed.
    NotDone,
}

/// How a run ended.
#[derive(Debug, Clone, Default)]
pub struct SyncOutcome {
    /// Each step of the plan, in its order.
    pub ends: Vec<StepEnd>,
    /// Bytes of content that were transferred, resent ones included.
    pub bytes: u64,
    /// Bytes of transferred files that were on the target already, in older versions, and were not moved: by the number of the step, where
    /// there were any.
    pub reused: BTreeMap<usize, u64>,
    /// From the first listing to the last step.
    pub elapsed: Duration,
}

impl SyncOutcome {
    /// The failures, with the indices of their steps.
    pub fn failures(&self) -> impl Iterator<Item = (usize, &Failure)> {
        self.ends.iter().enumerate().filter_map(|(index, end)| match end {
            StepEnd::Failed(failure) => Some((index, failure)),
            _ => None,
        })
    }

    /// Bytes that were on the target already, of all transferred files.
    #[must_use]
    pub fn reused_bytes(&self) -> u64 {
        self.reused.values().sum()
    }

    /// How many steps were not begun.
    #[must_use]
    pub fn not_done(&self) -> usize {
        self.ends.iter().filter(|end| matches!(end, StepEnd::NotDone)).count()
    }
}
