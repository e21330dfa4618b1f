//! What a `pull` or `push` is asked for.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use qfs_core::model::RemotePath;

use crate::plan::sync::Options;

/// Which side becomes like the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The directory here becomes like the server.
    Pull,
    /// The server becomes like the directory here.
    Push,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    /// Which side becomes like the other.
    pub direction: Direction,
    /// The directory on the server; None for all that it has.
    pub prefix: Option<RemotePath>,
    /// The directory here.
    pub directory: PathBuf,
    /// What is compared and carried, and what is removed. The names that the target can carry are found out.
    pub options: Options,
}

/// How steps are carried out.
#[derive(Debug, Clone, Copy, Default)]
pub struct SyncConfig {
    /// Files under way at once; None for a number that suits the direction.
    pub parallel: Option<NonZeroUsize>,
    /// Connections, over which files take turns; None: one.
    pub connections: Option<NonZeroUsize>,
    /// Whether a file counts only once it is on stable storage.
    pub durable: bool,
    /// Whether holes are fetched and stored as the zeros that they read as.
    pub dense: bool,
    /// Whether it is carried that a file may be executed.
    pub perms: bool,
}
