//! Finding out the digests that decide something: of files whose times differ, or that may only have been renamed.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use qfs_core::model::{Digest, ETag, HashKind, RemotePath};
use qfs_core::store::StoreError;
use qfs_store::blocking;

use super::there::whole_name;
use crate::error::Failure;
use crate::plan::sync::{Entry, Listing};
use crate::session::Session;
use crate::transfer::put::{Tree, digest_on_server};

/// Files that are hashed here at once.
const HASHED_AT_ONCE: usize = 8;

/// Files that the server is asked about at once. It hashes few of them at once.
const ASKED_AT_ONCE: usize = 32;

/// Fills in the digests of `wanted` here, of the kind that the server gives. What cannot be read, or changes, stays unknown.
pub(super) async fn fill_here(tree: &Tree, kind: HashKind, wanted: &[RemotePath], listing: &mut Listing) {
    let found: Vec<_> = stream::iter(wanted.to_vec())
        .map(|path| here(tree, kind, path))
        .buffer_unordered(HASHED_AT_ONCE)
        .collect()
        .await;
    for (path, version, digest) in found.into_iter().flatten() {
        set(listing, &path, Some(&version), digest);
    }
}

async fn here(tree: &Tree, kind: HashKind, path: RemotePath) -> Option<(RemotePath, ETag, Digest)> {
    let tree = Arc::clone(tree);
    let hashed = blocking(move || {
        let version = tree.open_as(&path, kind)?;
        let digest = version.digest()?;
        Ok::<_, StoreError>((path, version.meta().etag.clone(), digest))
    });
    hashed.await.ok()
}

/// Fills in the digests of `wanted` on the server. Of a version that is gone it stays unknown.
///
/// # Errors
/// [`Failure`] when the server does not answer.
pub(super) async fn fill_there(
    session: &Session,
    prefix: Option<&RemotePath>,
    wanted: &[RemotePath],
    listing: &mut Listing,
) -> Result<(), Failure> {
    let versions: Vec<_> = wanted.iter().map(|path| (path.clone(), version(listing, path))).collect();
    let asked = stream::iter(versions).map(|(path, version)| there(session, prefix, path, version));
    let found: Vec<_> = asked.buffer_unordered(ASKED_AT_ONCE).try_collect().await?;
    for (path, digest) in found {
        if let Some(digest) = digest {
            set(listing, &path, None, digest);
        }
    }
    Ok(())
}

async fn there(
    session: &Session,
    prefix: Option<&RemotePath>,
    path: RemotePath,
    version: Option<ETag>,
) -> Result<(RemotePath, Option<Digest>), Failure> {
    let name = whole_name(prefix, &path).map_err(Failure::InvalidName)?;
    let digest = digest_on_server(session, &name, version).await?;
    Ok((path, digest))
}

fn version(listing: &Listing, path: &RemotePath) -> Option<ETag> {
    match listing.entries.get(path) {
        Some(Entry::File(file)) => file.etag.clone(),
        _ => None,
    }
}

/// Notes the digest of a file, if it is still the `version` that was listed.
fn set(listing: &mut Listing, path: &RemotePath, version: Option<&ETag>, digest: Digest) {
    if let Some(Entry::File(file)) = listing.entries.get_mut(path)
        && version.is_none_or(|version| file.etag.as_ref() == Some(version))
    {
        file.sha256 = Some(digest);
    }
}
