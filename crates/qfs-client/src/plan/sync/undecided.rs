//! Which digests a plan would gain from.

use std::collections::{BTreeSet, HashSet};

use qfs_core::model::RemotePath;

use super::compare::wants_digests;
use super::listing::Listing;
use super::options::Options;
use super::side::{Node, Side};

/// Below this size, in bytes, files are not hashed on both sides to find out whether they were only renamed: to transfer them costs
/// no more. Where one side knows digests already, the other does at any size.
pub const RENAME_WORTH_BYTES: u64 = 64 << 10;

/// Files whose digests are not known and would decide something. Both lists are in the order of names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Undecided {
    /// On the source.
    pub source: Vec<RemotePath>,
    /// On the target.
    pub target: Vec<RemotePath>,
}

/// Finds the digests worth knowing before [`super::plan()`]: with `checksum`, of all files of the same size on both sides; otherwise
/// of those whose times differ; and of files that may only have been renamed. Whoever finds out fills them in. What stays unknown is
/// transferred.
#[must_use]
pub fn undecided(source: &Listing, target: &Listing, options: &Options) -> Undecided {
    let (source, target) = (Side::new(source, options), Side::new(target, options));
    let (mut wanted, mut there) = (BTreeSet::new(), BTreeSet::new());
    let worth = worth_a_look(&source, &target);
    for (path, node) in &source.nodes {
        match (node, target.nodes.get(path)) {
            (Node::File(file), Some(Node::File(other))) if wants_digests(file, other, options) => {
                wanted.extend(file.sha256.is_none().then_some(path));
                there.extend(other.sha256.is_none().then_some(path));
            }
            (node, None) => {
                wanted.extend(unknown(node).filter(|size| worth.contains(size)).map(|_| path));
            }
            _ => {}
        }
    }
    for (path, node) in only(&target, &source) {
        there.extend(unknown(node).filter(|size| worth.contains(size)).map(|_| path));
    }
    let list = |paths: BTreeSet<&RemotePath>| paths.into_iter().cloned().collect();
    Undecided { source: list(wanted), target: list(there) }
}

/// What one side has under a name that the other does not have.
fn only<'a>(side: &'a Side<'_>, other: &'a Side<'_>) -> impl Iterator<Item = (&'a RemotePath, &'a Node<'a>)> {
    side.nodes.iter().filter(|(path, _)| !other.nodes.contains_key(path))
}

/// The size of a file whose digest is not known.
fn unknown(node: &Node<'_>) -> Option<u64> {
    match node {
        Node::File(file) if file.sha256.is_none() => Some(file.size),
        _ => None,
    }
}

/// The sizes of files which may have been renamed, and of which it is worth to find out.
fn worth_a_look(source: &Side<'_>, target: &Side<'_>) -> HashSet<u64> {
    let mut sizes: [HashSet<u64>; 2] = Default::default();
    let mut known = HashSet::new();
    for (sizes, (side, other)) in sizes.iter_mut().zip([(source, target), (target, source)]) {
        for (_, node) in only(side, other) {
            if let Node::File(file) = node {
                sizes.insert(file.size);
                known.extend(file.sha256.map(|_| file.size));
            }
        }
    }
    let [new, old] = sizes;
    let is_worth = |size: &u64| *size > 0 && (*size >= RENAME_WORTH_BYTES || known.contains(size));
    new.intersection(&old).copied().filter(is_worth).collect()
}
