//! Every file below the root, or below one of its directories, in ascending byte order of full names, without recursion.
//!
//! A directory stands twice among the names of the one it is in: as the row that it may be, and with a slash behind it where
//! what is in it belongs. So rows of all kinds come in byte order, and a listing can go on behind any name. A link that is
//! followed stands where what it ends at would.
//!
//! Memory is that of the names in the directories on the way to the row being visited: about 16 bytes and the name for
//! each, so 4 MiB for 100,000 in one directory.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, RawDir};
use rustix::io::Errno;

use super::errors::{io_error, read_error, shortage};
use super::links::{self, End, FileId, FollowLinks, LeftOut, Lost, MAX_DEPTH, Rules};
use super::names::Names;
use super::resolve;
use super::stamp::{self, Stamp};
use super::unlistable::Unlistable;
use qfs_core::model::{MAX_PATH_BYTES, RemotePath};
use qfs_core::store::{DirectoryMeta, Entry, LeaveOut, LinkMeta, ListQuery, Omission, StoreError, Visit};

/// Links to directories that one name may lead through. Few directories full of links to each other would otherwise be a tree
/// that no listing comes to the end of.
const MAX_NESTED_LINKS: usize = 8;

/// Bytes of directory entries read at once.
const READ_BYTES: usize = 32 * 1024;

/// A link that a walk came by.
#[derive(Debug)]
pub(super) enum Met<'a> {
    /// It is not published.
    LeftOut(LeftOut),
    /// It is, and ends outside of the root.
    Outside(&'a End),
}

/// What is listed, and who is told.
pub(super) struct Listing<'a> {
    pub(super) root: &'a OwnedFd,
    pub(super) rules: &'a Rules,
    /// Where what is left out is logged, if it is.
    pub(super) unlistable: Option<&'a Unlistable>,
    pub(super) query: &'a ListQuery,
    /// Told of links, with their names.
    pub(super) met: &'a mut dyn FnMut(&str, Met<'_>),
    /// Told of what is there and no row.
    pub(super) left_out: &'a mut LeaveOut<'a>,
    /// Names after which it ends, wherever it is.
    pub(super) names: u64,
}

impl Listing<'_> {
    /// Walks the tree; see [`Store::list`](qfs_core::store::Store::list). Without `visit`, files are not even looked at. False when
    /// there were too many names.
    pub(super) fn walk(self, mut visit: Option<&mut Visit<'_>>) -> Result<bool, StoreError> {
        let mut walk =
            Walk { listing: self, depth: 0, above: Vec::new(), buffer: vec![MaybeUninit::uninit(); READ_BYTES] };
        let mut levels = vec![walk.first()?];
        while let Some(level) = levels.last_mut() {
            let Some((entry, is_link)) = level.names.at(level.next) else {
                levels.pop();
                continue;
            };
            level.next += 1;
            let Some(left) = walk.listing.names.checked_sub(1) else { return Ok(false) };
            walk.listing.names = left;
            let Some(path) = walk.carried(&level.prefix, entry) else { continue };
            if !walk.is_behind(&path) {
                continue;
            }
            if path.ends_with('/') {
                levels.extend(walk.descend(&levels, path, is_link)?);
            } else if let Some(visit) = &mut visit
                && let Some((path, entry)) = walk.look(level, path, is_link)?
                && visit(path, entry).is_break()
            {
                return Ok(true);
            }
        }
        Ok(true)
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
    /// Known where links are followed.
    id: Option<FileId>,
    /// Links that its path leads through.
    links: usize,
}

struct Walk<'a> {
    listing: Listing<'a>,
    /// Levels between the root and the directory listed.
    depth: usize,
    /// The directories there, where links are followed.
    above: Vec<FileId>,
    buffer: Vec<MaybeUninit<u8>>,
}

impl Walk<'_> {
    /// The root, or the directory that the query names.
    fn first(&mut self) -> Result<Level, StoreError> {
        let root = resolve::open_directory(self.listing.root, "").map_err(io_error)?;
        let Some(prefix) = &self.listing.query.prefix else {
            let id = self.identify(&root).map_err(io_error)?;
            return self.enter(Level::new(root, String::new(), id, 0)).map_err(io_error);
        };
        self.depth = prefix.components().count();
        if self.depth >= MAX_DEPTH {
            return Err(StoreError::NotFound);
        }
        let prefix = format!("{}/", prefix.as_str());
        if self.listing.rules.follow == FollowLinks::None {
            let handle =
                resolve::open_directory(self.listing.root, prefix.trim_end_matches('/')).map_err(read_error)?;
            return self.enter(Level::new(handle, prefix, None, 0)).map_err(read_error);
        }
        // The same steps as from the root, so that both ways list the same.
        let id = self.identify(&root).map_err(io_error)?;
        let mut levels = vec![Level::new(root, String::new(), id, 0)];
        for (slash, _) in prefix.match_indices('/') {
            let path = prefix[..=slash].to_owned();
            let Some(above) = levels.last() else { break };
            let name = &path[above.prefix.len()..slash];
            let is_link = rustix::fs::readlinkat(&above.handle, name, Vec::new()).is_ok();
            let entered = self.enter_below(&levels, path, is_link).map_err(|lost| read_error(lost.errno()))?;
            levels.push(entered);
        }
        let last = levels.pop().ok_or(StoreError::NotFound)?;
        self.above = levels.iter().filter_map(|level| level.id).collect();
        self.enter(last).map_err(read_error)
    }

    /// Whether `path`, or something in it where it ends in a slash, comes behind the name to go on from.
    fn is_behind(&self, path: &str) -> bool {
        self.listing.query.after.as_ref().is_none_or(|after| path > after.as_str() || is_above(path, after.as_str()))
    }

    /// The directory `path` (with a slash behind it) below the deepest of `levels`; None when it is left out.
    fn descend(&mut self, levels: &[Level], path: String, is_link: bool) -> Result<Option<Level>, StoreError> {
        if self.depth + levels.len() >= MAX_DEPTH {
            self.leave_out(&path, Omission::Unreadable, "too deep");
            return Ok(None);
        }
        let entered = self.enter_below(levels, path.clone(), is_link);
        match entered.and_then(|level| self.enter(level).map_err(Lost::Failed)) {
            Ok(level) => return Ok(Some(level)),
            Err(Lost::LeftOut(why)) => (self.listing.met)(&path, Met::LeftOut(why)),
            // It went, or is something else by now.
            Err(Lost::Failed(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {}
            Err(Lost::Failed(error)) => match shortage(error) {
                // A listing that silently lacks files because descriptors ran out would be a wrong listing.
                Some(shortage) => return Err(shortage),
                None => self.leave_out(&path, Omission::Unreadable, "a directory that cannot be read"),
            },
        }
        Ok(None)
    }

    /// Opens the directory `path` (with a slash behind it) in the deepest of `levels`; its names are not read yet.
    fn enter_below(&self, levels: &[Level], path: String, is_link: bool) -> Result<Level, Lost> {
        let Listing { root, rules, .. } = &self.listing;
        let Some(parent) = levels.last() else { return Err(Errno::NOENT.into()) };
        let handle = if is_link {
            let end = links::find(root, rules, path.trim_end_matches('/'))?;
            if end.is_directory() { end.open()? } else { return Err(Errno::NOTDIR.into()) }
        } else {
            let name = path[parent.prefix.len()..].trim_end_matches('/');
            resolve::open_directory(&parent.handle, name).map_err(Lost::Failed)?
        };
        let (id, links) = (self.identify(&handle)?, parent.links + usize::from(is_link));
        if let Some(id) = id {
            let known = levels.iter().filter_map(|level| level.id).chain(self.above.iter().copied()).any(|k| k == id);
            if known || links > MAX_NESTED_LINKS {
                return Err(Lost::LeftOut(LeftOut::Circle));
            }
            if rules.never.contains(&id) {
                return Err(Lost::LeftOut(LeftOut::Never));
            }
        }
        Ok(Level::new(handle, path, id, links))
    }

    /// Which directory it is, where that matters: without links no path can lead to a directory twice.
    fn identify(&self, handle: &OwnedFd) -> Result<Option<FileId>, Errno> {
        if self.listing.rules.follow == FollowLinks::None {
            return Ok(None);
        }
        Ok(Some(links::id_of(&rustix::fs::fstat(handle)?)))
    }

    /// Reads the names in the directory of `level`.
    fn enter(&mut self, mut level: Level) -> Result<Level, Errno> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = self.read_names(&mut level, &mut buffer);
        self.buffer = buffer;
        read?;
        level.names.sort();
        Ok(level)
    }

    fn read_names(&mut self, level: &mut Level, buffer: &mut [MaybeUninit<u8>]) -> Result<(), Errno> {
        let mut entries = RawDir::new(&level.handle, buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || !self.listing.rules.admits(name) {
                continue;
            }
            let kind = match entry.file_type() {
                // Not every file system says; the order of the rows depends on it, so it is asked for now.
                FileType::Unknown => rustix::fs::statat(&level.handle, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
                kind => kind,
            };
            let is_directory = match kind {
                FileType::RegularFile => Some((false, false)),
                FileType::Directory => Some((true, false)),
                FileType::Symlink => self.follow(level, name)?.map(|is_directory| (is_directory, true)),
                _ => None,
            };
            match is_directory {
                Some((false, is_link)) => level.names.push(name, b"", is_link),
                Some((true, is_link)) => {
                    if self.listing.query.directories {
                        level.names.push(name, b"", is_link);
                    }
                    if !self.listing.query.shallow {
                        level.names.push(name, b"/", is_link);
                    }
                }
                None if kind == FileType::Symlink && self.listing.query.links => level.names.push(name, b"", false),
                None if kind == FileType::Symlink => {}
                None => {
                    let path = format!("{}{}", level.prefix, String::from_utf8_lossy(name));
                    let is_special = kind != FileType::Unknown;
                    (self.listing.left_out)(&path, if is_special { Omission::Special } else { Omission::Unreadable });
                }
            }
        }
        Ok(())
    }

    /// Whether the link `name` in the directory of `level` is published as a directory, or as a file; None when it is not.
    fn follow(&mut self, level: &Level, name: &[u8]) -> Result<Option<bool>, Errno> {
        let path = format!("{}{}", level.prefix, String::from_utf8_lossy(name));
        let found = match self.listing.rules.follow {
            FollowLinks::None => Err(Lost::LeftOut(LeftOut::NotFollowed)),
            FollowLinks::Inside | FollowLinks::Any => links::find(self.listing.root, self.listing.rules, &path),
        };
        // Outside it depends on the sandbox whether it can be opened.
        let opened =
            found.and_then(|end| if end.inside { Ok(end) } else { end.open().map(|_| end).map_err(Lost::from) });
        match opened {
            Ok(end) => {
                if !end.inside {
                    (self.listing.met)(&path, Met::Outside(&end));
                }
                Ok(Some(end.is_directory()))
            }
            Err(Lost::LeftOut(why)) => {
                (self.listing.met)(&path, Met::LeftOut(why));
                Ok(None)
            }
            Err(Lost::Failed(error)) if shortage(error).is_some() => Err(error),
            Err(Lost::Failed(_)) => {
                (self.listing.met)(&path, Met::LeftOut(LeftOut::Unreadable));
                Ok(None)
            }
        }
    }

    /// The full name of `entry`, if the wire can carry it.
    fn carried(&mut self, prefix: &str, entry: &[u8]) -> Option<String> {
        let Ok(name) = std::str::from_utf8(entry) else {
            let path = format!("{prefix}{}", String::from_utf8_lossy(entry));
            self.leave_out(&path, Omission::Unnameable, "not UTF-8");
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
        self.leave_out(&path, Omission::Unnameable, reason);
        None
    }

    /// Tells that `path`, with or without a slash behind it, is left out; in the log once.
    fn leave_out(&mut self, path: &str, why: Omission, reason: &str) {
        if let Some(log) = self.listing.unlistable {
            log.warn(path, reason);
        }
        (self.listing.left_out)(path.trim_end_matches('/'), why);
    }

    /// None of what is gone or cannot be read; an error where it would be wrong to leave it out.
    fn absent<T>(&mut self, path: &str, error: Errno) -> Result<Option<T>, StoreError> {
        match read_error(error) {
            StoreError::NotFound => {
                if !matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) {
                    (self.listing.left_out)(path, Omission::Unreadable);
                }
                Ok(None)
            }
            error => Err(error),
        }
    }

    /// What is at `path` in the directory of `level`; None when it is nothing that was asked for, perhaps by now.
    fn look(&mut self, level: &Level, path: String, is_link: bool) -> Result<Option<(RemotePath, Entry)>, StoreError> {
        let Listing { root, rules, query, .. } = &self.listing;
        let name = &path[level.prefix.len()..];
        let stat = if is_link {
            links::find(root, rules, &path).map(|end| end.stat).map_err(|lost| lost.errno())
        } else {
            rustix::fs::statat(level.handle.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)
        };
        let stat = match stat {
            Ok(stat) => stat,
            Err(error) => return self.absent(&path, error),
        };
        if rules.never.contains(&links::id_of(&stat)) {
            return Ok(None);
        }
        let modified = stamp::modified(&stat);
        let entry = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if query.directories => Some(Entry::Directory(DirectoryMeta { modified })),
            FileType::Symlink if query.links => match rustix::fs::readlinkat(&level.handle, name, Vec::new()) {
                Ok(target) => match target.into_string() {
                    Ok(target) => Some(Entry::Link(LinkMeta { target, modified })),
                    Err(_) => {
                        self.leave_out(&path, Omission::Special, "a link whose target is not UTF-8");
                        None
                    }
                },
                Err(error) => return self.absent(&path, error),
            },
            _ => Stamp::regular(&stat).map(|stamp| Entry::File(stamp.meta())),
        };
        Ok(entry.and_then(|entry| Some((RemotePath::try_from(path).ok()?, entry))))
    }
}

impl Level {
    fn new(handle: OwnedFd, prefix: String, id: Option<FileId>, links: usize) -> Self {
        Self { handle, prefix, names: Names::default(), next: 0, id, links }
    }
}

/// Whether `path` is a directory, with its slash, that `name` lies in.
fn is_above(path: &str, name: &str) -> bool {
    path.ends_with('/') && name.starts_with(path)
}
