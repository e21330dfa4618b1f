//! A small object, made and committed at once.
//!
//! Preferably as a file without a name that is linked to its target when it is whole: a killed process leaves nothing,
//! and on the file systems measured it is no slower than a temporary name and a rename.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::commit::{rename_into_place, taken};
use super::directory::Directory;
use super::errors::write_error;
use super::shared::Shared;
use super::write::{write_all_at, write_around, zero_runs};
use super::{mode, partial, stamp};
use qfs_core::store::{CommitSpec, Condition, StoreError};

/// How files are made, from the best to what works everywhere. Where one does not work the next is tried and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Method {
    /// `O_TMPFILE`, linked by its handle alone: Linux 6.10, or CAP_DAC_READ_SEARCH.
    ByHandle,
    /// `O_TMPFILE`, linked by its name in /proc.
    ByProc,
    /// A temporary name and a rename.
    Named,
}

impl Method {
    fn from_raw(raw: u8) -> Self {
        [Self::ByHandle, Self::ByProc].into_iter().find(|method| *method as u8 == raw).unwrap_or(Self::Named)
    }
}

/// See [`WriteStore::put`](qfs_core::store::WriteStore::put). The target's handle.
pub(super) fn put(
    shared: &Shared,
    directory: &Arc<Directory>,
    name: &str,
    content: &[Bytes],
    spec: &CommitSpec,
    sparse: bool,
) -> Result<OwnedFd, StoreError> {
    let target = Target { shared, directory, name, condition: &spec.condition, sparse };
    let method = Method::from_raw(shared.put_method.load(Ordering::Relaxed));
    if method == Method::Named {
        return put_named(&target, content, spec);
    }
    let (file, worked) = match put_nameless(&target, method, content, spec)? {
        Attempt::Done(file, worked) => (file, worked),
        Attempt::Unsupported => (put_named(&target, content, spec)?, Method::Named),
    };
    if worked != method {
        shared.put_method.store(worked as u8, Ordering::Relaxed);
    }
    Ok(file)
}

enum Attempt {
    Done(OwnedFd, Method),
    Unsupported,
}

/// Where the file goes.
struct Target<'a> {
    shared: &'a Shared,
    directory: &'a Directory,
    name: &'a str,
    condition: &'a Condition,
    /// Whether long runs of zeros are left out.
    sparse: bool,
}

fn put_nameless(
    target: &Target<'_>,
    method: Method,
    content: &[Bytes],
    spec: &CommitSpec,
) -> Result<Attempt, StoreError> {
    let directory = target.directory;
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mode = mode::create(spec.executable);
    let file = match retry_on_intr(|| rustix::fs::openat(directory.handle(), ".", flags, mode)) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => return Ok(Attempt::Unsupported),
        // What ext4 says of a removed directory; the named way says it in the usual words.
        Err(Errno::PERM) => return Ok(Attempt::Unsupported),
        opened => opened.map_err(write_error)?,
    };
    fill(&file, content, spec, target.sparse)?;
    // linkat never replaces: where it would have to, the file gets a passing name and then the target's.
    let passing = matches!(target.condition, Condition::Matches(_)).then(partial::passing_name);
    if passing.is_some() {
        keep_mode(target, &file, spec)?;
    }
    for method in [method, Method::ByProc] {
        match link(&file, method, directory, passing.as_deref().unwrap_or(target.name)) {
            Ok(()) => {
                if let Some(passing) = &passing {
                    rename_or_remove(target, passing)?;
                }
                return Ok(Attempt::Done(file, method));
            }
            Err(Errno::EXIST) if *target.condition == Condition::Any => {
                let passing = partial::passing_name();
                keep_mode(target, &file, spec)?;
                link(&file, method, directory, &passing).map_err(write_error)?;
                rename_or_remove(target, &passing)?;
                return Ok(Attempt::Done(file, method));
            }
            Err(Errno::EXIST) => return Err(taken(directory, target.name)),
            // Linking is refused this way: no right to, no such call, no /proc. ENOENT may also mean that the directory
            // is gone; then the named way says so too.
            Err(Errno::NOENT | Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(write_error(error)),
        }
    }
    Ok(Attempt::Unsupported)
}

fn link(file: &OwnedFd, method: Method, directory: &Directory, name: &str) -> Result<(), Errno> {
    if method == Method::ByHandle {
        return rustix::fs::linkat(file, "", directory.handle(), name, AtFlags::EMPTY_PATH);
    }
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, &*source, directory.handle(), name, AtFlags::SYMLINK_FOLLOW)
}

fn put_named(target: &Target<'_>, content: &[Bytes], spec: &CommitSpec) -> Result<OwnedFd, StoreError> {
    let mode = mode::create(spec.executable);
    let created = partial::create_unique(target.directory, OFlags::WRONLY, mode, partial::passing_name);
    let (file, passing) = created.map_err(write_error)?;
    if let Err(error) = fill(&file, content, spec, target.sparse).and_then(|()| keep_mode(target, &file, spec)) {
        remove_passing(target.directory, &passing);
        return Err(error);
    }
    rename_or_remove(target, &passing)?;
    Ok(file)
}

/// Gives `file` the bits of what it is about to replace.
fn keep_mode(target: &Target<'_>, file: impl AsFd, spec: &CommitSpec) -> Result<(), StoreError> {
    let Some(replaced) = mode::of_replaced(target.directory, target.name, target.condition) else { return Ok(()) };
    let wanted = mode::in_place_of(Some(replaced), replaced, spec.executable, target.shared.umask);
    retry_on_intr(|| rustix::fs::fchmod(&file, Mode::from_raw_mode(wanted))).map_err(write_error)
}

fn rename_or_remove(target: &Target<'_>, passing: &str) -> Result<(), StoreError> {
    rename_into_place(target.shared, target.directory, passing, target.name, target.condition)
        .inspect_err(|_| remove_passing(target.directory, passing))
}

fn remove_passing(directory: &Directory, passing: &str) {
    if let Err(error) = partial::remove(directory, passing) {
        tracing::debug!(%error, "a temporary file stays behind");
    }
}

fn fill(file: impl AsFd, content: &[Bytes], spec: &CommitSpec, sparse: bool) -> Result<(), StoreError> {
    let runs = if sparse { zero_runs(0, content) } else { Vec::new() };
    if let Some(last) = runs.last() {
        write_around(&file, 0, content, &runs).map_err(write_error)?;
        let length = content.iter().map(|piece| piece.len() as u64).sum();
        if last.end == length {
            retry_on_intr(|| rustix::fs::ftruncate(&file, length)).map_err(write_error)?;
        }
    } else {
        write_all_at(&file, 0, content).map_err(write_error)?;
    }
    rustix::fs::futimens(&file, &stamp::times(spec.modified)).map_err(write_error)?;
    if spec.durable {
        retry_on_intr(|| rustix::fs::fdatasync(&file)).map_err(write_error)?;
    }
    Ok(())
}
