//! One directory that files are written to.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use qfs_core::store::StoreError;

use super::errors::io_error;

/// Device and inode.
pub(super) type DirectoryId = (u64, u64);

/// A directory below the root, or the root itself.
#[derive(Debug)]
pub(super) struct Directory {
    handle: OwnedFd,
    id: DirectoryId,
    /// Levels below the root.
    depth: usize,
}

impl Directory {
    /// `depth` is how many levels below the root it is.
    pub(super) fn new(handle: OwnedFd, depth: usize) -> Result<Self, StoreError> {
        let id = identify(&handle)?;
        Ok(Self { handle, id, depth })
    }

    pub(super) fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    pub(super) fn id(&self) -> DirectoryId {
        self.id
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }
}

#[allow(clippy::useless_conversion, reason = "the width of these fields differs between architectures")]
pub(super) fn identify(handle: &OwnedFd) -> Result<DirectoryId, StoreError> {
    let stat = rustix::fs::fstat(handle).map_err(io_error)?;
    Ok((stat.st_dev.into(), stat.st_ino.into()))
}
