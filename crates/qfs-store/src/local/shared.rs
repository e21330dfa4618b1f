//! What all operations of one store work on.

use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex};

use qfs_core::store::{CommitSpec, StoreError};

use super::directories::Directories;
use super::directory::Directory;
use super::unlistable::Unlistable;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) root: OwnedFd,
    pub(super) directories: Directories,
    pub(super) unlistable: Unlistable,
    /// How `put` makes files on this file system; see `put::Method`.
    pub(super) put_method: AtomicU8,
    /// Held by whoever replaces or removes one version only, so that of two in this process one wins.
    pub(super) conditional: Mutex<()>,
    pub(super) umask: u32,
    #[cfg(test)]
    pub(super) meanwhile: super::tests::Meanwhile,
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
        self.changed(directory, spec.durable)
    }

    /// Notes that an entry of `directory` came or went.
    pub(super) fn changed(&self, directory: &Arc<Directory>, durable: bool) -> Result<(), StoreError> {
        if durable { self.directories.mark_changed(directory) } else { Ok(()) }
    }
}
