//! What is uploaded: files below a directory of this machine, and the names they get on the server.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qfs_core::model::{RemotePath, escape_untrusted};
use qfs_core::observe::FileId;
use qfs_core::store::{Entry, ListQuery, ObjectMeta, Omission, Store, StoreError, Versions};
use qfs_store::local::{Hidden, LocalStore};
use qfs_store::{blocking, blocking_threads};

/// A directory of this machine from which files are uploaded.
pub type Tree = Arc<Versions<LocalStore>>;

/// One file to upload.
#[derive(Clone)]
pub struct Source {
    /// Its number in the run.
    pub id: FileId,
    /// The directory it lies in.
    pub tree: Tree,
    /// Its name below that.
    pub local: RemotePath,
    /// The name it gets on the server.
    pub remote: RemotePath,
    /// What was there when the run was planned.
    pub meta: ObjectMeta,
}

/// Why something cannot be uploaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is no such file or directory, or it cannot be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The system refuses.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Its name cannot be one on a server.
    #[error("its name cannot be one on a server")]
    Name,
    /// It is neither a file nor a directory: a pipe, a socket, a device.
    #[error("it is not a regular file")]
    NotRegular,
    /// Something in the directory cannot be uploaded.
    #[error("{}: {}", escape_untrusted(&.0.local), .0.why)]
    Omitted(Omitted),
}

/// What lies below a directory and is not uploaded with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Omitted {
    /// Its name below the directory; not safe to print.
    pub local: String,
    /// Why.
    pub why: Aside,
}

/// Why something below a directory is not uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Aside {
    /// It cannot be read. Where it is a directory, nobody knows what is in it.
    #[error("it cannot be read")]
    Unreadable,
    /// Its name is no UTF-8, has a backslash in it, or would be too long there.
    #[error("no published file can have this name")]
    Unnameable,
    /// Links in directories are not followed.
    #[error("a symbolic link")]
    Link,
    /// A pipe, a socket, a device.
    #[error("neither file, directory nor symbolic link")]
    Special,
}

impl Aside {
    /// Whether a file may be lacking on the server for this reason that was asked for.
    #[must_use]
    pub fn is_loss(self) -> bool {
        matches!(self, Self::Unreadable | Self::Unnameable)
    }
}

/// The directory `path` as one that files are uploaded from, hidden ones included. Blocks.
///
/// # Errors
/// [`SourceError`] when it cannot be opened.
pub fn open_tree(path: &Path) -> Result<Tree, SourceError> {
    let store = LocalStore::open_root(path)?.hidden(Hidden::Included).candid().without_warnings();
    Ok(Arc::new(Versions::new(store, Arc::default(), blocking_threads())))
}

/// The files that `path` stands for: itself, or all below it, under the name `remote` on the server. Calls `add` for each, and returns what
/// lies below it and is left out. A link that is named itself is followed. Blocks.
///
/// # Errors
/// [`SourceError`] when there is nothing, or it cannot be read.
pub fn sources(
    path: &Path,
    remote: &RemotePath,
    add: &mut (dyn FnMut(Tree, RemotePath, RemotePath, ObjectMeta) + Send),
) -> Result<Vec<Omitted>, SourceError> {
    let found = std::fs::metadata(path)?;
    if found.is_dir() {
        return below(&open_tree(path)?, remote, add);
    }
    if !found.is_file() {
        return Err(SourceError::NotRegular);
    }
    let followed = if path.is_symlink() { Some(std::fs::canonicalize(path)?) } else { None };
    let path = followed.as_deref().unwrap_or(path);
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(SourceError::Name)?;
    let local = RemotePath::parse(name).map_err(|_| SourceError::Name)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let tree = open_tree(parent)?;
    let meta = tree.store().object(&local)?.meta().clone();
    add(tree, local, remote.clone(), meta);
    Ok(Vec::new())
}

/// The files in `tree`.
fn below(
    tree: &Tree,
    directory: &RemotePath,
    add: &mut (dyn FnMut(Tree, RemotePath, RemotePath, ObjectMeta) + Send),
) -> Result<Vec<Omitted>, SourceError> {
    let query = ListQuery { links: true, ..ListQuery::default() };
    let (mut omitted, mut left_out) = (Vec::new(), Vec::new());
    let mut omit = |local: &str, why| omitted.push(Omitted { local: local.to_owned(), why });
    let mut visit = |local: RemotePath, entry| {
        match entry {
            Entry::File(meta) => match RemotePath::parse(&format!("{}/{}", directory.as_str(), local.as_str())) {
                Ok(remote) => add(Arc::clone(tree), local, remote, meta),
                Err(_) => omit(local.as_str(), Aside::Unnameable),
            },
            Entry::Link(_) => omit(local.as_str(), Aside::Link),
            Entry::Directory(_) => {}
        }
        ControlFlow::Continue(())
    };
    tree.store().list_telling(&query, &mut visit, &mut |local, why| {
        let why = match why {
            Omission::Unreadable => Aside::Unreadable,
            Omission::Unnameable => Aside::Unnameable,
            Omission::Special => Aside::Special,
        };
        left_out.push(Omitted { local: local.to_owned(), why });
    })?;
    omitted.extend(left_out);
    Ok(omitted)
}

/// The files that `paths` stand for, each a path here and its name on the server: as [`sources`], on a thread where that may block.
///
/// # Errors
/// [`SourceError`], with the path that it is about; [`SourceError::Omitted`] when a file below it cannot be uploaded.
pub async fn gather(paths: Vec<(PathBuf, RemotePath)>) -> Result<Vec<Source>, (PathBuf, SourceError)> {
    let gathering = blocking(move || {
        let mut found: Vec<Source> = Vec::new();
        for (path, remote) in paths {
            let mut add = |tree, local, remote, meta| {
                let id = FileId(found.len());
                found.push(Source { id, tree, local, remote, meta });
            };
            let gathered = sources(&path, &remote, &mut add);
            let lost = gathered.map(|omitted| omitted.into_iter().find(|omitted| omitted.why.is_loss()));
            match lost {
                Ok(None) => {}
                Ok(Some(lost)) => return Ok(Err((path, SourceError::Omitted(lost)))),
                Err(error) => return Ok(Err((path, error))),
            }
        }
        Ok(Ok(found))
    });
    gathering.await.unwrap_or_else(|error| Err((PathBuf::new(), error.into())))
}
