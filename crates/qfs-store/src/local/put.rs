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

use super::directory::Directory;
use super::errors::write_error;
use super::rename::{rename_into_place, taken};
use super::shared::Shared;
use super::write::write_all_at;
use super::{partial, stamp};
use qfs_core::store::{CommitSpec, StoreError};

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

/// See [`WriteStore::put`](qfs_core::store::WriteStore::put).
pub(super) fn put(
    shared: &Shared,
    directory: &Arc<Directory>,
    name: &str,
    content: &[Bytes],
    spec: &CommitSpec,
) -> Result<(), StoreError> {
    let mut method = Method::from_raw(shared.put_method.load(Ordering::Relaxed));
    if method != Method::Named {
        match put_nameless(directory, method, name, content, spec)? {
            Attempt::Done(worked) if worked == method => return Ok(()),
            Attempt::Done(worked) => method = worked,
            Attempt::Unsupported => {
                put_named(directory, name, content, spec)?;
                method = Method::Named;
            }
        }
        shared.put_method.store(method as u8, Ordering::Relaxed);
        return Ok(());
    }
    put_named(directory, name, content, spec)
}

enum Attempt {
    Done(Method),
    Unsupported,
}

fn put_nameless(
    directory: &Directory,
    method: Method,
    name: &str,
    content: &[Bytes],
    spec: &CommitSpec,
) -> Result<Attempt, StoreError> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let opened = retry_on_intr(|| rustix::fs::openat(directory.handle(), ".", flags, Mode::from_raw_mode(0o666)));
    let file = match opened {
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => return Ok(Attempt::Unsupported),
        // What ext4 says of a removed directory; the named way says it in the usual words.
        Err(Errno::PERM) => return Ok(Attempt::Unsupported),
        opened => opened.map_err(write_error)?,
    };
    fill(&file, content, spec)?;
    for method in [method, Method::ByProc] {
        match link(&file, method, directory, name) {
            Ok(()) => return Ok(Attempt::Done(method)),
            Err(Errno::EXIST) if spec.replace => {
                replace(&file, method, directory, name)?;
                return Ok(Attempt::Done(method));
            }
            Err(Errno::EXIST) => return Err(taken(directory, name)),
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

/// linkat never replaces, so the file gets a passing name and then the target's.
fn replace(file: &OwnedFd, method: Method, directory: &Directory, name: &str) -> Result<(), StoreError> {
    let passing = partial::passing_name();
    link(file, method, directory, &passing).map_err(write_error)?;
    rename_or_remove(directory, &passing, name, true)
}

fn put_named(directory: &Directory, name: &str, content: &[Bytes], spec: &CommitSpec) -> Result<(), StoreError> {
    let created = partial::create_unique(directory, OFlags::WRONLY, partial::passing_name);
    let (file, passing) = created.map_err(write_error)?;
    if let Err(error) = fill(&file, content, spec) {
        remove_passing(directory, &passing);
        return Err(error);
    }
    rename_or_remove(directory, &passing, name, spec.replace)
}

fn rename_or_remove(directory: &Directory, passing: &str, name: &str, replace: bool) -> Result<(), StoreError> {
    rename_into_place(directory, passing, name, replace).inspect_err(|_| remove_passing(directory, passing))
}

fn remove_passing(directory: &Directory, passing: &str) {
    if let Err(error) = partial::remove(directory, passing) {
        tracing::debug!(%error, "a temporary file stays behind");
    }
}

fn fill(file: impl AsFd, content: &[Bytes], spec: &CommitSpec) -> Result<(), StoreError> {
    write_all_at(&file, 0, content).map_err(write_error)?;
    rustix::fs::futimens(&file, &stamp::times(spec.modified)).map_err(write_error)?;
    if spec.durable {
        retry_on_intr(|| rustix::fs::fdatasync(&file)).map_err(write_error)?;
    }
    Ok(())
}
