//! One side as the plan works with it: who takes part, and who stands by.
//!
//! A **bystander** is a name that takes no part: excluded, hidden, a partial file, a link that is not carried. It is not transferred and
//! not removed, and neither is a directory with one in it. What the source has as a bystander is not removed on the target either:
//! the source does not lack it.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use qfs_core::model::RemotePath;

use super::filter::{Judge, Verdict};
use super::links::{self, LinkFault};
use super::listing::{Entry, File, Kind, Listing, above};
use super::options::Options;

/// How the names of partial files end.
const PARTIAL_SUFFIX: &str = ".qfs-part";

/// An entry that takes part.
#[derive(Debug, Clone, Copy)]
pub(super) enum Node<'a> {
    File(&'a File),
    Directory(Option<Timestamp>),
    Link(&'a str),
}

impl Node<'_> {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::File(_) => Kind::File,
            Self::Directory(_) => Kind::Directory,
            Self::Link(_) => Kind::Link,
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self, Self::Directory(_))
    }
}

/// Why an entry stands by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aside {
    Hidden,
    Excluded,
    /// A directory of which only some content takes part.
    Entered,
    Link(LinkFault),
    /// It lies below a file or a link: the listing contradicts itself.
    BelowFile,
}

/// One side, sorted out.
#[derive(Debug, Default)]
pub(super) struct Side<'a> {
    /// Who takes part, with the directories above them.
    pub(super) nodes: BTreeMap<RemotePath, Node<'a>>,
    pub(super) aside: BTreeMap<&'a str, (Kind, Aside)>,
}

impl<'a> Side<'a> {
    pub(super) fn new(listing: &'a Listing, options: &'a Options) -> Self {
        let mut judge = Judge::new(&options.filters);
        let directories = directories(listing);
        let mut side = Self::default();
        for (path, entry) in &listing.entries {
            let name = path.as_str();
            let is_directory = entry.kind() == Kind::Directory;
            let verdict = judge.judge(name, is_directory);
            let aside = if above(name).any(|directory| !directories.contains(directory)) {
                Some(Aside::BelowFile)
            } else if is_partial(path) || (!options.hidden && path.is_hidden()) {
                Some(Aside::Hidden)
            } else if verdict == Verdict::Excluded {
                Some(Aside::Excluded)
            } else if verdict == Verdict::Entered {
                Some(Aside::Entered)
            } else if let Entry::Special = entry {
                Some(Aside::Link(LinkFault::Special))
            } else if let Entry::Link(_) = entry
                && !options.links
            {
                Some(Aside::Link(LinkFault::NotAsked))
            } else if let Entry::Link(link) = entry {
                links::check(name, &link.text, options.hidden).err().map(Aside::Link)
            } else {
                None
            };
            if let Some(aside) = aside {
                side.aside.insert(name, (entry.kind(), aside));
                continue;
            }
            side.insert_above(name, &mut judge);
            let node = match entry {
                Entry::Special => continue,
                Entry::File(file) => Node::File(file),
                Entry::Directory(directory) => Node::Directory(directory.modified),
                Entry::Link(link) => Node::Link(&link.text),
            };
            side.nodes.insert(path.clone(), node);
        }
        side
    }

    /// The directories above a name that takes part do so too, listed or not.
    fn insert_above(&mut self, name: &'a str, judge: &mut Judge<'a>) {
        let directories: Vec<_> = above(name).collect();
        for directory in directories.into_iter().rev() {
            let Ok(path) = RemotePath::parse(directory) else { return };
            if self.nodes.contains_key(&path) {
                // Then those above it are there too.
                return;
            }
            if judge.judge(directory, true) == Verdict::Entered {
                self.aside.insert(directory, (Kind::Directory, Aside::Entered));
            }
            self.nodes.insert(path, Node::Directory(None));
        }
    }

    /// Whether this name, or a directory above it, stands by on this side.
    pub(super) fn stands_by(&self, name: &str) -> bool {
        let entered = |name: &str| matches!(self.aside.get(name), None | Some((_, Aside::Entered)));
        !(entered(name) && above(name).all(entered))
    }

    /// Files and links that take part.
    pub(super) fn held(&self) -> u64 {
        self.nodes.values().filter(|node| !node.is_directory()).count() as u64
    }
}

/// All real directories of a listing, those included that are known by what lies in them only.
fn directories(listing: &Listing) -> HashSet<&str> {
    let mut directories: HashSet<_> = listing.entries.keys().flat_map(|path| above(path.as_str())).collect();
    for (path, entry) in &listing.entries {
        if entry.kind() == Kind::Directory {
            directories.insert(path.as_str());
        } else {
            directories.remove(path.as_str());
        }
    }
    directories
}

/// Whether a component is that of a partial file (`qfs-store` makes them): no side shows them to the other.
fn is_partial(path: &RemotePath) -> bool {
    path.components().any(|part| part.starts_with('.') && part.ends_with(PARTIAL_SUFFIX))
}
