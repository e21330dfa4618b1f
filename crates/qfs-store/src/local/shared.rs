//! What all operations of one store work on.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use qfs_core::store::{CommitSpec, StoreError};

use super::directories::Directories;
use super::directory::Directory;
use super::list::Unlistable;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) root: OwnedFd,
    pub(super) directories: Directories,
    pub(super) unlistable: Unlistable,
    /// How `put` makes files on this file system; see `put::Method`.
    pub(super) put_method: AtomicU8,
}

impl Shared {
    /// Everything that follows the appearance of a target under its name.
    pub(super) fn committed(
        &self,
        directory: &Arc<Directory>,
        name: &str,
        spec: &CommitSpec,
    ) -> Result<(), StoreError> {
        self.directories.leftovers().sweep(directory, name);
        if spec.durable { self.directories.mark_changed(directory) } else { Ok(()) }
    }
}
