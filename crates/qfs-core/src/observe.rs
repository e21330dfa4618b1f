//! Events of a transfer, for progress, metrics and logs.

use std::time::Duration;

use crate::model::{Digest, Fingerprint, HashKind, RemotePath};

/// Is told what happens, on the thread where it happens, and so must be quick.
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
    /// The files of the run are known. Sizes that are not known are not counted.
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
    /// A file is verified and has its final name.
    Committed {
        /// Which file.
        file: FileId,
        /// Its digest.
        digest: Digest,
    },
    /// A file is already here and unchanged.
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
    /// The connection was lost, and another attempt to replace it begins.
    Reconnecting {
        /// Attempts since the last progress, from 1.
        attempt: u32,
        /// Wait before this one.
        wait: Duration,
        /// Why the last one ended.
        reason: &'a str,
    },
    /// Nothing came over the one way any more, or the other answered after all; what is under way goes on over the other.
    WayChanged {
        /// The way that was in use.
        from: &'a str,
        /// The one that works.
        to: &'a str,
        /// Whether the one that was in use works too, and the other one was only late.
        is_late: bool,
    },
    /// The server does not know the digests that were asked for, and gives others.
    OtherHash {
        /// What was asked for.
        asked: HashKind,
        /// What there is.
        given: HashKind,
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
    /// Something about one of several servers of the same files.
    Mirror {
        /// The server, as it was named.
        server: &'a str,
        /// What it is.
        news: MirrorNews<'a>,
    },
}

/// What there is to say of one of several servers of the same files. Texts are not safe to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MirrorNews<'a> {
    /// It could not be reached, for this reason; the others go on.
    Unreachable(&'a str),
    /// The connection to it is lost, for this reason; the others go on, and it is sought again.
    Lost(&'a str),
    /// It can be asked again.
    Back,
    /// It was not found again, for this reason.
    Dropped(&'a str),
    /// It sent what is not so, namely this, and is asked for nothing more.
    Lied(&'a str),
    /// It has another version of the file of this name than the first server that has it.
    Differs(&'a str),
}
