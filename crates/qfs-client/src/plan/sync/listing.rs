//! What a side holds, as a plan sees it: names and what stands under them, without any content.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use qfs_core::model::{Digest, ETag, RemotePath};

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub modified: Timestamp,
    /// Whether it may be executed; None where the side does not say.
    pub executable: Option<bool>,
    /// SHA-256 of the content, where it is known.
    pub sha256: Option<Digest>,
    /// Names the version, where the side has etags.
    pub etag: Option<ETag>,
}

/// A directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Directory {
    /// Modification time; None where the side does not say, or where the directory is known by what lies in it only.
    pub modified: Option<Timestamp>,
}

/// A symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its text: where it leads, as it was written.
    pub text: String,
}

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A regular file.
    File(File),
    /// A directory.
    Directory(Directory),
    /// A symbolic link.
    Link(Link),
    /// Something else, as a pipe or a device: it is there, and nothing is done about it.
    Special,
}

/// The kinds of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Something else.
    Special,
}

impl Entry {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::File(_) => Kind::File,
            Self::Directory(_) => Kind::Directory,
            Self::Link(_) => Kind::Link,
            Self::Special => Kind::Special,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Link => "link",
            Self::Special => "special file",
        })
    }
}

/// All that one side holds. Directories that are known by what lies in them only need not be listed.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// By name.
    pub entries: BTreeMap<RemotePath, Entry>,
    /// Names that no [`RemotePath`] can be, with `/` between components and U+FFFD for what is no UTF-8.
    pub unnameable: Vec<String>,
    /// Whether something may be there that is not listed: a directory that could not be read, a listing that was cut off.
    pub incomplete: bool,
}

impl FromIterator<(RemotePath, Entry)> for Listing {
    fn from_iter<I: IntoIterator<Item = (RemotePath, Entry)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().collect(), ..Self::default() }
    }
}

/// The directories above `name`, from the root down.
pub(super) fn above(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(end, _)| &name[..end])
}
