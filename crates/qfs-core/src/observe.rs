//! Events of a transfer: progress, metrics and logs all hang here.

use std::time::Duration;

use crate::model::{Digest, Fingerprint, RemotePath};

/// Told what happens, on the thread where it happens: must be quick.
pub trait Observer: Send + Sync {
    /// `event` has just happened.
    fn event(&self, event: Event<'_>);
}

/// Ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn event(&self, _: Event<'_>) {}
}

/// Numbers the files of one run, in the order they were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub usize);

/// Something that happened to a transfer.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The files of the run are known; what is unknown of their sizes is not counted.
    Planned {
        /// Files to fetch.
        files: usize,
        /// Bytes to fetch.
        bytes: u64,
    },
    /// A file's first answer arrived.
    Started {
        /// Which file.
        file: FileId,
        /// Its name.
        name: &'a RemotePath,
        /// Its size in bytes.
        size: u64,
        /// Bytes already here from an earlier attempt.
        resumed_from: u64,
    },
    /// Bytes of a file arrived.
    Received {
        /// Which file.
        file: FileId,
        /// How many, new ones only.
        bytes: u64,
    },
    /// Bytes of a file need not arrive: they are holes.
    Spared {
        /// Which file.
        file: FileId,
        /// How many, new ones only.
        bytes: u64,
    },
    /// A file stands verified under its final name.
    Committed {
        /// Which file.
        file: FileId,
        /// Its digest.
        sha256: Digest,
    },
    /// A file needed nothing.
    Unchanged {
        /// Which file.
        file: FileId,
    },
    /// A file failed for good.
    Failed {
        /// Which file.
        file: FileId,
    },
    /// A name turned out to be no file: what lies below it follows as files of their own. It counts as a file no more.
    Expanded {
        /// Which file it would have been; it has failed before.
        file: FileId,
    },
    /// The connection was lost and is being made anew.
    Reconnecting {
        /// Attempts since the last progress, from 1.
        attempt: u32,
        /// Wait before this one.
        wait: Duration,
        /// Why the last one ended.
        reason: &'a str,
    },
    /// The server has another key, as it had announced, and its record says so now.
    KeyRenewed {
        /// The server, as it is on record.
        server: &'a str,
        /// The key it had.
        old: Fingerprint,
        /// The key it has.
        new: Fingerprint,
    },
}
