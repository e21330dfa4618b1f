//! A small file of the user's configuration: locked while it is changed, and replaced in one step.
//!
//! Knows nothing of what stands in it.
#![allow(clippy::disallowed_methods, reason = "the user's configuration is no published or downloaded file")]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

/// Wait between two attempts at the lock.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Who may read and write the files: the owner alone.
const MODE_FILE: u32 = 0o600;

/// The same for the directories made for them.
const MODE_DIRECTORY: u32 = 0o700;

/// Makes `directory` and those above it, if they are missing.
pub(crate) fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(MODE_DIRECTORY).create(directory)
}

/// A lock that lasts as long as the file is open; None when another process has held it for all of `patience`. Its file stays:
/// removing it would let two processes hold two locks.
pub(crate) fn lock(path: &Path, patience: Duration) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).append(true).mode(MODE_FILE).open(path)?;
    let deadline = Instant::now() + patience;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOCK_RETRY),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Puts `content` under `path`: a reader sees the old file or the new one, also after a crash.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // One that is a symbolic link stays one.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = target.parent().unwrap_or(Path::new("."));
    let temporary = target.with_extension(format!("new-{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE_FILE).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, &target)?;
        File::open(directory)?.sync_all()
    })();
    written.inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}
