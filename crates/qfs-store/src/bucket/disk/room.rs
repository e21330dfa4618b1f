//! How much lies in the directory of a disk cache, and what goes first.

use std::collections::BinaryHeap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir};

/// What the name of a file begins with that is not whole yet.
pub(super) const UNFINISHED: &str = "unfinished-";
/// Bytes of the name of a block: its version, and its number.
pub(super) const NAME: usize = 32 + 1 + 10;
/// An unfinished file that was not written for so many seconds was left behind.
const UNFINISHED_AGE: i64 = 600;
/// Files that are removed for one look; what lies there is looked at again for more.
const MAX_REMOVED: usize = 65_536;
/// What a file takes of a disk is a multiple of this.
const PAGE: u64 = 4096;

/// What a file of `size` bytes takes.
pub(super) fn occupied(size: u64) -> u64 {
    size.div_ceil(PAGE) * PAGE
}

/// Removes what was used the longest ago, until the files take at most `goal` bytes, and what others left unfinished.
///
/// # Errors
/// What looking failed with, and where nothing can be removed.
pub(super) fn make(directory: &OwnedFd, goal: u64) -> io::Result<()> {
    loop {
        let (mut total, oldest) = look(directory)?;
        if total <= goal {
            return Ok(());
        }
        let before = total;
        for file in oldest {
            if total <= goal {
                return Ok(());
            }
            match rustix::fs::unlinkat(directory, &file.name, AtFlags::empty()) {
                // Another process may have been here before.
                Ok(()) | Err(rustix::io::Errno::NOENT) => total = total.saturating_sub(file.size),
                Err(error) => tracing::debug!("a block of the disk cache cannot be removed: {error}"),
            }
        }
        if total == before {
            return Err(io::Error::other("nothing can be removed from it"));
        }
    }
}

/// A block, by when it was used.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    used: (i64, i64),
    name: String,
    size: u64,
}

/// The bytes that all files take, and those used the longest ago, in that order. Files that are not of a cache are nothing.
fn look(directory: &OwnedFd) -> io::Result<(u64, Vec<Kept>)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs().cast_signed());
    let (mut total, mut oldest) = (0, BinaryHeap::new());
    let mut entries = Dir::read_from(directory)?;
    entries.rewind();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        let is_unfinished = name.starts_with(UNFINISHED);
        if !is_unfinished && !is_name(name) {
            continue;
        }
        // What has gone meanwhile takes nothing.
        let Ok(found) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let used = (found.st_mtime, i64::try_from(found.st_mtime_nsec).unwrap_or_default());
        if is_unfinished && now.saturating_sub(used.0) > UNFINISHED_AGE {
            let _ = rustix::fs::unlinkat(directory, name, AtFlags::empty());
            continue;
        }
        let size = occupied(found.st_size.unsigned_abs());
        total += size;
        if !is_unfinished {
            oldest.push(Kept { used, name: name.to_owned(), size });
            if oldest.len() > MAX_REMOVED {
                oldest.pop();
            }
        }
    }
    Ok((total, oldest.into_sorted_vec()))
}

fn is_name(name: &str) -> bool {
    let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    name.len() == NAME && name.bytes().enumerate().all(|(at, b)| if at == 32 { b == b'-' } else { digits(b) })
}
