//! Where objects come from and where they go.
//!
//! This is the contract; `qfs-store` implements it. The server publishes through [`Store`], whoever receives writes through
//! [`WriteStore`]. Implementations never see the wire.
//!
//! | module | owns |
//! |---|---|
//! | `read` | opening, reading and listing |
//! | `write` | staging, committing, removing, directories and links |
//! | `versions` | open versions shared by their readers |
//! | `live` | objects that are being appended to, as long as they were when they were opened |
//! | `digest_cache` | digests of versions that were hashed once |
//!
//! # Why it blocks
//! All methods block; whoever calls them decides which thread waits ([`crate::offload::Threads`]). A disk has no other interface, so
//! an asynchronous contract would send every system call to such a thread by itself, while a blocking one lets a caller put a
//! whole step (open, stat, read, hash, check) into one hop. The methods are compound for the same reason: one call is one hop
//! for a disk and one request for a bucket. A bucket's implementation waits for its requests on the same threads, and needs more
//! of them than a disk does.

use std::fmt;
use std::io;

mod digest_cache;
mod live;
mod read;
mod versions;
mod write;

pub use digest_cache::DigestCache;
pub use live::Live;
pub use read::{
    DirectoryMeta, Entry, LeaveOut, LinkMeta, ListQuery, Object, ObjectMeta, Omission, Opened, Store, Visit,
};
pub use versions::{BLOCK_BYTES, Version, Versions, Whole};
pub use write::{CommitSpec, Condition, Space, StageSpec, StagedObject, TargetMeta, WriteStore};

/// Why a store could not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing readable is published under this name.
    #[error("no such file")]
    NotFound,
    /// There is a target already.
    #[error("the file exists")]
    Exists,
    /// Something other than a regular file, or a symbolic link on the way, is where the target would go.
    #[error("not a regular file, or a symbolic link on the way")]
    NotRegular,
    /// Another version than the one named is where the target would go, or none.
    #[error("another version of the file is there, or none")]
    Conflict,
    /// The directory still has something in it.
    #[error("the directory is not empty")]
    NotEmpty,
    /// The store keeps nothing under such a name: it is hidden, or one of the store's own.
    #[error("a hidden or reserved name")]
    Reserved,
    /// The symbolic link would lead out of the store.
    #[error("the link leads outside")]
    Outside,
    /// The store has no such thing, as a bucket has no links.
    #[error("not supported by this kind of store")]
    Unsupported,
    /// The object changed since it was opened.
    #[error("the file changed while it was read")]
    Changed,
    /// The disk or quota is full, or would be.
    #[error("no space left: {}", Shortage(*needed, *available))]
    NoSpace {
        /// Bytes that were to be written, when known.
        needed: Option<u64>,
        /// Bytes that are free, when known.
        available: Option<u64>,
    },
    /// File descriptors or memory ran out; later it may work.
    #[error("out of file descriptors or memory")]
    Busy,
    /// The operating system refused or failed.
    #[error("{0}")]
    Io(#[source] io::Error),
}

struct Shortage(Option<u64>, Option<u64>);

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(needed), Some(available)) => write!(f, "{needed} bytes needed, {available} free"),
            _ => f.write_str("the disk or quota is full"),
        }
    }
}
