//! What is uploaded: files below a directory of this machine, and the names they get on the server.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qfs_core::model::RemotePath;
use qfs_core::observe::FileId;
use qfs_core::store::{Entry, ListQuery, ObjectMeta, Store, StoreError, Versions};
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
}

/// The directory `path` as one that files are uploaded from, hidden ones included. Blocks.
///
/// # Errors
/// [`SourceError`] when it cannot be opened.
pub fn open_tree(path: &Path) -> Result<Tree, SourceError> {
    let store = LocalStore::open_root(path)?.hidden(Hidden::Included);
    Ok(Arc::new(Versions::new(store, Arc::default(), blocking_threads())))
}

/// The files that `path` stands for: itself, or all below it, under the name `remote` on the server. Calls `add` for each. Blocks.
///
/// # Errors
/// [`SourceError`] when there is nothing, or it cannot be read.
pub fn sources(
    path: &Path,
    remote: &RemotePath,
    add: &mut (dyn FnMut(Tree, RemotePath, RemotePath, ObjectMeta) + Send),
) -> Result<(), SourceError> {
    let is_directory = std::fs::metadata(path)?.is_dir();
    if !is_directory {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(SourceError::Name)?;
        let local = RemotePath::parse(name).map_err(|_| SourceError::Name)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let tree = open_tree(parent)?;
        let meta = tree.store().object(&local)?.meta().clone();
        add(tree, local, remote.clone(), meta);
        return Ok(());
    }
    let tree = open_tree(path)?;
    let mut unnameable = false;
    tree.store().list(&ListQuery::default(), &mut |local, entry| {
        let Entry::File(meta) = entry else { return ControlFlow::Continue(()) };
        let Ok(remote) =
            RemotePath::parse(&format!("{remote}/{local}", remote = remote.as_str(), local = local.as_str()))
        else {
            unnameable = true;
            return ControlFlow::Break(());
        };
        add(Arc::clone(&tree), local, remote, meta);
        ControlFlow::Continue(())
    })?;
    if unnameable { Err(SourceError::Name) } else { Ok(()) }
}

/// The files that `paths` stand for, each a path here and its name on the server: as [`sources`], on a thread where that may block.
///
/// # Errors
/// [`SourceError`], with the path that it is about.
pub async fn gather(paths: Vec<(PathBuf, RemotePath)>) -> Result<Vec<Source>, (PathBuf, SourceError)> {
    let gathering = blocking(move || {
        let mut found: Vec<Source> = Vec::new();
        for (path, remote) in paths {
            let mut add = |tree, local, remote, meta| {
                let id = FileId(found.len());
                found.push(Source { id, tree, local, remote, meta });
            };
            if let Err(error) = sources(&path, &remote, &mut add) {
                return Ok(Err((path, error)));
            }
        }
        Ok(Ok(found))
    });
    gathering.await.unwrap_or_else(|error| Err((PathBuf::new(), error.into())))
}
