//! What the server has under a name, and what is in a directory of it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

use jiff::Timestamp;
use qfs_core::model::{Digest, ETag, RemotePath};
use qfs_core::wire::{Kind, RemoteError, StatusCode, TreeEntry};

use super::remote_file::RemoteFile;
use crate::error::Failure;
use crate::session::{Session, exchange};

/// What the server has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// Size of a file in bytes; 0 for everything else.
    pub size: u64,
    /// When it was last modified. Not known of a directory that was asked about by its name.
    pub modified: Option<Timestamp>,
    /// The version of a file.
    pub etag: Option<ETag>,
    /// Digest of a file, where the server knows it.
    pub digest: Option<Digest>,
    /// Whether a file may be executed.
    pub executable: bool,
    /// Where a link leads, as it stands in the link: a stranger's text.
    pub target: Option<String>,
}

impl From<TreeEntry> for Found {
    fn from(row: TreeEntry) -> Self {
        let TreeEntry { kind, size, modified, digest, etag, executable, target } = row;
        Self { kind, size, modified: Some(modified), etag, digest, executable, target }
    }
}

impl Found {
    fn directory() -> Self {
        let (kind, modified, etag) = (Kind::Directory, None, None);
        Self { kind, size: 0, modified, etag, digest: None, executable: false, target: None }
    }
}

/// What the server has under `path`: a file, or a directory, for which its listing is begun; None where there is nothing.
///
/// # Errors
/// [`Failure`] when that cannot be found out.
pub async fn stat(session: &Session, path: &RemotePath) -> Result<Option<Found>, Failure> {
    if let Some(file) = unless_missing(RemoteFile::open(session, path).await)? {
        let head = file.head().clone();
        return Ok(Some(Found {
            kind: Kind::File,
            size: head.size,
            modified: Some(head.modified),
            etag: Some(head.etag),
            digest: head.digest,
            executable: head.executable,
            target: None,
        }));
    }
    Ok(is_directory(session, path).await?.then(Found::directory))
}

/// Whether `path` is a directory on the server, for which its listing is begun.
///
/// # Errors
/// [`Failure`] when that cannot be found out.
pub(crate) async fn is_directory(session: &Session, path: &RemotePath) -> Result<bool, Failure> {
    let mut is_above = false;
    let mut look = |rows: Vec<(RemotePath, TreeEntry)>| {
        is_above = rows.iter().any(|(name, _)| child(Some(path), name).is_some());
        if is_above { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let listed = unless_missing(exchange::tree(session, Some(path), &mut look).await)?;
    // A server that does not know trees lists everything, wherever it lies.
    Ok(listed.is_some_and(|listed| listed.is_tree || is_above))
}

/// What is in `directory`, or at the top for None, by whole names and in ascending order; what is further below is left out, though the
/// server tells of it. None where there is no such directory.
///
/// # Errors
/// [`Failure`] when it cannot be listed.
pub async fn children(
    session: &Session,
    directory: Option<&RemotePath>,
) -> Result<Option<BTreeMap<RemotePath, Found>>, Failure> {
    let mut found = BTreeMap::new();
    let mut take = |rows: Vec<(RemotePath, TreeEntry)>| {
        for (name, row) in rows {
            match child(directory, &name) {
                Some(own) if own == name => drop(found.insert(name, row.into())),
                // A plain listing has no rows of directories.
                Some(above) => match found.entry(above) {
                    Entry::Vacant(vacant) => drop(vacant.insert(Found::directory())),
                    Entry::Occupied(_) => {}
                },
                None => {}
            }
        }
        ControlFlow::Continue(())
    };
    let listed = unless_missing(exchange::tree(session, directory, &mut take).await)?;
    Ok(listed.filter(|listed| directory.is_none() || listed.is_tree || !found.is_empty()).map(|_| found))
}

/// Every file below `directory`, or all for None, in ascending order of their names. None where there is no such directory.
///
/// # Errors
/// [`Failure`] when it cannot be listed.
pub async fn files(
    session: &Session,
    directory: Option<&RemotePath>,
) -> Result<Option<Vec<(RemotePath, Found)>>, Failure> {
    let mut found = Vec::new();
    let mut take = |rows: Vec<(RemotePath, TreeEntry)>| {
        let below = rows.into_iter().filter(|(name, row)| row.kind == Kind::File && child(directory, name).is_some());
        found.extend(below.map(|(name, row)| (name, row.into())));
        ControlFlow::Continue(())
    };
    let listed = unless_missing(exchange::tree(session, directory, &mut take).await)?;
    Ok(listed.filter(|listed| directory.is_none() || listed.is_tree || !found.is_empty()).map(|_| found))
}

/// What lies directly in `directory` and is `name` or above it; None when `name` does not lie below.
pub(super) fn child(directory: Option<&RemotePath>, name: &RemotePath) -> Option<RemotePath> {
    let taken = match directory {
        None => 0,
        Some(directory) => {
            let rest = name.as_str().strip_prefix(directory.as_str())?.strip_prefix('/')?;
            name.as_str().len() - rest.len()
        }
    };
    let length = name.as_str()[taken..].find('/').map_or(name.as_str().len(), |slash| taken + slash);
    RemotePath::parse(&name.as_str()[..length]).ok()
}

fn unless_missing<T>(asked: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match asked {
        Err(Failure::Refused(RemoteError { code: StatusCode::NOT_FOUND, .. })) => Ok(None),
        asked => asked.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_directly_in_a_directory() {
        let path = |text: &str| RemotePath::parse(text).unwrap();
        for (directory, name, expected) in [
            (None, "a", Some("a")),
            (None, "a/b/c", Some("a")),
            (Some("a"), "a/b", Some("a/b")),
            (Some("a"), "a/b/c", Some("a/b")),
            (Some("a"), "a", None),
            (Some("a"), "ab/c", None),
            (Some("a/b"), "a/c", None),
        ] {
            let found = child(directory.map(path).as_ref(), &path(name));
            assert_eq!(found.as_ref().map(RemotePath::as_str), expected, "{directory:?} {name}");
        }
    }
}
