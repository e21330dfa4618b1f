//! A large object on its way: a locked partial file beside its target, continued by a later run when this one is cut off.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use rustix::fs::{AtFlags, FallocateFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::commit::rename_into_place;
use super::directory::Directory;
use super::errors::{io_error, write_error};
use super::partial::{self, Frontier, RECORD_BYTES};
use super::read::{fits, read_exact_at};
use super::shared::Shared;
use super::stamp::{ALLOCATION_UNIT_BYTES, Stamp};
use super::write::{write_all_at, write_around, zero_runs};
use super::{mode, stamp};
use qfs_core::model::ETag;
use qfs_core::store::{CommitSpec, ObjectMeta, StageSpec, StagedObject, StoreError};

/// How often a partial file that was committed or removed between opening and locking it is looked for anew.
const RACE_ATTEMPTS: usize = 16;

/// Largest object of unknown size: what offsets of the system can address.
const MAX_BYTES: u64 = i64::MAX as u64;

/// See the module.
#[derive(Debug)]
pub(super) struct Staged {
    shared: Arc<Shared>,
    directory: Arc<Directory>,
    file: OwnedFd,
    partial_name: String,
    target_name: String,
    /// None: the object ends where writing ends.
    size: Option<u64>,
    /// Behind the last byte that was written or is a hole. What lies behind the end of the file and before this are zeros.
    reached: AtomicU64,
    /// Whether long runs of zeros are left out.
    sparse: bool,
    /// Before this may lie bytes of a former run, so a hole must be made; behind it nothing was ever written.
    stale_end: u64,
    etag: ETag,
    /// Whether a later run could not find this partial file.
    private: bool,
    recorded_before: u64,
    recorded: AtomicU64,
    /// Committed or discarded: the partial file's name is no longer ours.
    finished: AtomicBool,
}

impl Staged {
    /// `holes` bytes of the object will not be stored.
    pub(super) fn open(
        shared: &Arc<Shared>,
        directory: &Arc<Directory>,
        target_name: &str,
        spec: &StageSpec,
        sparse: bool,
        holes: u64,
    ) -> Result<Self, StoreError> {
        let shared_name = partial::shared_name(target_name, &spec.etag);
        let found = match spec.size {
            Some(size) => {
                ensure_space(directory, &shared_name, size.saturating_sub(if sparse { holes } else { 0 }))?;
                open_shared(directory, &shared_name)?.map(|file| (file, size))
            }
            // Without a size there is no place for the record, so nothing to continue.
            None => None,
        };
        let (file, partial_name, private, recorded_before) = match found {
            Some((file, size)) => {
                let recorded = take_up(&file, size, &spec.etag)?;
                (file, shared_name, false, recorded)
            }
            None => {
                let name = || partial::private_name(target_name, &spec.etag);
                let created = partial::create_unique(directory, OFlags::RDWR, mode::create(None), name);
                let (file, name) = created.map_err(write_error)?;
                (file, name, true, None)
            }
        };
        Ok(Self {
            shared: Arc::clone(shared),
            directory: Arc::clone(directory),
            file,
            partial_name,
            target_name: target_name.to_owned(),
            size: spec.size,
            reached: AtomicU64::new(0),
            sparse,
            stale_end: recorded_before.and(spec.size).unwrap_or(0),
            etag: spec.etag.clone(),
            private,
            recorded_before: recorded_before.unwrap_or(0),
            recorded: AtomicU64::new(recorded_before.unwrap_or(0)),
            finished: AtomicBool::new(false),
        })
    }

    /// The size the object has, or has so far.
    fn size(&self) -> u64 {
        self.size.unwrap_or_else(|| self.reached.load(Ordering::Relaxed))
    }

    /// What the partial file is, which has to be whole.
    fn ensure_whole(&self) -> Result<Stat, StoreError> {
        let stat = rustix::fs::fstat(&self.file).map_err(write_error)?;
        let reached = length_of(&stat).max(self.reached.load(Ordering::Relaxed));
        if reached < self.size() { Err(StoreError::Changed) } else { Ok(stat) }
    }

    /// Brings the partial file, which was `stat`, to its final length, mode and time, and gives it its name.
    fn complete(&self, stat: &Stat, spec: &CommitSpec) -> Result<(), StoreError> {
        let size = self.size();
        if length_of(stat) != size {
            retry_on_intr(|| rustix::fs::ftruncate(&self.file, size)).map_err(write_error)?;
        }
        let replaced = mode::of_replaced(&self.directory, &self.target_name, &spec.condition);
        let wanted = mode::in_place_of(replaced, stat.st_mode, spec.executable, self.shared.umask);
        if wanted != stat.st_mode & 0o777 {
            retry_on_intr(|| rustix::fs::fchmod(&self.file, Mode::from_raw_mode(wanted))).map_err(write_error)?;
        }
        rustix::fs::futimens(&self.file, &stamp::times(spec.modified)).map_err(write_error)?;
        if spec.durable {
            retry_on_intr(|| rustix::fs::fdatasync(&self.file)).map_err(write_error)?;
        }
        rename_into_place(&self.shared, &self.directory, &self.partial_name, &self.target_name, &spec.condition)
    }

    /// Makes the partial file, which is whole and was `stat`, one again that a later run finds: it need not fetch it again. With the mode of
    /// a target that nobody may write to it could not be opened.
    fn take_back(&self, stat: &Stat) {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
        let is_back = retry_on_intr(|| rustix::fs::fchmod(&self.file, mode)).map_err(write_error);
        if let Err(error) = is_back.and_then(|()| self.record_frontier(self.size())) {
            tracing::debug!(%error, "the frontier record could not be restored");
        }
    }
}

impl Staged {
    /// Sees to it that `range` reads as zeros without being stored.
    fn leave_out(&self, range: &Range<u64>) -> Result<(), StoreError> {
        let stale = range.start..range.end.min(self.stale_end);
        if stale.start >= stale.end {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let length = stale.end - stale.start;
        match retry_on_intr(|| rustix::fs::fallocate(&self.file, flags, stale.start, length)) {
            // Not every file system makes holes where something was.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                write_out_zeros(&self.file, &stale).map_err(write_error)
            }
            done => done.map_err(write_error),
        }
    }
}

impl StagedObject for Staged {
    fn recorded_frontier(&self) -> u64 {
        self.recorded_before
    }

    fn write_at(&self, offset: u64, chunks: &[Bytes]) -> Result<(), StoreError> {
        let length = chunks.iter().map(Bytes::len).fold(0, usize::saturating_add);
        if !fits(offset, length, self.size.unwrap_or(MAX_BYTES)) {
            return Err(StoreError::Io(io::ErrorKind::InvalidInput.into()));
        }
        if length == 0 {
            return Ok(());
        }
        let runs = if self.sparse { zero_runs(offset, chunks) } else { Vec::new() };
        if runs.is_empty() {
            write_all_at(&self.file, offset, chunks).map_err(write_error)?;
        } else {
            write_around(&self.file, offset, chunks, &runs).map_err(write_error)?;
            runs.iter().try_for_each(|run| self.leave_out(run))?;
        }
        self.reached.fetch_max(offset + length as u64, Ordering::Relaxed);
        Ok(())
    }

    fn write_zeros(&self, range: Range<u64>) -> Result<(), StoreError> {
        if range.start > range.end || range.end > self.size.unwrap_or(MAX_BYTES) {
            return Err(StoreError::Io(io::ErrorKind::InvalidInput.into()));
        }
        if self.sparse {
            self.leave_out(&range)?;
        } else {
            write_out_zeros(&self.file, &range).map_err(write_error)?;
        }
        self.reached.fetch_max(range.end, Ordering::Relaxed);
        Ok(())
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        if !fits(offset, length, self.size()) {
            return Err(StoreError::Changed);
        }
        match read_exact_at(&self.file, offset, length) {
            // The file ends before, and nothing but holes lies behind its end.
            Err(StoreError::Changed) if offset + length as u64 <= self.reached.load(Ordering::Relaxed) => {
                read_beyond_end(&self.file, offset, length)
            }
            read => read,
        }
    }

    fn record_frontier(&self, frontier: u64) -> Result<(), StoreError> {
        let size = self.size();
        if frontier > size {
            return Err(StoreError::Io(io::ErrorKind::InvalidInput.into()));
        }
        if self.private {
            return Ok(());
        }
        let record = Frontier { bytes: frontier, size, etag: &self.etag }.encode();
        write_all_at(&self.file, size, &[Bytes::copy_from_slice(&record)]).map_err(write_error)?;
        self.recorded.store(frontier, Ordering::Relaxed);
        Ok(())
    }

    fn commit(&self, spec: &CommitSpec) -> Result<ObjectMeta, StoreError> {
        let stat = self.ensure_whole()?;
        if let Err(error) = self.complete(&stat, spec) {
            self.take_back(&stat);
            return Err(match error {
                StoreError::NotFound => io_error(Errno::NOENT),
                error => error,
            });
        }
        self.finished.store(true, Ordering::Relaxed);
        self.shared.committed(&self.directory, &self.target_name, spec)?;
        Stamp::of_handle(&self.file).map(|stamp| stamp.meta())
    }

    fn discard(&self) -> Result<(), StoreError> {
        if self.finished.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        partial::remove(&self.directory, &self.partial_name).map_err(write_error)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.finished.load(Ordering::Relaxed) {
            return;
        }
        // Nothing to continue from, or nobody who would: only litter. The lock is still held.
        if self.private || self.recorded.load(Ordering::Relaxed) == 0 {
            if let Err(error) = partial::remove(&self.directory, &self.partial_name) {
                tracing::debug!(%error, "a partial file stays behind");
            }
        } else {
            self.shared.directories.leftovers().add(&self.directory, &self.partial_name);
        }
    }
}

/// Fails when what is still missing of an object of `size` bytes does not fit the disk.
fn ensure_space(directory: &Directory, partial_name: &str, size: u64) -> Result<(), StoreError> {
    let Ok(disk) = rustix::fs::fstatvfs(directory.handle()) else { return Ok(()) };
    if disk.f_blocks == 0 {
        // File systems that do not count.
        return Ok(());
    }
    let available = disk.f_bavail.saturating_mul(disk.f_frsize);
    if size <= available {
        return Ok(());
    }
    let allocated = rustix::fs::statat(directory.handle(), partial_name, AtFlags::SYMLINK_NOFOLLOW)
        .map_or(0, |stat| u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(ALLOCATION_UNIT_BYTES));
    let needed = size.saturating_sub(allocated);
    if needed <= available {
        return Ok(());
    }
    Err(StoreError::NoSpace { needed: Some(needed), available: Some(available) })
}

/// Opens and locks the partial file `name`; None when another process has it, or it is nothing we would write to.
fn open_shared(directory: &Directory, name: &str) -> Result<Option<OwnedFd>, StoreError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    for _ in 0..RACE_ATTEMPTS {
        let opened = retry_on_intr(|| rustix::fs::openat(directory.handle(), name, flags, Mode::from_raw_mode(0o666)));
        let file = match opened {
            Ok(file) => file,
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO | Errno::ACCESS | Errno::PERM) => return Ok(None),
            Err(error) => return Err(write_error(error)),
        };
        let stat = rustix::fs::fstat(&file).map_err(write_error)?;
        if !is_ours(&stat) {
            return Ok(None);
        }
        if let Err(error) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Where nobody can lock, nobody uses this name, and an empty file under it is what was just made.
            if error != Errno::WOULDBLOCK && stat.st_size == 0 {
                partial::remove(directory, name).map_err(write_error)?;
            }
            return Ok(None);
        }
        // Whoever held the lock before may have made it the target meanwhile.
        match rustix::fs::statat(directory.handle(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) if (named.st_dev, named.st_ino) == (stat.st_dev, stat.st_ino) => return Ok(Some(file)),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(write_error(error)),
        }
    }
    Ok(None)
}

/// Whether it is a plain file of this user that has no second name: writing to it changes nothing else.
fn is_ours(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_nlink <= 1
        && stat.st_uid == rustix::process::geteuid().as_raw()
}

/// The frontier that a former run recorded in `file`; None of a new one, or one that has no valid record and is emptied.
fn take_up(file: &OwnedFd, size: u64, etag: &ETag) -> Result<Option<u64>, StoreError> {
    let length = length_of(&rustix::fs::fstat(file).map_err(write_error)?);
    if length == 0 {
        return Ok(None);
    }
    if size.checked_add(RECORD_BYTES as u64) == Some(length)
        && let Ok(record) = read_exact_at(file, size, RECORD_BYTES)
        && let Some(frontier) = Frontier::decode(&record, size, etag)
    {
        return Ok(Some(frontier));
    }
    retry_on_intr(|| rustix::fs::ftruncate(file, 0)).map_err(write_error)?;
    Ok(None)
}

/// Writes zeros, which are stored.
fn write_out_zeros(file: &OwnedFd, range: &Range<u64>) -> Result<(), Errno> {
    static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
    let mut position = range.start;
    while position < range.end {
        let step = (range.end - position).min(ZEROS.len() as u64);
        // At most the length of the array.
        write_all_at(file, position, &[Bytes::from_static(&ZEROS[..step as usize])])?;
        position += step;
    }
    Ok(())
}

/// As [`read_exact_at`], where what lies behind the end of the file are zeros.
fn read_beyond_end(file: &OwnedFd, offset: u64, length: usize) -> Result<Bytes, StoreError> {
    let end = length_of(&rustix::fs::fstat(file).map_err(write_error)?);
    // No more than `length`.
    let stored = end.saturating_sub(offset).min(length as u64) as usize;
    let mut bytes = read_exact_at(file, offset, stored)?.to_vec();
    bytes.resize(length, 0);
    Ok(bytes.into())
}

fn length_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}
