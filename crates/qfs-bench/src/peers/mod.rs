//! The programs that are compared: how each is set up, called and accounted for. Each has a file of its own.
//!
//! A peer gets the same data, the same place and its usual flags. Its server and its keys live in a directory of its
//! own below the bench's temporary one; nothing of the machine's own configuration is read or changed.

mod aria2;
mod cp;
mod curl;
mod nginx;
mod ours;
mod place;
mod rclone;
mod rsync;
mod ssh;

use std::path::Path;

pub use ours::{Ours, OursSpec};
pub use place::{Ends, Place};

use crate::BenchError;
use crate::dataset::DataSet;
use crate::process::{Daemon, Invocation, ProcessError};
use crate::scenario::{Scenario, Task};

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
    fn only_name(&self) -> Option<String> {
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

/// A program that can be set up.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// How it is called on the command line and in reports.
    pub name: &'static str,
    /// Whether it can do the scenario at all.
    pub can: fn(&Scenario) -> bool,
    /// Sets it up.
    pub start: fn(&Place<'_>) -> Started,
}

/// All peers, in the order they run.
pub const ALL: [Entry; 11] = [
    Entry { name: "curl", can: curl::can, start: curl::start },
    Entry { name: "curl+sha256sum", can: curl::can_check, start: curl::start_checked },
    Entry { name: "curl-bbr", can: over_a_link, start: curl::start_bbr },
    Entry { name: "rsync", can: rsync::can, start: rsync::start },
    Entry { name: "rsync-ssh", can: rsync::can, start: ssh::start_rsync },
    Entry { name: "scp", can: ssh::can_scp, start: ssh::start_scp },
    Entry { name: "aria2c", can: aria2::can, start: aria2::start },
    Entry { name: "rclone", can: rclone::can, start: rclone::start },
    Entry { name: "cp", can: cp::can, start: cp::start },
    // qfs with another congestion controller shows what the default is worth over a link.
    Entry { name: "qfs-cubic", can: over_a_link, start: ours::start_cubic },
    Entry { name: "qfs-bbr", can: over_a_link, start: ours::start_bbr },
];

fn over_a_link(scenario: &Scenario) -> bool {
    scenario.link.is_some() && scenario.task == Task::Fetch
}

/// The peers called `names`; `auto` means all, and `none` means none.
///
/// # Errors
/// [`BenchError::Unknown`] for a name that none has.
pub fn select(names: &[String]) -> Result<Vec<Entry>, BenchError> {
    let mut chosen = Vec::new();
    for entry in &ALL {
        if names.iter().any(|name| name == entry.name || name == "auto") {
            chosen.push(*entry);
        }
    }
    let known = |name: &str| name == "auto" || name == "none" || ALL.iter().any(|entry| entry.name == name);
    match names.iter().find(|name| !known(name)) {
        None => Ok(chosen),
        Some(unknown) => {
            let known: Vec<&str> = ["auto", "none"].into_iter().chain(ALL.iter().map(|entry| entry.name)).collect();
            Err(BenchError::Unknown { kind: "peer", name: unknown.clone(), known: known.join(", ") })
        }
    }
}
