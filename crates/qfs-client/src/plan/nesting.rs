//! Names of one run of which one lies below another, as `a/b` below `a`: they cannot both be files here. Pure.
//!
//! The shorter name wins, whatever the order in which things happen: left to the disk, whichever came first would, and that
//! differs from run to run. An honest server lists such names only where a file became a directory while it was listed.

use std::collections::HashSet;

use qfs_core::model::RemotePath;

/// Looks for names above others in a listing, whose names come in ascending order (PROTOCOL §2.2).
///
/// In that order everything that starts with a name follows it at once. So of all the names before, only those count that
/// the last one starts with, and their lengths are all there is to remember: at most 4,096 numbers, and work that goes with
/// the length of the name.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    last: String,
    /// Lengths of the names that `last` starts with, itself included, ascending.
    starts: Vec<usize>,
}

impl Listed {
    /// The topmost name above `path`, which comes after all those seen before.
    pub(crate) fn above(&mut self, path: &RemotePath) -> Option<RemotePath> {
        let text = path.as_str();
        let common = self.last.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
        while self.starts.last().is_some_and(|start| *start > common) {
            self.starts.pop();
        }
        let above = parents(text).find(|parent| self.starts.binary_search(&parent.len()).is_ok());
        self.starts.push(text.len());
        self.last.clear();
        self.last.push_str(text);
        above.and_then(|above| RemotePath::parse(above).ok())
    }
}

/// Looks for names above others among names given by hand, in any order: which of them are files is asked of the listing then.
#[derive(Debug)]
pub(crate) struct Named<'a> {
    names: HashSet<&'a str>,
}

impl<'a> Named<'a> {
    pub(crate) fn new(names: impl Iterator<Item = &'a str>) -> Self {
        Self { names: names.collect() }
    }

    /// Whether any of the names is above `path`.
    pub(crate) fn is_below(&self, path: &RemotePath) -> bool {
        parents(path.as_str()).any(|parent| self.names.contains(parent))
    }
}

/// The directories that `name` lies in, from the top.
pub(crate) fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(slash, _)| &name[..slash])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(above: Option<RemotePath>) -> Option<String> {
        above.map(|above| above.as_str().to_owned())
    }

    /// Fails when: only the name just before is compared; names that merely begin alike count as being above.
    #[test]
    fn the_topmost_file_above_is_found_whatever_lies_between() {
        let listing = ["a", "a-b", "a-b/c", "a/b", "a/b/c", "a0", "b/c", "b/c/d/e", "b/cc", "ba/c"];
        let expected = [None, None, Some("a-b"), Some("a"), Some("a"), None, None, Some("b/c"), None, None];
        let mut listed = Listed::default();
        let named = Named::new(listing.into_iter().rev());
        for (name, expected) in listing.iter().zip(expected) {
            let path = RemotePath::parse(name).unwrap();
            assert_eq!(found(listed.above(&path)).as_deref(), expected, "{name}, listed");
            assert_eq!(named.is_below(&path), expected.is_some(), "{name}, named");
        }
    }

    proptest! {
        /// Both ways agree on any names.
        #[test]
        fn listed_and_named_agree(names in prop::collection::btree_set("[ab-](/?[ab-]){0,5}", 0..60)) {
            let named = Named::new(names.iter().map(String::as_str));
            let mut listed = Listed::default();
            for name in &names {
                let path = RemotePath::parse(name).unwrap();
                prop_assert_eq!(listed.above(&path).is_some(), named.is_below(&path), "{}", name);
            }
        }
    }
}
