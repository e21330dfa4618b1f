//! Partial files that nobody will continue: of former versions of a target, or of a run that was killed.
//!
//! A directory is scanned for them once, at the first commit into it, and remembered as a (nearly always empty) list.
//! A partial file is locked while someone writes it, so an unlocked one is safe to remove. Those of a target that never comes are
//! removed by age ([`remove_older`]).

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::directory::{Directory, DirectoryId};
use super::{partial, resolve};

/// Directories remembered, at some 40 bytes; what lies in others is left to a later run.
const MAX_DIRECTORIES: usize = 16_384;

/// Partial files remembered of one directory, up to 300 bytes each.
const MAX_IN_DIRECTORY: usize = 256;

/// Bytes of directory entries read at once.
const READ_BYTES: usize = 32 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Leftovers(Mutex<HashMap<DirectoryId, Vec<String>>>);

impl Leftovers {
    /// Removes what is left over of the target `name`, which was just committed. Failing to is only logged.
    pub(super) fn sweep(&self, directory: &Directory, name: &str) {
        let stale = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !known.contains_key(&directory.id()) {
                if known.len() >= MAX_DIRECTORIES {
                    return;
                }
                let found = scan(directory).unwrap_or_else(|error| {
                    tracing::debug!(%error, "could not look for leftover partial files");
                    Vec::new()
                });
                known.insert(directory.id(), found);
            }
            match known.get_mut(&directory.id()) {
                Some(found) if !found.is_empty() => {
                    let prefix = partial::prefix(name);
                    found
                        .extract_if(.., |found| partial::is_passing(found) || partial::belongs_to(found, &prefix))
                        .collect()
                }
                _ => Vec::new(),
            }
        };
        for name in stale {
            if let Err(error) = remove_unlocked(directory, &name, None) {
                tracing::debug!(%error, "a leftover partial file stays");
            }
        }
    }

    /// Notes that this process leaves the partial file `name` behind.
    pub(super) fn add(&self, directory: &Directory, name: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get_mut(&directory.id())
            && found.len() < MAX_IN_DIRECTORY
            && !found.iter().any(|known| known == name)
        {
            found.push(name.to_owned());
        }
    }
}

/// Names of the partial files in `directory`.
fn scan(directory: &Directory) -> Result<Vec<String>, Errno> {
    let handle = resolve::open_directory(directory.handle(), "")?;
    let mut buffer = vec![MaybeUninit::uninit(); READ_BYTES];
    let mut entries = RawDir::new(handle, &mut buffer);
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name.starts_with(b".")
            && name.ends_with(partial::SUFFIX.as_bytes())
            && found.len() < MAX_IN_DIRECTORY
            && let Ok(name) = std::str::from_utf8(name)
        {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}

/// Removes the partial files in `directory` that were last written to before `before` and that nobody writes now; how many.
pub(super) fn remove_older(directory: &Directory, before: SystemTime) -> u64 {
    let found = scan(directory).unwrap_or_else(|error| {
        tracing::debug!(%error, "could not look for abandoned partial files");
        Vec::new()
    });
    let mut removed = 0;
    for name in found.iter().filter(|name| partial::is_partial(name)) {
        match remove_unlocked(directory, name, Some(before)) {
            Ok(gone) => removed += u64::from(gone),
            Err(error) => tracing::debug!(%error, "an abandoned partial file stays"),
        }
    }
    removed
}

/// Removes a partial file that nobody has locked, if it was last written to before `before`; whether it did.
fn remove_unlocked(directory: &Directory, name: &str, before: Option<SystemTime>) -> Result<bool, Errno> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(directory.handle(), name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(false),
        opened => opened?,
    };
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    let opened = rustix::fs::fstat(&file)?;
    let named = rustix::fs::statat(directory.handle(), name, AtFlags::SYMLINK_NOFOLLOW)?;
    let same = (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino);
    let is_old = before.is_none_or(|before| {
        // A time before 1970 is old in any case.
        let seconds = u64::try_from(opened.st_mtime).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) < before
    });
    let remove = same && is_old && FileType::from_raw_mode(named.st_mode) == FileType::RegularFile;
    if remove {
        partial::remove(directory, name)?;
    }
    Ok(remove)
}
