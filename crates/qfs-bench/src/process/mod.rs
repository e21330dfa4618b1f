//! Child processes: what to run, who watches over them, what they used.
//!
//! This module owns every process that the bench starts, and guarantees that none outlives it. It must not know what
//! the programs do.

pub(crate) mod capture;
mod daemon;
mod invocation;
mod supervisor;
mod usage;

pub use daemon::Daemon;
pub use invocation::{Invocation, find_program};
pub use supervisor::{Ended, Supervisor};
pub use usage::{Usage, forget_own_peak, forget_peaks, tree_usage};

/// Why a process could not be run or watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The program is not there or cannot be executed.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program as it was named.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A daemon ended, or said nothing of use, before it was ready.
    #[error("{program} did not start: {reason}")]
    NotReady {
        /// The program as it was named.
        program: String,
        /// What it said, if anything.
        reason: String,
        /// Its exit code, when it ended by itself.
        code: Option<i32>,
    },
    /// A file for its output, or the wait for it, failed.
    #[error("cannot watch a process: {0}")]
    Watch(#[from] std::io::Error),
    /// The bench was told to stop.
    #[error("interrupted")]
    Interrupted,
}
