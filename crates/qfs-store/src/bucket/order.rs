//! From keys, which come in their order, to rows in the order of names, with directories among them. Pure, and lazy.
//!
//! A bucket has no directories: that there is one shows in the first key below it, `a/x`. Its row, `a`, comes before `a-b`, which is
//! before `a/x` among the keys. So a row is held back as long as a directory may still come in front of it. These are few, unless
//! thousands of names begin alike and go on with a character before `/`; then [`Order::doubt`] names the directory that has to be
//! looked for.

use std::collections::VecDeque;

/// Rows held back, at most, before somebody has to look.
const MAX_HELD: usize = 1000;

/// One row: a name and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row<T> {
    /// An object.
    Object(T),
    /// A directory.
    Directory,
}

/// See the module.
pub(super) struct Order<T> {
    /// Whether directories are rows.
    directories: bool,
    held: VecDeque<(String, Row<T>)>,
    /// The key that came last; everything that comes is behind it.
    last: String,
    /// Directories that the last key is in, as lengths of it.
    open: Vec<usize>,
    /// Directories that were looked for, each the beginning of what is held: those that are there have had their row.
    resolved: Vec<String>,
    /// Objects whose names the last key begins with: nothing below them has a name.
    files: Vec<String>,
}

impl<T> Order<T> {
    /// `inside` is the directory that is listed, with its slash; it is no row.
    pub(super) fn new(directories: bool) -> Self {
        Self {
            directories,
            held: VecDeque::new(),
            last: String::new(),
            open: Vec::new(),
            resolved: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Takes the next key, which is a name or, with a slash at its end, a directory. False when nothing can be there, because an
    /// object has the name of a directory that it is in.
    pub(super) fn take(&mut self, key: &str, object: Option<T>) -> bool {
        self.files.retain(|file| key.starts_with(file.as_str()));
        let is_below = |file: &String| key.as_bytes().get(file.len()) == Some(&b'/');
        if self.files.iter().any(is_below) {
            return false;
        }
        self.resolved.retain(|directory| key.starts_with(directory.as_str()));
        let common = self.last.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
        self.open.retain(|end| *end < common);
        let known = self.open.last().copied();
        for (end, _) in key.match_indices('/').filter(|(end, _)| known.is_none_or(|known| *end > known)) {
            self.open.push(end);
            if self.directories && !self.resolved.iter().any(|directory| *directory == key[..end]) {
                self.insert(&key[..end], Row::Directory);
            }
        }
        key.clone_into(&mut self.last);
        if let Some(object) = object {
            self.files.push(key.to_owned());
            self.held.push_back((key.to_owned(), Row::Object(object)));
        }
        true
    }

    fn insert(&mut self, name: &str, row: Row<T>) {
        let at = self.held.partition_point(|(held, _)| held.as_str() < name);
        if self.held.get(at).is_none_or(|(held, _)| held != name) {
            self.held.insert(at, (name.to_owned(), row));
        }
    }

    /// The next row that nothing can come in front of any more.
    pub(super) fn next(&mut self) -> Option<(String, Row<T>)> {
        let (name, _) = self.held.front()?;
        if self.directories && self.doubts(name).next().is_some() { None } else { self.held.pop_front() }
    }

    /// What is left at the end.
    pub(super) fn rest(&mut self) -> Option<(String, Row<T>)> {
        self.held.pop_front()
    }

    /// A directory that has to be looked for, because too much waits for it.
    pub(super) fn doubt(&self) -> Option<String> {
        if self.held.len() < MAX_HELD {
            return None;
        }
        self.held.front().and_then(|(name, _)| self.doubts(name).next()).map(str::to_owned)
    }

    /// What looking for it has found.
    pub(super) fn resolve(&mut self, directory: &str, exists: bool) {
        self.resolved.push(directory.to_owned());
        if exists {
            self.insert(directory, Row::Directory);
        }
    }

    /// Directories that may still come and stand in front of `name`.
    fn doubts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let may_come = |directory: &&str| {
            let key = self.last.as_bytes();
            // Its keys begin with its name and a slash: they are behind the last key while that goes on with less than a slash.
            key.starts_with(directory.as_bytes()) && key.get(directory.len()).is_some_and(|next| *next < b'/')
        };
        let starts = name.bytes().enumerate().skip(1).filter(|(_, byte)| *byte < b'/').map(|(at, _)| at);
        starts
            .filter_map(|at| name.get(..at))
            .filter(|directory| !directory.ends_with('/'))
            .filter(may_come)
            .filter(|directory| !self.resolved.iter().any(|resolved| resolved == directory))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Everything that comes out, with the most that was held.
    fn rows(keys: &[&str], directories: bool) -> (Vec<String>, usize) {
        let (mut order, mut rows, mut most) = (Order::new(directories), Vec::new(), 0);
        for key in keys {
            let is_object = !key.ends_with('/');
            order.take(key, is_object.then_some(()));
            most = most.max(order.held.len());
            while let Some(directory) = order.doubt() {
                let below = format!("{directory}/");
                let exists = keys.iter().any(|key| key.starts_with(&below));
                order.resolve(&directory, exists);
                rows.extend(std::iter::from_fn(|| order.next()).map(|(name, _)| name));
            }
            rows.extend(std::iter::from_fn(|| order.next()).map(|(name, _)| name));
        }
        rows.extend(std::iter::from_fn(|| order.rest()).map(|(name, _)| name));
        (rows, most)
    }

    #[test]
    fn directories_stand_where_their_names_do() {
        let keys = ["Z", "a-/z", "a.b", "a/b.c", "a/b/c", "a/b0", "a/x", "a0", "b"];
        assert_eq!(
            rows(&keys, true).0,
            ["Z", "a", "a-", "a-/z", "a.b", "a/b", "a/b.c", "a/b/c", "a/b0", "a/x", "a0", "b"]
        );
        assert_eq!(rows(&keys, false).0, keys);
        assert_eq!(rows(&["d/", "d/e/"], true).0, ["d", "d/e"]);
    }

    #[test]
    fn thousands_of_names_that_begin_alike_are_not_held() {
        let names: Vec<_> = (0..5000).map(|n| format!("part-{n:05}")).collect();
        for is_there in [false, true] {
            let mut keys: Vec<_> = names.iter().map(String::as_str).collect();
            keys.extend(is_there.then_some("part/x"));
            let (rows, most) = rows(&keys, true);
            assert!(rows.is_sorted() && most <= MAX_HELD + 1, "{most}");
            assert_eq!(
                (rows.len(), rows.first().map(String::as_str) == Some("part")),
                (if is_there { 5002 } else { 5000 }, is_there)
            );
        }
    }

    #[test]
    fn nothing_is_below_an_object() {
        let keys = ["a", "a-", "a/b", "a/c/d", "b"];
        assert_eq!(rows(&keys, true).0, ["a", "a-", "b"]);
    }

    proptest! {
        #[test]
        fn rows_are_the_files_and_their_directories_in_order(
            names in proptest::collection::btree_set("[a.\\-0](/?[a.\\-0]){0,4}", 0..40)
        ) {
            let is_below = |name: &str| names.iter().any(|file: &String| name.starts_with(&format!("{file}/")));
            let files: Vec<_> = names.iter().map(String::as_str).filter(|name| !is_below(name)).collect();
            let mut expected: BTreeSet<String> = files.iter().map(|file| (*file).to_owned()).collect();
            for file in &files {
                expected.extend(file.match_indices('/').map(|(end, _)| file[..end].to_owned()));
            }
            prop_assert_eq!(rows(&files, true).0, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
