//! One opened file and its bytes. Never maps a file: a file cut short meanwhile must end in an error, not a signal.

use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, OFlags, SeekFrom};
use rustix::io::{Errno, retry_on_intr};

use super::errors::{io_error, read_error, shortage};
use super::links::{FollowLinks, Rules};
use super::stamp::{Stamp, now_nanos};
use super::{links, resolve};
use qfs_core::model::{Holes, RemotePath};
use qfs_core::store::{Object, ObjectMeta, StoreError};

/// Files of at least this many bytes announce that they will be read from front to back.
const SEQUENTIAL_FROM_BYTES: u64 = 1 << 20;

/// Holes of one file that are looked for, in order: some ten milliseconds, and 256 KiB to remember them.
const MAX_HOLES: usize = 16_384;

/// How often `open` waits, a clock tick each time, for a file that is being changed just now.
const SETTLE_ATTEMPTS: usize = 2;

/// An opened regular file.
#[derive(Debug)]
pub(super) struct LocalObject {
    file: OwnedFd,
    opened: Stamp,
    meta: ObjectMeta,
}

impl LocalObject {
    pub(super) fn open(root: &OwnedFd, rules: &Rules, path: &RemotePath) -> Result<Self, StoreError> {
        let opened = match resolve::open(root, path.as_str(), OFlags::RDONLY) {
            // There is a link in it; most names have none, and are opened in one step.
            Err(Errno::LOOP | Errno::NOTDIR) if rules.follow != FollowLinks::None => {
                links::open(root, rules, path.as_str()).map_err(|lost| lost.errno())
            }
            opened => opened,
        };
        let file = opened.map_err(|error| match error {
            Errno::ACCESS | Errno::PERM if rules.candid => io_error(error),
            error => read_error(error),
        })?;
        let opened = settled_stamp(&file)?;
        if opened.size >= SEQUENTIAL_FROM_BYTES {
            // Advice; a file system that does not take it loses nothing but speed.
            let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
        }
        Ok(Self { meta: opened.meta(), file, opened })
    }
}

impl Object for LocalObject {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        if !fits(offset, length, self.opened.size) {
            return Err(StoreError::Changed);
        }
        read_exact_at(&self.file, offset, length)
    }

    fn holes(&self) -> Result<Holes, StoreError> {
        let size = self.opened.size;
        if self.opened.allocated >= size {
            return Ok(Holes::default());
        }
        let (mut holes, mut position) = (Vec::new(), 0);
        for _ in 0..MAX_HOLES {
            let data = match seek(&self.file, SeekFrom::Data(position)) {
                Ok(data) => data.min(size),
                // Nothing but a hole follows.
                Err(Errno::NXIO) => size,
                // A file system that does not tell.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Holes::default()),
                Err(error) => return Err(io_error(error)),
            };
            if data > position {
                holes.push(position..data);
            }
            position = match seek(&self.file, SeekFrom::Hole(data)) {
                Ok(hole) if hole < size => hole,
                Ok(_) | Err(Errno::NXIO) => break,
                Err(error) => return Err(io_error(error)),
            };
        }
        // Not apart from each other they are only while the file changes.
        Holes::new(holes).map_err(|_| StoreError::Changed)
    }

    fn ensure_unchanged(&self) -> Result<(), StoreError> {
        if self.opened.same_content(&stamp(&self.file)?) { Ok(()) } else { Err(StoreError::Changed) }
    }

    fn ensure_not_shorter(&self) -> Result<(), StoreError> {
        if stamp(&self.file)?.size >= self.opened.size { Ok(()) } else { Err(StoreError::Changed) }
    }
}

/// Where the file has what is looked for. Nothing is read where that leaves the handle.
fn seek(file: &OwnedFd, to: SeekFrom) -> Result<u64, Errno> {
    retry_on_intr(|| rustix::fs::seek(file, to))
}

/// Whether `length` bytes from `offset` lie within `size`.
pub(super) fn fits(offset: u64, length: usize, size: u64) -> bool {
    u64::try_from(length).ok().and_then(|length| offset.checked_add(length)).is_some_and(|end| end <= size)
}

/// Exactly `length` bytes from `offset`; [`StoreError::Changed`] when the file is too short for them.
pub(super) fn read_exact_at(file: impl AsFd, offset: u64, length: usize) -> Result<Bytes, StoreError> {
    if length == 0 {
        return Ok(Bytes::new());
    }
    let mut buffer = Vec::with_capacity(length);
    while buffer.len() < length {
        let position = offset + buffer.len() as u64;
        match retry_on_intr(|| rustix::io::pread(&file, spare_capacity(&mut buffer), position)) {
            Ok(0) => return Err(StoreError::Changed),
            Ok(_) => {}
            Err(error) => return Err(shortage(error).unwrap_or_else(|| io_error(error))),
        }
    }
    // The allocator may have given more room than was asked for, and pread filled it.
    buffer.truncate(length);
    Ok(buffer.into())
}

/// The stamp of `file`, taken when a later change cannot hide behind it any more.
///
/// A file changed within the present tick of the kernel's clock could change again, half read, without its times showing
/// it. Waiting out the tick closes that door, and costs only files that were written this very moment.
fn settled_stamp(file: &OwnedFd) -> Result<Stamp, StoreError> {
    let mut found = stamp(file)?;
    for _ in 0..SETTLE_ATTEMPTS {
        let Ok(nanos @ 1..) = u64::try_from(found.nanos_to_settle(now_nanos())) else { break };
        thread::sleep(Duration::from_nanos(nanos));
        found = stamp(file)?;
    }
    Ok(found)
}

fn stamp(file: &OwnedFd) -> Result<Stamp, StoreError> {
    let stat = rustix::fs::fstat(file).map_err(read_error)?;
    Stamp::regular(&stat).ok_or(StoreError::NotFound)
}
