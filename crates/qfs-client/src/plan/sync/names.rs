//! Names that the target cannot carry, found before anything is written.

use std::collections::BTreeMap;
use std::fmt;

use qfs_core::model::{RemotePath, escape_untrusted};

use super::filter::{Judge, Verdict};
use super::listing::{Listing, above};
use super::options::Options;
use super::side::Side;

/// A name that cannot be had on the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadName {
    /// The name, as it is at the source; not safe to print.
    pub name: String,
    /// What is wrong with it.
    pub why: NameFault,
}

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// No published file can have it: it is no UTF-8, or has a backslash in it.
    #[error("no published file can have this name")]
    Unnameable,
    /// It, or a component of it, is longer than the target allows.
    #[error("the name is too long for the target")]
    TooLong,
    /// Another name of the source is the same where case does not count.
    #[error("on the target it is the same name as {0}")]
    Collides(
        /// The other one.
        RemotePath,
    ),
    /// Another name of the target is the same where case does not count.
    #[error("on the target {0} is there, which differs in case only")]
    Taken(
        /// The other one.
        RemotePath,
    ),
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", escape_untrusted(&self.name), self.why)
    }
}

/// All names of the source that the target cannot carry.
pub(super) fn check(listing: &Listing, source: &Side<'_>, target: &Side<'_>, options: &Options) -> Vec<BadName> {
    let mut judge = Judge::new(&options.filters);
    let mut bad = Vec::new();
    for name in &listing.unnameable {
        let is_hidden = name.split('/').any(|part| part.starts_with('.'));
        // Whether it is a directory is not told, so a rule that is for directories only does not save it.
        if (options.hidden || !is_hidden) && judge.judge(name, false) == Verdict::Included {
            bad.push((name.clone(), NameFault::Unnameable));
        }
    }
    let rules = options.target;
    for path in source.nodes.keys() {
        let too_long = |part: &str| part.len() > rules.max_component_bytes;
        if path.as_str().len() > rules.max_path_bytes || path.components().any(too_long) {
            bad.push((path.as_str().to_owned(), NameFault::TooLong));
        }
    }
    if rules.folds_case {
        collisions(source, target, &mut bad);
    }
    bad.into_iter().map(|(name, why)| BadName { name, why }).collect()
}

fn collisions(source: &Side<'_>, target: &Side<'_>, bad: &mut Vec<(String, NameFault)>) {
    // Two directories that are one make all that lies in them collide as well; the directories are enough to tell.
    let same_parent = |a: &RemotePath, b: &str| a.parent() == above(b).last();
    let mut wanted: BTreeMap<String, &RemotePath> = BTreeMap::new();
    for path in source.nodes.keys() {
        let other = *wanted.entry(fold(path.as_str())).or_insert(path);
        if other != path && same_parent(path, other.as_str()) {
            bad.push((path.as_str().to_owned(), NameFault::Collides(other.clone())));
        }
    }
    for name in target.nodes.keys().map(RemotePath::as_str).chain(target.aside.keys().copied()) {
        let Ok(there) = RemotePath::parse(name) else { continue };
        if let Some(path) = wanted.get(&fold(name))
            && path.as_str() != name
            && !source.nodes.contains_key(&there)
            && same_parent(path, name)
        {
            bad.push((path.as_str().to_owned(), NameFault::Taken(there)));
        }
    }
}

/// A name without its case. Systems differ in what they take for the same; this takes for the same what any of them may.
fn fold(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_their_case() {
        for (a, b) in
            [("README", "readme"), ("É", "é"), ("Straße", "STRASSE"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("K", "\u{212a}")]
        {
            assert_eq!(fold(a), fold(b));
        }
        assert_ne!(fold("a"), fold("b"));
    }
}
