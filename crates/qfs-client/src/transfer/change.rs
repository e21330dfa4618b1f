//! Small changes of what the server has.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use qfs_core::model::{ETag, RemotePath};
use qfs_core::wire::{
    CopyRequest, Done, Kind, MakeDirectoryRequest, Precondition, RemoteError, RemoveRequest, Request, StatusCode,
    Written,
};

use super::look::child;
use crate::error::Failure;
use crate::session::{Session, exchange, writing};

/// What is to be removed, in this order: what it is, and of a file the version that is meant.
pub type Doomed = Vec<(RemotePath, Kind, Option<ETag>)>;

/// Removes `path`, which is of this `kind`, and if a version is named only that one.
///
/// # Errors
/// [`Failure::Refused`] with `not_found`, `changed`, `not_empty` or `denied`; other kinds as ever.
pub async fn remove(session: &Session, path: &RemotePath, kind: Kind, version: Option<ETag>) -> Result<(), Failure> {
    let request = RemoveRequest { filename: path.as_str().to_owned(), kind, if_match: version };
    writing::request::<Done>(session, &Request::Remove(request)).await.map(drop)
}

/// What has to be removed for `path` to be gone: a directory with all that is below it, as it is listed now, or a file alone. Nothing else,
/// whatever the server lists.
///
/// # Errors
/// [`Failure`] when it cannot be listed.
pub async fn doomed(session: &Session, path: RemotePath) -> Result<Doomed, Failure> {
    let mut rows = BTreeMap::new();
    let listed = exchange::tree(session, Some(&path), &mut |page| {
        // A server that does not know trees lists everything, wherever it lies (PROTOCOL §4.1.1).
        let below = page.into_iter().filter(|(name, _)| child(Some(&path), name).is_some());
        rows.extend(below.map(|(name, row)| (name, (row.kind, row.etag))));
        ControlFlow::Continue(())
    })
    .await;
    let is_directory = match listed {
        Err(Failure::Refused(RemoteError { code: StatusCode::NOT_FOUND, .. })) => false,
        listed => listed?.is_tree || !rows.is_empty(),
    };
    if !is_directory {
        return Ok(vec![(path, Kind::File, None)]);
    }
    // What lies below a name comes behind it in the listing, so the reverse order empties directories first.
    let mut doomed: Doomed = rows.into_iter().rev().map(|(name, (kind, etag))| (name, kind, etag)).collect();
    doomed.sort_by_key(|(_, kind, _)| *kind == Kind::Directory);
    doomed.push((path, Kind::Directory, None));
    Ok(doomed)
}

/// Makes the directory `path` and those on the way to it; one that is there already is as good.
///
/// # Errors
/// [`Failure::Refused`] with `exists` or `denied`; other kinds as ever.
pub async fn make_directory(session: &Session, path: &RemotePath) -> Result<(), Failure> {
    let request = MakeDirectoryRequest { filename: path.as_str().to_owned(), modified: None };
    writing::request::<Done>(session, &Request::MakeDirectory(request)).await.map(drop)
}

/// Has the server copy its file `from` to the name `to`, where another file is replaced only if that is said.
///
/// # Errors
/// [`Failure::Exists`]; [`Failure::Refused`] with `not_found` or `denied`; other kinds as ever.
pub async fn copy(session: &Session, from: &RemotePath, to: &RemotePath, overwrite: bool) -> Result<Written, Failure> {
    let request = CopyRequest {
        from: from.as_str().to_owned(),
        filename: to.as_str().to_owned(),
        condition: if overwrite { Precondition::ANY } else { Precondition::ABSENT },
        hash: session.digest_kind(),
        ..CopyRequest::default()
    };
    match writing::request(session, &Request::Copy(request)).await {
        Err(Failure::Refused(RemoteError { code: StatusCode::EXISTS, .. })) => Err(Failure::Exists),
        copied => copied,
    }
}
