//! Every file below the root, or below one of its directories, in ascending byte order of full names, without recursion.
//!
//! A directory stands twice among the names of the one it is in: as the row that it may be, and with a slash behind it where
//! what is in it belongs. So rows of all kinds come in byte order, and a listing can go on behind any name.
//!
//! Memory is that of the names in the directories on the way to the row being visited: about 16 bytes and the name for
//! each, so 4 MiB for 100,000 in one directory.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, RawDir};
use rustix::io::Errno;

use super::stamp::{self, Stamp};
use super::{Hidden, io_error, partial, read_error, resolve, shortage};
use qfs_core::model::{MAX_PATH_BYTES, RemotePath, escape_untrusted};
use qfs_core::store::{DirectoryMeta, Entry, LinkMeta, ListQuery, StoreError, Visit};

/// Directories deeper than this are left out: each level on the way down holds a file descriptor.
const MAX_DEPTH: usize = 256;

/// Bytes of directory entries read at once.
const READ_BYTES: usize = 32 * 1024;

/// See [`Store::list`](qfs_core::store::Store::list).
pub(super) fn list(
    root: &OwnedFd,
    hidden: Hidden,
    unlistable: &Unlistable,
    query: &ListQuery,
    visit: &mut Visit<'_>,
) -> Result<(), StoreError> {
    let mut walk = Walk { hidden, unlistable, query, buffer: vec![MaybeUninit::uninit(); READ_BYTES] };
    let (first, above) = match &query.prefix {
        Some(prefix) => {
            let handle = resolve::open_directory(root, prefix.as_str()).map_err(read_error)?;
            (walk.enter(handle, format!("{}/", prefix.as_str())).map_err(read_error)?, prefix.components().count())
        }
        None => {
            let handle = resolve::open_directory(root, "").map_err(io_error)?;
            (walk.enter(handle, String::new()).map_err(io_error)?, 0)
        }
    };
    let mut levels = vec![first];
    while let Some(level) = levels.last_mut() {
        let Some(entry) = level.names.at(level.next) else {
            levels.pop();
            continue;
        };
        level.next += 1;
        let Some(path) = walk.carried(&level.prefix, entry) else { continue };
        if !walk.is_behind(&path) {
            continue;
        }
        if !path.ends_with('/') {
            if let Some((path, entry)) = walk.look(level, path)?
                && visit(path, entry).is_break()
            {
                return Ok(());
            }
        } else if above + levels.len() < MAX_DEPTH {
            levels.extend(walk.descend(&levels, path)?);
        } else {
            unlistable.warn(&path, "too deep");
        }
    }
    Ok(())
}

/// Names that were left out, each logged only the first time it is met.
#[derive(Debug, Default)]
pub(super) struct Unlistable(Mutex<HashSet<u64>>);

impl Unlistable {
    /// Names remembered, at 16 bytes each; beyond it nothing more is logged.
    const MAX_REMEMBERED: usize = 4096;

    fn warn(&self, path: &str, reason: &str) {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < Self::MAX_REMEMBERED && seen.insert(hasher.finish()) {
            tracing::warn!("{} is left out of listings: {reason}", escape_untrusted(path));
        }
    }
}

/// A directory that is being listed.
struct Level {
    handle: OwnedFd,
    /// Its path with a slash behind it; empty for the root.
    prefix: String,
    names: Names,
    /// Index of the name that comes next.
    next: usize,
}

struct Walk<'a> {
    hidden: Hidden,
    unlistable: &'a Unlistable,
    query: &'a ListQuery,
    buffer: Vec<MaybeUninit<u8>>,
}

impl Walk<'_> {
    /// Whether `path`, or something in it where it ends in a slash, comes behind the name to go on from.
    fn is_behind(&self, path: &str) -> bool {
        self.query.after.as_ref().is_none_or(|after| path > after.as_str() || is_above(path, after.as_str()))
    }

    /// The directory `path` (with a slash behind it) below the deepest of `levels`; None when it cannot be read.
    fn descend(&mut self, levels: &[Level], path: String) -> Result<Option<Level>, StoreError> {
        let Some(parent) = levels.last() else { return Ok(None) };
        let name = path[parent.prefix.len()..].trim_end_matches('/');
        let entered = resolve::open_directory(&parent.handle, name).map(|handle| (handle, path));
        match entered.and_then(|(handle, path)| self.enter(handle, path)) {
            Ok(level) => Ok(Some(level)),
            // A listing that silently lacks files because descriptors ran out would be a wrong listing.
            Err(error) => match shortage(error) {
                Some(shortage) => Err(shortage),
                None => {
                    tracing::debug!(%error, "a directory that cannot be read is left out");
                    Ok(None)
                }
            },
        }
    }

    fn enter(&mut self, handle: OwnedFd, prefix: String) -> Result<Level, Errno> {
        let mut names = Names::default();
        let mut entries = RawDir::new(&handle, &mut self.buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name.starts_with(b".") && is_left_out(name, self.hidden) {
                continue;
            }
            let kind = match entry.file_type() {
                // Not every file system says; the order of the rows depends on it, so it is asked for now.
                FileType::Unknown => rustix::fs::statat(&handle, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
                kind => kind,
            };
            match kind {
                FileType::RegularFile => names.push(name, b""),
                FileType::Directory => {
                    if self.query.directories {
                        names.push(name, b"");
                    }
                    names.push(name, b"/");
                }
                FileType::Symlink if self.query.links => names.push(name, b""),
                _ => {}
            }
        }
        names.sort();
        Ok(Level { handle, prefix, names, next: 0 })
    }

    /// The full name of `entry`, if the wire can carry it.
    fn carried(&self, prefix: &str, entry: &[u8]) -> Option<String> {
        let Ok(name) = std::str::from_utf8(entry) else {
            self.unlistable.warn(&format!("{prefix}{}", String::from_utf8_lossy(entry)), "not UTF-8");
            return None;
        };
        let path = [prefix, name].concat();
        let reason = if name.contains('\\') {
            "a backslash"
        } else if path.len() > MAX_PATH_BYTES {
            "too long"
        } else {
            return Some(path);
        };
        self.unlistable.warn(&path, reason);
        None
    }

    /// What is at `path` in the directory of `level`; None when it is nothing that was asked for, perhaps by now.
    fn look(&self, level: &Level, path: String) -> Result<Option<(RemotePath, Entry)>, StoreError> {
        let name = &path[level.prefix.len()..];
        let stat = match rustix::fs::statat(level.handle.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(error) => return absent(error),
        };
        let modified = stamp::modified(&stat);
        let entry = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if self.query.directories => Some(Entry::Directory(DirectoryMeta { modified })),
            FileType::Symlink if self.query.links => match rustix::fs::readlinkat(&level.handle, name, Vec::new()) {
                Ok(target) => match target.into_string() {
                    Ok(target) => Some(Entry::Link(LinkMeta { target, modified })),
                    Err(_) => {
                        self.unlistable.warn(&path, "a link whose target is not UTF-8");
                        None
                    }
                },
                Err(error) => return absent(error),
            },
            _ => Stamp::regular(&stat).map(|stamp| Entry::File(stamp.meta())),
        };
        Ok(entry.and_then(|entry| Some((RemotePath::try_from(path).ok()?, entry))))
    }
}

/// Whether `name`, which starts with a dot, is no name of the store.
fn is_left_out(name: &[u8], hidden: Hidden) -> bool {
    matches!(name, b"." | b"..")
        || hidden == Hidden::Excluded
        || std::str::from_utf8(name).is_ok_and(partial::is_reserved)
}

/// None of what is gone or cannot be read; an error where it would be wrong to leave it out.
fn absent<T>(error: Errno) -> Result<Option<T>, StoreError> {
    match read_error(error) {
        StoreError::NotFound => Ok(None),
        error => Err(error),
    }
}

/// Whether `path` is a directory, with its slash, that `name` lies in.
fn is_above(path: &str, name: &str) -> bool {
    path.ends_with('/') && name.starts_with(path)
}

/// The names in a directory, in one allocation. Directories end in a slash, which puts what is in them where it belongs
/// among the full names.
#[derive(Debug, Default)]
struct Names {
    bytes: Vec<u8>,
    /// Start and length in `bytes`.
    places: Vec<(usize, u16)>,
}

impl Names {
    fn push(&mut self, name: &[u8], suffix: &[u8]) {
        // Names in a Linux directory are at most 255 bytes.
        if let Ok(length) = u16::try_from(name.len() + suffix.len()) {
            self.places.push((self.bytes.len(), length));
            self.bytes.extend_from_slice(name);
            self.bytes.extend_from_slice(suffix);
        }
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.places.sort_unstable_by_key(|&(start, length)| &bytes[start..start + usize::from(length)]);
    }

    fn at(&self, index: usize) -> Option<&[u8]> {
        let &(start, length) = self.places.get(index)?;
        Some(&self.bytes[start..start + usize::from(length)])
    }
}
