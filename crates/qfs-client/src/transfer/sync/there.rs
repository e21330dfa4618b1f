//! What the server holds below a directory, and the whole names of that.

use std::collections::HashMap;
use std::ops::ControlFlow;

use qfs_core::model::{ETag, PathError, RemotePath};
use qfs_core::wire::{Kind, RemoteError, StatusCode, TreeEntry};

use crate::error::Failure;
use crate::plan::sync::{Directory, Entry, File, Link, Listing};
use crate::session::{Session, exchange};

/// Lists what lies below `prefix`, by names relative to it; None when the server has no such directory.
pub(in crate::transfer) async fn list(
    session: &Session,
    prefix: Option<&RemotePath>,
) -> Result<Option<Listing>, Failure> {
    let mut listing = Listing::default();
    let mut take = |rows: Vec<(RemotePath, TreeEntry)>| {
        let rows = rows.into_iter().filter_map(|(name, row)| Some((below(prefix, &name)?, entry(row))));
        listing.entries.extend(rows);
        ControlFlow::Continue(())
    };
    let listed = match exchange::tree(session, prefix, &mut take).await {
        Err(Failure::Refused(RemoteError { code: StatusCode::NOT_FOUND, .. })) if prefix.is_some() => return Ok(None),
        listed => listed?,
    };
    if !listed.is_tree {
        // What is absent there is not known.
        for entry in listing.entries.values_mut() {
            if let Entry::File(file) = entry {
                file.executable = file.executable.filter(|executable| *executable);
            }
        }
    }
    listing.incomplete = !listed.is_whole;
    Ok(Some(listing))
}

/// The files that the server lists below `prefix` now, by names relative to it, with their versions. It does not tell what is gone from what
/// it cannot read when it is asked for a file (PROTOCOL §4.2): its listing has the latter.
///
/// # Errors
/// [`Failure`] when it cannot be asked: then nothing can be said of such files.
pub(in crate::transfer) async fn still_listed(
    session: &Session,
    prefix: Option<&RemotePath>,
) -> Result<HashMap<RemotePath, Option<ETag>>, Failure> {
    let Some(listing) = list(session, prefix).await? else { return Ok(HashMap::new()) };
    let file = |(name, entry)| if let Entry::File(file) = entry { Some((name, file.etag)) } else { None };
    Ok(listing.entries.into_iter().filter_map(file).collect())
}

fn entry(row: TreeEntry) -> Entry {
    match row.kind {
        Kind::File => Entry::File(File {
            size: row.size,
            modified: row.modified,
            executable: Some(row.executable),
            sha256: row.digest,
            etag: row.etag,
        }),
        Kind::Directory => Entry::Directory(Directory { modified: Some(row.modified) }),
        // One that leads nowhere is not carried.
        Kind::Link => Entry::Link(Link { text: row.target.unwrap_or_default() }),
    }
}

/// `name` without `prefix` and its slash; None when it does not lie below.
fn below(prefix: Option<&RemotePath>, name: &RemotePath) -> Option<RemotePath> {
    let Some(prefix) = prefix else { return Some(name.clone()) };
    let rest = name.as_str().strip_prefix(prefix.as_str())?.strip_prefix('/')?;
    RemotePath::parse(rest).ok()
}

/// The whole name on the server of what is called `name` below `prefix`.
///
/// # Errors
/// [`PathError`] when it is too long.
pub(in crate::transfer) fn whole_name(prefix: Option<&RemotePath>, name: &RemotePath) -> Result<RemotePath, PathError> {
    match prefix {
        Some(prefix) => RemotePath::parse(&format!("{}/{}", prefix.as_str(), name.as_str())),
        None => Ok(name.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_a_prefix_and_back() {
        let path = |text: &str| RemotePath::parse(text).unwrap();
        let prefix = path("a/b");
        for (name, rest) in [("a/b/c", Some("c")), ("a/b/c/d", Some("c/d")), ("a/bc", None), ("a/b", None), ("x", None)]
        {
            let found = below(Some(&prefix), &path(name));
            assert_eq!(found.as_ref().map(RemotePath::as_str), rest, "{name}");
            if let Some(found) = found {
                assert_eq!(whole_name(Some(&prefix), &found).unwrap(), path(name));
            }
        }
        assert_eq!(below(None, &path("x/y")), Some(path("x/y")));
    }
}
