//! How a run ended.

use std::time::Duration;

use qfs_core::model::Digest;

use crate::error::Failure;
use crate::insight::bottleneck::Measurements;

/// How one file ended.
#[derive(Debug, Clone)]
pub struct FileOutcome {
    /// The name as it was asked for; not safe to print.
    pub name: String,
    /// Size of the whole file in bytes, when known.
    pub size: Option<u64>,
    /// Digest of the file under its final name, when known.
    pub digest: Option<Digest>,
    /// What became of it.
    pub status: Status,
    /// Bytes of body received for it, resent ones included.
    pub received: u64,
    /// Bytes of it that were here already, in an older version or in other files, and did not have to be received.
    pub reused: u64,
    /// From its request to its commit.
    pub elapsed: Duration,
}

impl FileOutcome {
    /// One that failed before anything was asked for.
    #[must_use]
    pub fn failed(name: &str, failure: Failure) -> Self {
        Self {
            name: name.to_owned(),
            size: None,
            digest: None,
            status: Status::Failed(failure),
            received: 0,
            reused: 0,
            elapsed: Duration::ZERO,
        }
    }
}

/// What became of a file.
#[derive(Debug, Clone)]
pub enum Status {
    /// Fetched from its first byte.
    Downloaded,
    /// Fetched from its first byte, as long as it was when it was opened: it has grown meanwhile.
    Live,
    /// Continued where an earlier run was cut off.
    Resumed,
    /// Sent from its first byte; the server has verified it.
    Uploaded,
    /// No longer there.
    Removed,
    /// Already there with the same content.
    Unchanged,
    /// Not fetched; whatever stood under its name still does.
    Failed(Failure),
}

impl Status {
    /// The word for it in machine output.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Downloaded => "downloaded",
            Self::Live => "live",
            Self::Resumed => "resumed",
            Self::Uploaded => "uploaded",
            Self::Removed => "removed",
            Self::Unchanged => "unchanged",
            Self::Failed(_) => "failed",
        }
    }
}

/// How a whole run ended.
#[derive(Debug, Clone, Default)]
pub struct RunOutcome {
    /// Every file, in the order they were asked for.
    pub files: Vec<FileOutcome>,
    /// From the first request to the last commit.
    pub elapsed: Duration,
    /// What was measured, when that was asked for.
    pub measured: Option<Measurements>,
    /// Whether the server could not list everything that it has, where a listing was asked for.
    pub server_is_partial: bool,
}

impl RunOutcome {
    /// Bytes of body received.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.files.iter().map(|file| file.received).sum()
    }

    /// Bytes that were here already and did not have to be received.
    #[must_use]
    pub fn reused(&self) -> u64 {
        self.files.iter().map(|file| file.reused).sum()
    }

    /// Whether nothing was fetched because the server has none of what was named.
    #[must_use]
    pub fn is_all_unfound(&self) -> bool {
        let is_unfound = |file: &FileOutcome| matches!(&file.status, Status::Failed(f) if f.code() == "not_found");
        !self.files.is_empty() && self.files.iter().all(is_unfound)
    }

    /// The failures, in order.
    pub fn failures(&self) -> impl Iterator<Item = (&FileOutcome, &Failure)> {
        self.files.iter().filter_map(|file| match &file.status {
            Status::Failed(failure) => Some((file, failure)),
            _ => None,
        })
    }
}
