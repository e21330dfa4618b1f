//! What is directly in one directory, as one request may see it. Other directories are looked into only where a scope leaves open
//! whether something of it is in them, and only until that is known.

use std::ops::ControlFlow;

use qfs_core::model::{Digest, HashKind, RemotePath};
use qfs_core::store::{Entry, ListQuery, ObjectMeta, Store, StoreError};

use super::View;
use crate::gate::tokens::{Place, Reach};

/// What is directly in a directory.
#[derive(Debug, Clone)]
pub(crate) enum Child {
    /// A file, with its digest where that is known.
    File(ObjectMeta, Option<Digest>),
    /// A directory.
    Directory,
}

impl<S: Store> View<S> {
    /// What is directly in `directory`: files, and the names of directories, with a scope of those that something of it is in. Blocks.
    ///
    /// # Errors
    /// As [`Self::list_below`].
    pub(crate) fn children(
        &self,
        directory: Option<&RemotePath>,
        visit: &mut dyn FnMut(&str, Child) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let reach = self.access.reach(directory);
        if reach == Reach::Nothing && directory.is_some() {
            return Err(StoreError::NotFound);
        }
        let all = reach == Reach::All;
        let mut found = all || directory.is_none();
        let mut failed = Ok(());
        let prefix = directory.map_or(0, |directory| directory.as_str().len() + 1);
        let query = ListQuery { prefix: directory.cloned(), directories: true, shallow: true, ..ListQuery::default() };
        self.versions.list(&query, HashKind::Sha256, &mut |path, entry, digest| {
            let is_seen = match &entry {
                _ if all => Ok(true),
                Entry::File(_) => Ok(self.access.covers(&path)),
                Entry::Directory(_) => self.shows(&path),
                Entry::Link(_) => Ok(false),
            };
            match (is_seen, entry, path.as_str().get(prefix..)) {
                (Ok(true), Entry::File(meta), Some(name)) => {
                    found = true;
                    visit(name, Child::File(meta, digest))
                }
                (Ok(true), Entry::Directory(_), Some(name)) => {
                    found = true;
                    visit(name, Child::Directory)
                }
                (Ok(_), ..) => ControlFlow::Continue(()),
                (Err(error), ..) => {
                    failed = Err(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        failed?;
        if found { Ok(()) } else { Err(StoreError::NotFound) }
    }

    /// Whether something of the scope is in `directory`, or all of it.
    fn shows(&self, directory: &RemotePath) -> Result<bool, StoreError> {
        let places = match self.access.reach(Some(directory)) {
            Reach::All => return Ok(true),
            Reach::Nothing => return Ok(false),
            Reach::Within(places) => places,
        };
        for place in places {
            if self.has_any(place)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn has_any(&self, place: Place) -> Result<bool, StoreError> {
        let query =
            ListQuery { prefix: place.directory, directories: true, shallow: !place.deep, ..ListQuery::default() };
        let mut found = false;
        let listed = self.versions.store().list(&query, &mut |path, entry| {
            found = match entry {
                Entry::File(_) => self.access.covers(&path),
                // What is in another kind of directory comes by itself.
                Entry::Directory(_) => self.access.reach(Some(&path)) == Reach::All,
                Entry::Link(_) => false,
            };
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match listed {
            Ok(()) => Ok(found),
            Err(StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use proptest::prelude::*;
    use qfs_core::store::{DigestCache, Object, Versions, Visit, WriteStore as _};
    use qfs_store::mem::MemStore;

    use super::*;
    use crate::gate::access::Gate;
    use crate::gate::tokens::{Issue, Scope, TokenFile};

    /// Remembers what was listed, by directory, and whether everything below it.
    struct Watched(MemStore, Mutex<Vec<(String, bool)>>);

    impl Store for Watched {
        fn open(&self, path: &RemotePath, first: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
            self.0.open(path, first)
        }

        fn list(&self, query: &ListQuery, visit: &mut Visit<'_>) -> Result<(), StoreError> {
            let directory = query.prefix.as_ref().map_or(String::new(), |prefix| prefix.as_str().to_owned());
            self.1.lock().unwrap().push((directory, !query.shallow));
            self.0.list(query, visit)
        }
    }

    fn path(name: &str) -> RemotePath {
        RemotePath::parse(name).unwrap()
    }

    /// A view of these files, and of directories where the name ends in a slash.
    fn view(names: &[&str], scope: &[&str]) -> View<Watched> {
        let home = tempfile::tempdir().unwrap();
        let file = TokenFile::in_directory(home.path());
        let texts: Vec<_> = scope.iter().map(|text| (*text).to_owned()).collect();
        let scope = (!texts.is_empty()).then(|| Scope::parse(&texts).unwrap());
        let token = file.create(Issue { scope, ..Issue::default() }).unwrap().0;
        let access = Gate::tokens(file).unwrap().admit_token(Some(&token)).unwrap();
        let store = MemStore::new();
        for name in names {
            match name.strip_suffix('/') {
                Some(name) => store.make_directory(&path(name), None, false).unwrap(),
                None => {
                    store.insert(&path(name), "x");
                }
            }
        }
        let store = Watched(store, Mutex::default());
        View::new(
            &Arc::new(Versions::new(store, Arc::new(DigestCache::default()), qfs_store::blocking_threads())),
            access,
        )
    }

    /// The names in `directory` (empty for the root), and what was listed for them; None when there is no such directory.
    fn children(view: &View<Watched>, directory: &str) -> Option<Vec<String>> {
        let directory = (!directory.is_empty()).then(|| path(directory));
        let mut names = Vec::new();
        let visited = view.children(directory.as_ref(), &mut |name, child| {
            names.push(if matches!(child, Child::Directory) { format!("{name}/") } else { name.to_owned() });
            ControlFlow::Continue(())
        });
        match visited {
            Ok(()) => Some(names),
            Err(StoreError::NotFound) => None,
            Err(error) => panic!("{error}"),
        }
    }

    const NAMES: [&str; 9] =
        ["a.txt", "b/c/d/e.csv", "b/c/f.txt", "b/none/", "in/empty/", "in/x", "out/deep/y", "out/z", "pub/q/r"];

    /// Fails when a listing of one directory reads others without need.
    #[test]
    fn one_directory_is_read_unless_a_pattern_leaves_it_open() {
        for (scope, directory, names, looks) in [
            (&[][..], "", Some(vec!["a.txt", "b/", "in/", "out/", "pub/"]), vec![("", false)]),
            (&["**"], "", Some(vec!["a.txt", "b/", "in/", "out/", "pub/"]), vec![("", false)]),
            (&["in"], "in", Some(vec!["empty/", "x"]), vec![("in", false)]),
            (&["in"], "in/empty", Some(vec![]), vec![("in/empty", false)]),
            (&["in", "a.txt"], "", Some(vec!["a.txt", "in/"]), vec![("", false)]),
            (&["b/c/d", "none/x"], "", Some(vec!["b/"]), vec![("", false), ("b/c", false)]),
            (&["b/c/d"], "out", None, vec![]),
            (&["b/c/none"], "", Some(vec![]), vec![("", false), ("b/c", false)]),
            (&["b/c/none"], "b", None, vec![("b", false), ("b/c", false)]),
            (&["pub/**"], "", Some(vec!["pub/"]), vec![("", false), ("pub", true)]),
            (&["pub/**"], "pub", Some(vec!["q/"]), vec![("pub", false)]),
            (&["out/*"], "out", Some(vec!["z"]), vec![("out", false)]),
            (&["b/*/f.txt"], "b", Some(vec!["c/"]), vec![("b", false), ("b/c", false), ("b/none", false)]),
            (
                &["**/*.csv"],
                "",
                Some(vec!["b/"]),
                vec![("", false), ("b", true), ("in", true), ("out", true), ("pub", true)],
            ),
        ] {
            let view = view(&NAMES, scope);
            let found = children(&view, directory);
            assert_eq!(
                found,
                names.map(|names| names.into_iter().map(str::to_owned).collect()),
                "{scope:?} {directory}"
            );
            let looked = view.versions.store().1.lock().unwrap().clone();
            let looked: Vec<_> = looked.iter().map(|(name, deep)| (name.as_str(), *deep)).collect();
            assert_eq!(looked, looks, "{scope:?} {directory}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        /// Fails when a directory is shown that nothing to be seen is in, or left out although something is.
        #[test]
        fn what_is_shown_is_what_is_covered(
            files in proptest::collection::vec("[abc](/[abc]){0,3}", 1..8),
            scope in proptest::collection::vec("[ab*?](/[abc*?]|/[*][*]|/[{]a,b/c[}]){0,3}", 1..3),
        ) {
            // No name may be both a file and a directory.
            let names: BTreeSet<_> = files.iter().map(|name| format!("{name}.f")).collect();
            let texts: Vec<_> = scope.iter().map(|text| if text.ends_with(['a', 'b', 'c']) { format!("{text}*") } else { text.clone() }).collect();
            prop_assume!(Scope::parse(&texts).is_ok());
            let view = view(&names.iter().map(String::as_str).collect::<Vec<_>>(), &texts.iter().map(String::as_str).collect::<Vec<_>>());
            let mut directories = BTreeSet::from([String::new()]);
            for name in &names {
                directories.extend(name.match_indices('/').map(|(at, _)| name[..at].to_owned()));
            }
            for directory in directories {
                let lead = if directory.is_empty() { String::new() } else { format!("{directory}/") };
                let covered = names.iter().filter(|name| view.access.covers(&path(name)));
                let wanted: BTreeSet<_> = covered.filter_map(|name| name.strip_prefix(&lead)).map(|name| {
                    name.split_once('/').map_or_else(|| name.to_owned(), |(child, _)| format!("{child}/"))
                }).collect();
                let found = children(&view, &directory).map(|names| names.into_iter().collect::<BTreeSet<_>>());
                let expected = (!wanted.is_empty() || directory.is_empty()).then_some(wanted);
                prop_assert_eq!(found, expected, "{} {:?}", directory, texts);
            }
        }
    }
}
