//! How fast a directory's disk takes bytes, found out with a file that never has a name. Blocks.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::{Disk, DiskTrouble, Rate};

/// How long is written, and how much at most.
const TRIAL: Duration = Duration::from_secs(1);
const TRIAL_BYTES: u64 = 256 << 20;

/// What is written at once.
const BLOCK: usize = 1 << 20;

/// Tries the disk of `directory`, or of the nearest one above it that is there.
pub(super) fn try_disk(directory: &Path) -> Result<Disk, DiskTrouble> {
    let directory = nearest(directory);
    let free = free_bytes(&directory).map_err(|e| DiskTrouble::Unwritable(e.to_string()))?;
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(&directory, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| match errno {
        rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT => DiskTrouble::Full,
        rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR => {
            DiskTrouble::Untold("its file system knows no files without a name".to_owned())
        }
        errno => DiskTrouble::Unwritable(io::Error::from(errno).to_string()),
    })?;
    let mut file = File::from(file);
    // Not zeros: a disk that compresses would look faster than it is.
    let block: Vec<u8> = (0..BLOCK as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let begun = Instant::now();
    let mut bytes = 0;
    // Half of what is free is left to others.
    while begun.elapsed() < TRIAL && bytes < TRIAL_BYTES && (bytes == 0 || bytes < free / 2) {
        file.write_all(&block).map_err(|e| trouble(&e))?;
        bytes += block.len() as u64;
    }
    file.sync_data().map_err(|e| trouble(&e))?;
    Ok(Disk { rate: Rate { bytes, elapsed: begun.elapsed() }, free })
}

fn trouble(error: &io::Error) -> DiskTrouble {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskTrouble::Full,
        _ => DiskTrouble::Unwritable(error.to_string()),
    }
}

/// The directory itself, or the first one above it that is there: it is made when something is saved, not before.
fn nearest(directory: &Path) -> PathBuf {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    absolute.ancestors().find(|path| path.is_dir()).map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

fn free_bytes(directory: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_tried_and_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let disk = try_disk(&directory.path().join("not/made/yet")).unwrap();
        assert!(disk.rate.bytes >= BLOCK as u64 && disk.free > 0);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
