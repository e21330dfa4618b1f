//! What a failure of the system means to whoever uses the store.

use std::io;

use qfs_core::store::StoreError;
use rustix::io::Errno;

/// What a failure on the way to published bytes means: whatever tells of the machine behind them is one `NotFound`.
pub(super) fn read_error(error: Errno) -> StoreError {
    match error {
        Errno::NOENT | Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::XDEV => {
            StoreError::NotFound
        }
        Errno::NXIO | Errno::NODEV | Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ | Errno::OVERFLOW => {
            StoreError::NotFound
        }
        error => shortage(error).unwrap_or_else(|| io_error(error)),
    }
}

/// What a failure on the writing side means. `NotFound` is a directory that vanished.
pub(super) fn write_error(error: Errno) -> StoreError {
    match error {
        Errno::NOENT => StoreError::NotFound,
        Errno::EXIST => StoreError::Exists,
        Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::XDEV => StoreError::NotRegular,
        // A file size limit (ulimit -f, or the file system's own) is as final as a full disk.
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => StoreError::NoSpace { needed: None, available: None },
        error => shortage(error).unwrap_or_else(|| io_error(error)),
    }
}

/// [`StoreError::Busy`], where waiting may help.
pub(super) fn shortage(error: Errno) -> Option<StoreError> {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN)
        .then_some(StoreError::Busy)
}

pub(super) fn io_error(error: Errno) -> StoreError {
    StoreError::Io(io::Error::from(error))
}
