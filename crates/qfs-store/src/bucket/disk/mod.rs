//! Blocks of objects on a disk of this machine, so that what was read once does not cost a request again, not even after a restart.
//!
//! Each block is a file of its own, named by the version of its object (the bucket's ETag counts) and its number. It gets its name by a
//! rename once it is whole, and begins with that name and a checksum of the content: what is damaged, cut short or another block is
//! no block, and is removed. So several processes share a directory, and one that is killed leaves at most a file without a
//! name, which goes with the next look. Knows nothing of requests.

mod room;

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use qfs_core::model::{Digest, HashKind};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::blocks::BLOCK;

/// Blocks that wait to be written; beyond these a block is not kept this time, rather than have the bucket wait for the disk.
const MAX_WAITING: usize = 64;
/// What a file begins with.
const MAGIC: &[u8; 8] = b"qfsblk1\n";
/// Bytes before the content: what it begins with, the name, the BLAKE3 of the content.
const HEADER: usize = MAGIC.len() + room::NAME + 32;

/// See the module.
pub(super) struct Disk {
    directory: Arc<OwnedFd>,
    /// Bytes that all files in the directory may take together.
    bound: u64,
    /// To the thread that writes, which begins with the first block, so that whoever opens this can confine itself before.
    writer: OnceLock<Option<SyncSender<(String, Bytes)>>>,
}

/// The version of an object, as its blocks on disk are named by it.
#[derive(Debug, Clone)]
pub(super) struct Version(String);

impl Version {
    /// That of the object whose version is `version` here and whose ETag is `tag` in the bucket.
    pub(super) fn new(version: u128, tag: &str) -> Self {
        let mut name = Digest::of(format!("{version:032x}\0{tag}").as_bytes()).to_string();
        name.truncate(32);
        Self(name)
    }

    fn block(&self, index: u64) -> String {
        format!("{}-{index:010x}", self.0)
    }
}

impl Disk {
    /// Blocks in `path`, which is made where it is missing, for its owner alone.
    ///
    /// # Errors
    /// What making and opening it failed with; `PermissionDenied` where others may write to it or own it.
    pub(super) fn open(path: &Path, bound: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let found = rustix::fs::fstat(&directory)?;
        if found.st_uid != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to somebody else"));
        }
        if found.st_mode & 0o777 != 0o700 {
            rustix::fs::fchmod(&directory, Mode::RWXU)?;
        }
        Ok(Self { directory: Arc::new(directory), bound, writer: OnceLock::new() })
    }

    /// Block `index` of `version`, if it is here, whole and of `length` bytes. Blocks.
    pub(super) fn read(&self, version: &Version, index: u64, length: usize) -> Option<Bytes> {
        let name = version.block(index);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut file = File::from(rustix::fs::openat(&*self.directory, &name, flags, Mode::empty()).ok()?);
        let mut stored = Vec::with_capacity(HEADER + length + 1);
        let read = (&mut file).take((HEADER + length) as u64 + 1).read_to_end(&mut stored);
        if read.is_err() || !is_block(&stored, &name, length) {
            tracing::debug!("a damaged block of the disk cache is removed");
            let _ = rustix::fs::unlinkat(&*self.directory, &name, AtFlags::empty());
            return None;
        }
        // What was used the longest ago goes first.
        let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let _ = rustix::fs::futimens(&file, &Timestamps { last_access: omitted, last_modification: now });
        Some(Bytes::from(stored).slice(HEADER..))
    }

    /// Has block `index` of `version` written, unless too many wait.
    pub(super) fn keep(&self, version: &Version, index: u64, content: &Bytes) {
        let writer = self.writer.get_or_init(|| {
            let (sender, receiver) = sync_channel(MAX_WAITING);
            let writer = Writer::new(Arc::clone(&self.directory), self.bound);
            let thread = std::thread::Builder::new().name("qfs-disk-cache".to_owned());
            thread.spawn(move || writer.run(&receiver)).ok().map(|_| sender)
        });
        if let Some(writer) = writer {
            let _ = writer.try_send((version.block(index), content.clone()));
        }
    }
}

fn is_block(stored: &[u8], name: &str, length: usize) -> bool {
    let Some((header, content)) = stored.split_at_checked(HEADER) else { return false };
    content.len() == length && *header == self::header(name, content)
}

fn header(name: &str, content: &[u8]) -> Vec<u8> {
    [MAGIC, name.as_bytes(), Digest::of_kind(HashKind::Blake3, content).as_bytes()].concat()
}

/// Writes blocks, one after the other.
struct Writer {
    directory: Arc<OwnedFd>,
    bound: u64,
    /// Bytes that may be written before the next look at what lies there.
    left: u64,
    has_warned: bool,
}

impl Writer {
    fn new(directory: Arc<OwnedFd>, bound: u64) -> Self {
        Self { directory, bound, left: 0, has_warned: false }
    }

    /// Until whoever sends has ended.
    fn run(mut self, blocks: &Receiver<(String, Bytes)>) {
        while let Ok((name, content)) = blocks.recv() {
            if let Err(error) = self.write(&name, &content)
                && !std::mem::replace(&mut self.has_warned, true)
            {
                tracing::warn!("the disk cache cannot be written, and is read only as far as it goes: {error}");
            }
        }
    }

    /// Writes one block. One server keeps what lies there below 15/16 of the bound, since it looks after each 1/16 that it has written,
    /// and then leaves 7/8 at most; two that share a directory stay within the bound together.
    fn write(&mut self, name: &str, content: &Bytes) -> io::Result<()> {
        let size = room::occupied((HEADER + content.len()) as u64);
        if content.len() as u64 > BLOCK || self.left < size {
            self.left = 0;
            room::make(&self.directory, self.bound / 8 * 7)?;
            self.left = self.bound / 16;
        }
        if self.left < size {
            // It is larger than a sixteenth of all.
            return Ok(());
        }
        self.left -= size;
        let temporary = format!("{}{:032x}", room::UNFINISHED, fastrand::u128(..));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&*self.directory, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(file);
        let written = file.write_all(&header(name, content)).and_then(|()| file.write_all(content));
        let renamed =
            written.and_then(|()| Ok(rustix::fs::renameat(&*self.directory, &temporary, &*self.directory, name)?));
        if renamed.is_err() {
            let _ = rustix::fs::unlinkat(&*self.directory, &temporary, AtFlags::empty());
        }
        renamed
    }
}

#[cfg(test)]
mod tests;
