//! How a finished file gets its name.

use qfs_core::store::StoreError;
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::directory::Directory;
use super::errors::write_error;

/// Makes `from` the target `to`, both in `directory`, by one rename.
pub(super) fn rename_into_place(directory: &Directory, from: &str, to: &str, replace: bool) -> Result<(), StoreError> {
    let handle = directory.handle();
    let renamed = if replace {
        rustix::fs::renameat(handle, from, handle, to)
    } else {
        match rustix::fs::renameat_with(handle, from, handle, to, rustix::fs::RenameFlags::NOREPLACE) {
            // Not every file system knows NOREPLACE; link() does the same in two steps, of which only the first decides.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(handle, from, handle, to, AtFlags::empty())
                    .and_then(|()| rustix::fs::unlinkat(handle, from, AtFlags::empty()))
            }
            done => done,
        }
    };
    renamed.map_err(|error| match error {
        Errno::EXIST | Errno::NOTEMPTY => taken(directory, to),
        error => write_error(error),
    })
}

/// Why a target cannot be made where something is already.
pub(super) fn taken(directory: &Directory, name: &str) -> StoreError {
    match rustix::fs::statat(directory.handle(), name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => StoreError::NotRegular,
        _ => StoreError::Exists,
    }
}
