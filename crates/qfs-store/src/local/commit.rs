//! How a finished file gets its name, and how a name loses its file: each in one step that keeps the condition.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, retry_on_intr};

use super::directory::Directory;
use super::errors::write_error;
use super::partial;
use super::shared::Shared;
use super::stamp::Stamp;
use crate::sync::lock;
use qfs_core::model::ETag;
use qfs_core::store::{Condition, StoreError};

/// How often two files are exchanged back when other programs replace them at the same time.
const RESTORE_ATTEMPTS: usize = 8;

/// Makes `from` the target `to`, both in `directory`. When the condition does not hold, `from` is there as before.
pub(super) fn rename_into_place(
    shared: &Shared,
    directory: &Directory,
    from: &str,
    to: &str,
    condition: &Condition,
) -> Result<(), StoreError> {
    let handle = directory.handle();
    let renamed = match condition {
        Condition::Any => rustix::fs::renameat(handle, from, handle, to),
        Condition::Absent => match rustix::fs::renameat_with(handle, from, handle, to, RenameFlags::NOREPLACE) {
            // Not every file system knows NOREPLACE; link() does the same in two steps, of which only the first decides.
            Err(error) if is_unknown(error) => rustix::fs::linkat(handle, from, handle, to, AtFlags::empty())
                .and_then(|()| rustix::fs::unlinkat(handle, from, AtFlags::empty())),
            done => done,
        },
        Condition::Matches(etag) => return replace_version(shared, directory, from, to, etag),
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

/// Removes the file or link `name`.
pub(super) fn remove(
    shared: &Shared,
    directory: &Directory,
    name: &str,
    condition: &Condition,
) -> Result<(), StoreError> {
    let stat = rustix::fs::statat(directory.handle(), name, AtFlags::SYMLINK_NOFOLLOW).map_err(write_error)?;
    match (condition, FileType::from_raw_mode(stat.st_mode)) {
        (Condition::Any, FileType::RegularFile | FileType::Symlink) => unlink(directory, name),
        (Condition::Matches(etag), FileType::RegularFile) => remove_version(shared, directory, name, etag),
        (Condition::Matches(_), FileType::Symlink) => Err(StoreError::Conflict),
        (Condition::Absent, FileType::RegularFile | FileType::Symlink) => Err(StoreError::Exists),
        _ => Err(StoreError::NotRegular),
    }
}

fn unlink(directory: &Directory, name: &str) -> Result<(), StoreError> {
    // Without REMOVEDIR this never removes a directory, whatever came there meanwhile.
    rustix::fs::unlinkat(directory.handle(), name, AtFlags::empty()).map_err(write_error)
}

/// Takes the file out under a name that nobody looks for, and deletes it only if it is the version `etag`.
fn remove_version(shared: &Shared, directory: &Directory, name: &str, etag: &ETag) -> Result<(), StoreError> {
    let _alone = lock(&shared.conditional);
    let found = Pinned::open(directory, name, etag)?;
    #[cfg(test)]
    shared.meanwhile();
    let handle = directory.handle();
    let passing = partial::passing_name();
    match rustix::fs::renameat_with(handle, name, handle, &*passing, RenameFlags::NOREPLACE) {
        Ok(()) if found.is_at(directory, &passing) => unlink(directory, &passing),
        Ok(()) => {
            // Whoever put something there meanwhile has replaced what was taken out.
            if rustix::fs::renameat_with(handle, &*passing, handle, name, RenameFlags::NOREPLACE).is_err() {
                unlink(directory, &passing)?;
            }
            Err(StoreError::Conflict)
        }
        Err(Errno::NOENT) => Err(StoreError::Conflict),
        Err(error) if is_unknown(error) => {
            Pinned::open(directory, name, etag)?;
            unlink(directory, name)
        }
        Err(error) => Err(write_error(error)),
    }
}

/// Removes the link `name`, if it leads to `text` where that is given. As with a version, it is taken out first, so that what came there
/// meanwhile is not lost.
pub(super) fn remove_link(
    shared: &Shared,
    directory: &Directory,
    name: &str,
    text: Option<&str>,
) -> Result<(), StoreError> {
    let _alone = lock(&shared.conditional);
    let handle = directory.handle();
    ensure_link(directory, name, text)?;
    #[cfg(test)]
    shared.meanwhile();
    let passing = partial::passing_name();
    match rustix::fs::renameat_with(handle, name, handle, &*passing, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(error) if is_unknown(error) => return unlink(directory, name),
        Err(error) => return Err(write_error(error)),
    }
    if ensure_link(directory, &passing, text).is_ok() {
        return unlink(directory, &passing);
    }
    // Whoever put something there meanwhile has replaced what was taken out, unless that is a directory, which nobody can replace so.
    if rustix::fs::renameat_with(handle, &*passing, handle, name, RenameFlags::NOREPLACE).is_err() {
        unlink(directory, &passing)?;
    }
    Err(StoreError::Conflict)
}

fn ensure_link(directory: &Directory, name: &str, text: Option<&str>) -> Result<(), StoreError> {
    match rustix::fs::readlinkat(directory.handle(), name, Vec::new()) {
        Ok(found) if text.is_none_or(|text| found.to_bytes() == text.as_bytes()) => Ok(()),
        Ok(_) => Err(StoreError::Conflict),
        Err(Errno::INVAL) => Err(StoreError::NotRegular),
        Err(error) => Err(write_error(error)),
    }
}

/// Exchanges `from` and `to`, and deletes what came out only if it is the version `etag`; see [`Condition::Matches`].
fn replace_version(
    shared: &Shared,
    directory: &Directory,
    from: &str,
    to: &str,
    etag: &ETag,
) -> Result<(), StoreError> {
    let _alone = lock(&shared.conditional);
    let found = Pinned::open(directory, to, etag)?;
    #[cfg(test)]
    shared.meanwhile();
    let ours = identify(directory, from)?;
    match exchange(directory, from, to) {
        Ok(()) if found.is_at(directory, from) => {
            if let Err(error) = partial::remove(directory, from) {
                tracing::debug!(%error, "a replaced file stays behind under a temporary name");
            }
            Ok(())
        }
        Ok(()) => {
            exchange_back(directory, from, to, ours)?;
            Err(StoreError::Conflict)
        }
        // Ours was there just now, so it is the target that went, or the whole directory.
        Err(Errno::NOENT) => Err(identify(directory, from).map_or_else(|gone| gone, |_| StoreError::Conflict)),
        Err(error) if is_unknown(error) => {
            Pinned::open(directory, to, etag)?;
            rustix::fs::renameat(directory.handle(), from, directory.handle(), to).map_err(write_error)
        }
        Err(error) => Err(write_error(error)),
    }
}

/// Puts what lies at `from` back under `to`, where `ours` is now.
fn exchange_back(directory: &Directory, from: &str, to: &str, ours: FileId) -> Result<(), StoreError> {
    let mut at_target = ours;
    for _ in 0..RESTORE_ATTEMPTS {
        let returned = identify(directory, from)?;
        match exchange(directory, from, to) {
            Ok(()) => {}
            // Somebody removed the name: what was under it is kept all the same.
            Err(Errno::NOENT) => {
                let handle = directory.handle();
                return rustix::fs::renameat_with(handle, from, handle, to, RenameFlags::NOREPLACE)
                    .map_err(write_error);
            }
            Err(error) => return Err(write_error(error)),
        }
        let out = identify(directory, from)?;
        if out == at_target {
            // Not ours when somebody else replaced ours: then it is what they replaced without knowing.
            return if out == ours { Ok(()) } else { unlink(directory, from) };
        }
        // Somebody replaced the target meanwhile: theirs is the newest, and goes back.
        at_target = returned;
    }
    Ok(())
}

fn exchange(directory: &Directory, one: &str, other: &str) -> Result<(), Errno> {
    let handle = directory.handle();
    rustix::fs::renameat_with(handle, one, handle, other, RenameFlags::EXCHANGE)
}

/// Whether the file system or the kernel does not know the flags of a rename.
fn is_unknown(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

/// Device and inode.
type FileId = (u64, u64);

#[allow(clippy::useless_conversion, reason = "the width of these fields differs between architectures")]
fn identify(directory: &Directory, name: &str) -> Result<FileId, StoreError> {
    let stat = rustix::fs::statat(directory.handle(), name, AtFlags::SYMLINK_NOFOLLOW).map_err(write_error)?;
    Ok((stat.st_dev.into(), stat.st_ino.into()))
}

/// A version that was under a name, held open so that its inode number cannot be given to another file.
struct Pinned {
    stamp: Stamp,
    _file: std::os::fd::OwnedFd,
}

impl Pinned {
    /// The file `name`, if it is the version `etag`; [`StoreError::Conflict`] otherwise.
    fn open(directory: &Directory, name: &str, etag: &ETag) -> Result<Self, StoreError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match retry_on_intr(|| rustix::fs::openat(directory.handle(), name, flags, Mode::empty())) {
            Err(Errno::NOENT) => return Err(StoreError::Conflict),
            opened => opened.map_err(write_error)?,
        };
        let stat = rustix::fs::fstat(&file).map_err(write_error)?;
        let stamp = Stamp::regular(&stat).ok_or(StoreError::NotRegular)?;
        if stamp.etag() == *etag { Ok(Self { stamp, _file: file }) } else { Err(StoreError::Conflict) }
    }

    /// Whether it is what lies at `name` now, after a rename, and was not written to meanwhile.
    fn is_at(&self, directory: &Directory, name: &str) -> bool {
        rustix::fs::statat(directory.handle(), name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| Stamp::regular(&stat).is_some_and(|now| self.stamp.same_but_renamed(&now)))
    }
}
