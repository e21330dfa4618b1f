//! Symbolic links below the root that are published: where each ends, found one component at a time.
//!
//! The kernel is never asked to follow a link. Every component is opened by itself, below the handle of the directory it is in
//! and without following; the text of a link is put in its place; `..` goes back to the handle that was come from. So whatever is
//! swapped meanwhile, "inside" is where the walk really was, and the root is known by its inode, whatever a link calls it. The
//! links of /proc that are more than their text (`/proc/self/fd/3`) are their text here.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::{partial, resolve};

/// Whether names with a component that starts with a dot are part of a [`LocalStore`](super::LocalStore).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hidden {
    /// They are neither listed nor opened.
    #[default]
    Excluded,
    /// They are like any other.
    Included,
}

/// Which symbolic links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FollowLinks {
    /// None: they are not published.
    #[default]
    None,
    /// Those that end at something within the root, whatever way they take.
    Inside,
    /// All.
    Any,
}

/// Why a symbolic link is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LeftOut {
    /// No links are followed.
    NotFollowed,
    /// It ends outside of the root.
    Outside,
    /// It leads nowhere.
    Nowhere,
    /// It leads to itself, to a directory that it lies in, or through too many other links.
    Circle,
    /// It ends at a name within the root that is not published.
    Hidden,
    /// It ends at neither a file nor a directory.
    Special,
    /// It ends at something that no link may lead to; see [`LocalStore::never_by_link`](super::LocalStore::never_by_link).
    Never,
    /// What it ends at must not be read, for lack of rights or because the sandbox was closed before the link came.
    Unreadable,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFollowed => "a symbolic link",
            Self::Outside => "a symbolic link that ends outside",
            Self::Nowhere => "a symbolic link that leads nowhere",
            Self::Circle => "in a circle of symbolic links",
            Self::Hidden => "a symbolic link that ends at a hidden name",
            Self::Special => "a symbolic link to neither a file nor a directory",
            Self::Never => "a symbolic link to what is never published",
            Self::Unreadable => "a symbolic link to what cannot be read, or not within the sandbox",
        })
    }
}

/// Links that one name may lead through, as the kernel counts them.
const MAX_LINKS: usize = 40;

/// Directories that one name may lead through, each a file descriptor for as long as it is looked for.
pub(super) const MAX_DEPTH: usize = 256;

/// How often a file that is replaced between two looks at it is looked for anew.
const RACE_ATTEMPTS: usize = 8;

/// What a handle of a thing is opened with that is only to be looked at.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Device and inode.
pub(super) type FileId = (u64, u64);

#[allow(clippy::useless_conversion, reason = "the width of these fields differs between architectures")]
pub(super) fn id_of(stat: &Stat) -> FileId {
    (stat.st_dev.into(), stat.st_ino.into())
}

/// What names a store has, and what its links may lead to.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    pub(super) hidden: Hidden,
    pub(super) follow: FollowLinks,
    /// Files and directories that no link may lead to.
    pub(super) never: Vec<FileId>,
    /// Whether a file that may not be read is told apart from one that is not there.
    pub(super) candid: bool,
}

impl Rules {
    /// Whether the store has names with this component.
    pub(super) fn admits(&self, component: &[u8]) -> bool {
        !component.starts_with(b".")
            || (self.hidden == Hidden::Included && !std::str::from_utf8(component).is_ok_and(partial::is_reserved))
    }
}

/// Why a name led nowhere.
#[derive(Debug)]
pub(super) enum Lost {
    LeftOut(LeftOut),
    /// The system failed, which says nothing of the link.
    Failed(Errno),
}

impl From<Errno> for Lost {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => Self::LeftOut(LeftOut::Nowhere),
            Errno::LOOP => Self::LeftOut(LeftOut::Circle),
            Errno::ACCESS | Errno::PERM => Self::LeftOut(LeftOut::Unreadable),
            error => Self::Failed(error),
        }
    }
}

impl Lost {
    /// As an error of whoever asked for the name.
    pub(super) fn errno(&self) -> Errno {
        match self {
            Self::LeftOut(_) => Errno::NOENT,
            Self::Failed(error) => *error,
        }
    }
}

/// Where a name ended: a file or a directory.
#[derive(Debug)]
pub(super) struct End {
    /// Opened to be looked at.
    pub(super) thing: OwnedFd,
    pub(super) stat: Stat,
    /// Whether it lies within the root.
    pub(super) inside: bool,
    /// Of a file: the directory it is in, and its name there.
    place: Option<(OwnedFd, Vec<u8>)>,
}

impl End {
    pub(super) fn is_directory(&self) -> bool {
        self.place.is_none()
    }

    /// Opens it to be read or listed.
    pub(super) fn open(&self) -> Result<OwnedFd, Errno> {
        let Some((directory, name)) = &self.place else { return resolve::open_directory(&self.thing, "") };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = retry_on_intr(|| rustix::fs::openat(directory, &name[..], flags, Mode::empty()))?;
        // Looked at was this file and no other.
        if id_of(&rustix::fs::fstat(&file)?) == id_of(&self.stat) { Ok(file) } else { Err(Errno::AGAIN) }
    }
}

/// Opens what `path` ends at to be read, through whatever links `rules` let it.
pub(super) fn open(root: &OwnedFd, rules: &Rules, path: &str) -> Result<OwnedFd, Lost> {
    for _ in 0..RACE_ATTEMPTS {
        match find(root, rules, path)?.open() {
            Err(Errno::AGAIN) => {}
            done => return Ok(done?),
        }
    }
    Err(Lost::LeftOut(LeftOut::Nowhere))
}

/// Where `path`, below `root`, ends.
pub(super) fn find(root: &OwnedFd, rules: &Rules, path: &str) -> Result<End, Lost> {
    let start = retry_on_intr(|| rustix::fs::openat(root, ".", LOOK | OFlags::DIRECTORY, Mode::empty()))?;
    let root_id = id_of(&rustix::fs::fstat(&start)?);
    let mut walk = Walk { rules, root_id, way: vec![start], inside: true, never: None };
    // Last first; the text of links comes on top of them.
    let mut ahead: Vec<Vec<u8>> = path.split('/').rev().map(|name| name.as_bytes().to_vec()).collect();
    let (mut links, mut own) = (0, ahead.len());
    while let Some(name) = ahead.pop() {
        if ahead.len() < own {
            // The next of the name's own components: the one before has ended where it stands for.
            walk.ensure_allowed()?;
            own = ahead.len();
        }
        if name == b".." {
            walk.climb()?;
            continue;
        }
        if walk.inside && !rules.admits(&name) {
            return Err(Lost::LeftOut(LeftOut::Hidden));
        }
        let thing = retry_on_intr(|| rustix::fs::openat(walk.here(), &name[..], LOOK, Mode::empty()))?;
        let stat = rustix::fs::fstat(&thing)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Lost::LeftOut(LeftOut::Circle));
                }
                let text = rustix::fs::readlinkat(&thing, "", Vec::new())?.into_bytes();
                if text.starts_with(b"/") {
                    walk.go_to_top()?;
                }
                let names = text.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
                ahead.extend(names.rev().map(<[u8]>::to_vec));
            }
            FileType::Directory => {
                walk.enter(thing, &stat);
                if walk.way.len() > MAX_DEPTH {
                    return Err(Lost::LeftOut(LeftOut::Nowhere));
                }
            }
            FileType::RegularFile if rules.never.contains(&id_of(&stat)) => return Err(Lost::LeftOut(LeftOut::Never)),
            FileType::RegularFile if ahead.is_empty() => return walk.end_at(thing, stat, name),
            FileType::RegularFile => return Err(Lost::LeftOut(LeftOut::Nowhere)),
            _ => return Err(Lost::LeftOut(LeftOut::Special)),
        }
    }
    walk.end_here()
}

struct Walk<'a> {
    rules: &'a Rules,
    root_id: FileId,
    /// The directories come through since the root, or since the walk left it; at least one.
    way: Vec<OwnedFd>,
    /// Whether the first of them is the root.
    inside: bool,
    /// How many of them lie in a directory that no link may lead to, that one included; counted from the end.
    never: Option<usize>,
}

impl Walk<'_> {
    fn here(&self) -> impl AsFd + '_ {
        &self.way[self.way.len() - 1]
    }

    fn enter(&mut self, directory: OwnedFd, stat: &Stat) {
        if id_of(stat) == self.root_id {
            self.way.clear();
            self.inside = true;
            self.never = None;
        } else if self.never.is_some() || self.rules.never.contains(&id_of(stat)) {
            self.never = Some(self.never.unwrap_or(0) + 1);
        }
        self.way.push(directory);
    }

    /// The directory above, which is where the walk came from. Only above where it began the system is asked.
    fn climb(&mut self) -> Result<(), Errno> {
        if self.way.len() > 1 {
            self.way.pop();
            self.never = self.never.map(|deep| deep - 1).filter(|deep| *deep > 0);
            return Ok(());
        }
        let flags = LOOK | OFlags::DIRECTORY;
        let above = retry_on_intr(|| rustix::fs::openat(self.here(), "..", flags, Mode::empty()))?;
        self.start_at(above)
    }

    fn go_to_top(&mut self) -> Result<(), Errno> {
        let top = retry_on_intr(|| rustix::fs::open("/", LOOK | OFlags::DIRECTORY, Mode::empty()))?;
        self.start_at(top)
    }

    fn start_at(&mut self, directory: OwnedFd) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(&directory)?;
        self.way.clear();
        self.inside = false;
        self.never = None;
        self.enter(directory, &stat);
        Ok(())
    }

    fn end_at(mut self, thing: OwnedFd, stat: Stat, name: Vec<u8>) -> Result<End, Lost> {
        self.ensure_allowed()?;
        Ok(End { thing, stat, inside: self.inside, place: self.way.pop().map(|directory| (directory, name)) })
    }

    fn end_here(mut self) -> Result<End, Lost> {
        self.ensure_allowed()?;
        let Some(thing) = self.way.pop() else { return Err(Errno::NOENT.into()) };
        let stat = rustix::fs::fstat(&thing)?;
        Ok(End { thing, stat, inside: self.inside, place: None })
    }

    fn ensure_allowed(&self) -> Result<(), Lost> {
        if self.never.is_some() {
            return Err(Lost::LeftOut(LeftOut::Never));
        }
        match self.rules.follow {
            FollowLinks::Inside if !self.inside => Err(Lost::LeftOut(LeftOut::Outside)),
            // Only a name with a link in it comes here.
            FollowLinks::None => Err(Lost::LeftOut(LeftOut::NotFollowed)),
            FollowLinks::Inside | FollowLinks::Any => Ok(()),
        }
    }
}
