//! Files and directories from anywhere, each under its last name, and nothing else of where they are. Read-only.
//!
//! A file is opened in a store on its directory, and that store is never asked for another name or for a listing.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use qfs_core::model::RemotePath;
use qfs_core::store::{
    CommitSpec, Condition, DirectoryMeta, Entry, LeaveOut, ListQuery, Object, ObjectMeta, Omission, StageSpec,
    StagedObject, Store, StoreError, TargetMeta, Visit, WriteStore,
};

use crate::local::{Hidden, LocalStore};

/// Most paths.
const MAX_PICKED: usize = 1024;

/// Why paths cannot be handed out together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PickError {
    /// It is not there, or cannot be read.
    #[error("{}: {source}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// Its last name cannot be one here: it is not UTF-8, or there is none, as with `/`.
    #[error("{}: its name cannot be used", .path.display())]
    Unnameable {
        /// Which.
        path: PathBuf,
    },
    /// Neither a file nor a directory.
    #[error("{}: neither a file nor a directory", .path.display())]
    Special {
        /// Which.
        path: PathBuf,
    },
    /// Another one has the same name.
    #[error("{name}: two of the paths have this name")]
    Twice {
        /// The name.
        name: String,
    },
    /// More than a thousand.
    #[error("more than {MAX_PICKED} paths")]
    TooMany,
}

/// The store.
#[derive(Clone)]
pub struct Picked {
    places: Arc<BTreeMap<String, Place>>,
}

/// Where one of the names leads.
struct Place {
    /// The directory itself, or the one that the file is in.
    store: LocalStore,
    /// The name of the file in it; None: it is a directory.
    file: Option<RemotePath>,
    real: PathBuf,
}

/// What a listing has at a place in its order.
enum Row<'a> {
    File(&'a str, &'a Place, &'a RemotePath),
    Directory(&'a str, &'a Place),
    /// What is below a directory.
    Below(&'a str, &'a Place),
}

impl Picked {
    /// Hands out `paths`: of directories everything below, hidden names as `hidden` says. Symbolic links in the paths themselves are
    /// followed now, and none in the directories.
    ///
    /// # Errors
    /// [`PickError`] for the first that cannot be handed out.
    pub fn open<P: AsRef<Path>>(paths: &[P], hidden: Hidden) -> Result<Self, PickError> {
        if paths.len() > MAX_PICKED {
            return Err(PickError::TooMany);
        }
        let mut places = BTreeMap::new();
        for path in paths {
            let (name, place) = Place::open(path.as_ref(), hidden)?;
            if places.insert(name.clone(), place).is_some() {
                return Err(PickError::Twice { name });
            }
        }
        Ok(Self { places: Arc::new(places) })
    }

    /// The directories that are read, and the files.
    pub fn real_places(&self) -> impl Iterator<Item = (&Path, bool)> {
        self.places.values().map(|place| (&*place.real, place.file.is_none()))
    }

    /// The place of the first component of `path`, and what is left of it.
    fn find<'a>(&self, path: &'a RemotePath) -> Option<(&Place, &'a str)> {
        let (first, rest) = path.as_str().split_once('/').unwrap_or((path.as_str(), ""));
        Some((self.places.get(first)?, rest))
    }

    /// The rows at the top, in the order of all the names.
    fn rows(&self, query: &ListQuery) -> Vec<Row<'_>> {
        let mut rows = Vec::new();
        for (name, place) in &*self.places {
            match &place.file {
                Some(file) => rows.push((name.clone(), Row::File(name, place, file))),
                None => {
                    if query.directories {
                        rows.push((name.clone(), Row::Directory(name, place)));
                    }
                    if !query.shallow {
                        rows.push((format!("{name}/"), Row::Below(name, place)));
                    }
                }
            }
        }
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

impl Place {
    fn open(path: &Path, hidden: Hidden) -> Result<(String, Self), PickError> {
        let io = |error| PickError::Unreadable { path: path.to_owned(), source: StoreError::Io(error) };
        let unnameable = || PickError::Unnameable { path: path.to_owned() };
        let real = std::fs::canonicalize(path).map_err(io)?;
        let kind = std::fs::metadata(&real).map_err(io)?;
        // `.` and `..` have no last name of their own.
        let name =
            path.file_name().or_else(|| real.file_name()).and_then(|name| name.to_str()).ok_or_else(unnameable)?;
        let name = RemotePath::parse(name).map_err(|_| unnameable())?.as_str().to_owned();
        let unreadable = |source| PickError::Unreadable { path: path.to_owned(), source };
        if kind.is_dir() {
            let store = LocalStore::open_root(&real).map_err(unreadable)?.hidden(hidden);
            return Ok((name, Self { store, file: None, real }));
        }
        if !kind.is_file() {
            return Err(PickError::Special { path: path.to_owned() });
        }
        let (Some(parent), Some(file)) = (real.parent(), real.file_name().and_then(|name| name.to_str())) else {
            return Err(unnameable());
        };
        let file = RemotePath::parse(file).map_err(|_| unnameable())?;
        // Who names a hidden file means it.
        let store = LocalStore::open_root(parent).map_err(unreadable)?.hidden(Hidden::Included);
        // Now, and not when the first client asks.
        store.object(&file).map_err(unreadable)?;
        Ok((name, Self { store, file: Some(file), real }))
    }

    fn modified(&self) -> Option<Timestamp> {
        std::fs::metadata(&self.real).ok()?.modified().ok()?.try_into().ok()
    }
}

impl Store for Picked {
    fn open(&self, path: &RemotePath, first: usize) -> Result<(Arc<dyn Object>, Bytes), StoreError> {
        match self.find(path) {
            Some((Place { store, file: Some(file), .. }, "")) => store.open(file, first),
            Some((Place { store, file: None, .. }, rest)) if !rest.is_empty() => {
                store.open(&RemotePath::parse(rest).map_err(|_| StoreError::NotFound)?, first)
            }
            _ => Err(StoreError::NotFound),
        }
    }

    fn list(&self, query: &ListQuery, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.list_telling(query, visit, &mut |_, _| {})
    }

    fn list_telling(
        &self,
        query: &ListQuery,
        visit: &mut Visit<'_>,
        left_out: &mut LeaveOut<'_>,
    ) -> Result<(), StoreError> {
        if let Some(prefix) = &query.prefix {
            let Some((place @ Place { file: None, .. }, _)) = self.find(prefix) else {
                return Err(StoreError::NotFound);
            };
            let name = prefix.components().next().unwrap_or_default();
            return below(name, place, query, visit, left_out).map(drop);
        }
        let after = query.after.as_ref().map_or("", RemotePath::as_str);
        for row in self.rows(query) {
            let flow = match row {
                Row::File(name, place, file) if name > after => match place.store.object(file) {
                    Ok(object) => visit_row(name, Entry::File(object.meta().clone()), visit),
                    Err(StoreError::Busy) => return Err(StoreError::Busy),
                    // Removed meanwhile, which is no omission, or not to be read any more.
                    Err(StoreError::NotFound) => ControlFlow::Continue(()),
                    Err(_) => {
                        left_out(name, Omission::Unreadable);
                        ControlFlow::Continue(())
                    }
                },
                Row::Directory(name, place) if name > after => match place.modified() {
                    Some(modified) => visit_row(name, Entry::Directory(DirectoryMeta { modified }), visit),
                    None => ControlFlow::Continue(()),
                },
                Row::Below(name, place) => match below(name, place, query, visit, left_out) {
                    Ok(flow) => flow,
                    Err(StoreError::Busy) => return Err(StoreError::Busy),
                    Err(_) => {
                        left_out(name, Omission::Unreadable);
                        ControlFlow::Continue(())
                    }
                },
                Row::File(..) | Row::Directory(..) => ControlFlow::Continue(()),
            };
            if flow.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn visit_row(name: &str, entry: Entry, visit: &mut Visit<'_>) -> ControlFlow<()> {
    // Every name was parsed when the store was made.
    RemotePath::parse(name).map_or(ControlFlow::Continue(()), |path| visit(path, entry))
}

/// Lists what is below the directory `name`, as far as `query` asks for it.
fn below(
    name: &str,
    place: &Place,
    query: &ListQuery,
    visit: &mut Visit<'_>,
    left_out: &mut LeaveOut<'_>,
) -> Result<ControlFlow<()>, StoreError> {
    let inner = |path: &RemotePath| RemotePath::parse(path.as_str().strip_prefix(name)?.strip_prefix('/')?).ok();
    let after = match &query.after {
        Some(after) => match (inner(after), after.as_str().cmp(&format!("{name}/"))) {
            (Some(inner), _) => Some(inner),
            // Everything here comes before it.
            (None, std::cmp::Ordering::Greater) => return Ok(ControlFlow::Continue(())),
            (None, _) => None,
        },
        None => None,
    };
    let query = ListQuery { prefix: query.prefix.as_ref().and_then(inner), after, ..query.clone() };
    let mut flow = ControlFlow::Continue(());
    let visit = &mut |path: RemotePath, entry: Entry| {
        flow = visit_row(&format!("{name}/{}", path.as_str()), entry, visit);
        flow
    };
    place.store.list_telling(&query, visit, &mut |inner, why| left_out(&format!("{name}/{inner}"), why))?;
    Ok(flow)
}

/// Nothing can be changed.
impl WriteStore for Picked {
    fn existing(&self, _: &RemotePath) -> Result<Option<TargetMeta>, StoreError> {
        Err(StoreError::Unsupported)
    }

    fn stage_sparse(&self, _: &RemotePath, _: &StageSpec, _: u64) -> Result<Arc<dyn StagedObject>, StoreError> {
        Err(StoreError::Unsupported)
    }

    fn put(&self, _: &RemotePath, _: &[Bytes], _: &CommitSpec) -> Result<(), StoreError> {
        Err(StoreError::Unsupported)
    }

    fn put_described(&self, _: &RemotePath, _: &[Bytes], _: &CommitSpec) -> Result<ObjectMeta, StoreError> {
        Err(StoreError::Unsupported)
    }

    fn touch(&self, _: &RemotePath, _: Timestamp) -> Result<(), StoreError> {
        Err(StoreError::Unsupported)
    }

    fn set_executable(&self, _: &RemotePath, _: bool) -> Result<(), StoreError> {
        Err(StoreError::Unsupported)
    }

    fn remove(&self, _: &RemotePath, _: &Condition, _: bool) -> Result<(), StoreError> {
        Err(StoreError::Unsupported)
    }

    fn make_directory(&self, _: &RemotePath, _: Option<Timestamp>, _: bool) -> Result<(), StoreError> {
        Err(StoreError::Unsupported)
    }

    fn remove_directory(&self, _: &RemotePath, _: bool) -> Result<(), StoreError> {
        Err(StoreError::Unsupported)
    }

    fn make_link(&self, _: &RemotePath, _: &str, _: bool) -> Result<(), StoreError> {
        Err(StoreError::Unsupported)
    }

    fn sync_directories(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the test makes the files it hands out")]
mod tests {
    use super::*;

    fn remote(path: &str) -> RemotePath {
        RemotePath::parse(path).unwrap()
    }

    /// A directory with more in it than is handed out.
    fn place() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for name in ["files/a", "files/secret", "files/.hidden", "a-b", "a/x", "a/z/y", "a/.h", "other/o", "zz"] {
            let path = place.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        std::os::unix::fs::symlink("../other", place.path().join("a/link")).unwrap();
        place
    }

    fn picked(place: &tempfile::TempDir, names: &[&str]) -> Result<Picked, PickError> {
        let paths: Vec<_> = names.iter().map(|name| place.path().join(name)).collect();
        Picked::open(&paths, Hidden::Excluded)
    }

    fn names(store: &Picked, query: &ListQuery) -> Vec<String> {
        let mut names = Vec::new();
        let mut visit = |path: RemotePath, _: Entry| {
            names.push(path.as_str().to_owned());
            ControlFlow::Continue(())
        };
        store.list(query, &mut visit).unwrap();
        names
    }

    #[test]
    fn what_was_picked_is_there_and_nothing_beside_it() {
        let place = place();
        let store = picked(&place, &["files/.hidden", "files/secret", "a", "a-b"]).unwrap();
        for (name, content) in
            [(".hidden", "files/.hidden"), ("secret", "files/secret"), ("a/z/y", "a/z/y"), ("a-b", "a-b")]
        {
            let (object, _) = store.open(&remote(name), 0).unwrap();
            assert_eq!(object.read_at(0, content.len()).unwrap(), content);
        }
        for name in ["a", "files/a", "zz", "secret/x", "a/.h", "a/link/o", "x", "other/o", "a-b/x"] {
            assert!(matches!(store.open(&remote(name), 0), Err(StoreError::NotFound)), "{name}");
        }
        let condition = Condition::Any;
        assert!(matches!(store.remove(&remote("a-b"), &condition, false), Err(StoreError::Unsupported)));
    }

    // Fails when names are not in the order of their bytes, in which listings are continued.
    #[test]
    fn listings_are_in_order_and_can_be_continued_anywhere() {
        let place = place();
        let store = picked(&place, &["zz", "a", "a-b", "files/secret"]).unwrap();
        let all = ListQuery { directories: true, ..ListQuery::default() };
        let rows = names(&store, &all);
        assert_eq!(rows, ["a", "a-b", "a/x", "a/z", "a/z/y", "secret", "zz"]);
        for (index, row) in rows.iter().enumerate() {
            let query = ListQuery { after: Some(remote(row)), ..all.clone() };
            assert_eq!(names(&store, &query), rows[index + 1..], "after {row}");
        }
        assert_eq!(names(&store, &ListQuery { after: Some(remote("a/zzz")), ..all.clone() }), ["secret", "zz"]);
        assert_eq!(names(&store, &ListQuery { shallow: true, ..all.clone() }), ["a", "a-b", "secret", "zz"]);
        assert_eq!(names(&store, &ListQuery { prefix: Some(remote("a")), ..ListQuery::default() }), ["a/x", "a/z/y"]);
        assert_eq!(names(&store, &ListQuery { prefix: Some(remote("a/z")), ..ListQuery::default() }), ["a/z/y"]);
        for name in ["secret", "files", "x", "a-b"] {
            let query = ListQuery { prefix: Some(remote(name)), ..ListQuery::default() };
            assert!(
                matches!(store.list(&query, &mut |_, _| ControlFlow::Continue(())), Err(StoreError::NotFound)),
                "{name}"
            );
        }
    }

    #[test]
    fn what_cannot_be_picked_is_refused() {
        let place = place();
        assert!(matches!(picked(&place, &["missing"]), Err(PickError::Unreadable { .. })));
        assert!(matches!(picked(&place, &["files/a", "a"]), Err(PickError::Twice { .. })));
        assert!(matches!(Picked::open(&["/"], Hidden::Excluded), Err(PickError::Unnameable { .. })));
        assert!(matches!(Picked::open(&["/dev/null"], Hidden::Excluded), Err(PickError::Special { .. })));
    }
}
