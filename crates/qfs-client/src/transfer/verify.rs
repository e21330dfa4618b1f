//! A directory here compared with the server, without fetching anything: what is missing, what differs, what is extra.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use qfs_core::model::{Digest, ETag, RemotePath};
use qfs_core::store::{Entry, ListQuery, ObjectMeta, Store as _, StoreError};
use qfs_core::wire::{Kind, RemoteError, StatusCode};
use qfs_store::blocking;

use super::put::{Tree, digest_on_server};
use crate::error::{Failure, store_failure};
use crate::session::{Session, exchange};

/// Files that are hashed at once, here and on the server.
const AT_ONCE: usize = 8;

/// What is not the same on both sides. Names are relative to what was compared, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// On the server and not here.
    pub missing: Vec<RemotePath>,
    /// On both sides with other content.
    pub differs: Vec<RemotePath>,
    /// Here and not on the server.
    pub extra: Vec<RemotePath>,
    /// Files that are the same.
    pub same: u64,
    /// Whether the server could not tell of everything, or not in one go: what it lacks is not absent then, and nothing is
    /// called extra.
    pub server_is_partial: bool,
}

impl Differences {
    /// Whether no difference was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.differs.is_empty() && self.extra.is_empty()
    }
}

/// What the server says of a file.
struct Remote {
    size: u64,
    digest: Option<Digest>,
    etag: Option<ETag>,
}

/// Compares the files below `prefix` on the server with those in `tree`, by content.
///
/// # Errors
/// [`Failure`] when either side cannot be read.
pub async fn verify(session: &Session, prefix: Option<&RemotePath>, tree: &Tree) -> Result<Differences, Failure> {
    let (mut remote, is_whole) = listing(session, prefix).await?;
    let local = files(tree).await?;
    let mut differences = Differences { server_is_partial: !is_whole, ..Differences::default() };
    let mut both = Vec::new();
    for (name, meta) in local {
        match remote.remove(&name) {
            None if is_whole => differences.extra.push(name),
            None => {}
            Some(theirs) if theirs.size != meta.size => differences.differs.push(name),
            Some(theirs) => both.push((name, theirs)),
        }
    }
    differences.missing = remote.into_keys().collect();
    let compared =
        stream::iter(both).map(|(name, theirs)| compare(session, prefix, tree, name, theirs)).buffered(AT_ONCE);
    let compared: Vec<_> = compared.collect().await;
    for result in compared {
        let (name, same) = result?;
        if same { differences.same += 1 } else { differences.differs.push(name) }
    }
    differences.differs.sort();
    Ok(differences)
}

/// What the server has, and whether that is all.
async fn listing(
    session: &Session,
    prefix: Option<&RemotePath>,
) -> Result<(BTreeMap<RemotePath, Remote>, bool), Failure> {
    let mut found = BTreeMap::new();
    let mut take = |rows: Vec<(RemotePath, qfs_core::wire::TreeEntry)>| {
        for (name, row) in rows.into_iter().filter(|(_, row)| row.kind == Kind::File) {
            if let Some(name) = below(prefix, &name) {
                found.insert(name, Remote { size: row.size, digest: row.digest, etag: row.etag });
            }
        }
        ControlFlow::Continue(())
    };
    let is_whole = match exchange::tree(session, prefix, &mut take).await {
        Err(Failure::Refused(RemoteError { code: StatusCode::NOT_FOUND, .. })) => true,
        listed => listed?.is_whole,
    };
    Ok((found, is_whole))
}

/// `name` without `prefix` and its slash; None when it does not lie below.
fn below(prefix: Option<&RemotePath>, name: &RemotePath) -> Option<RemotePath> {
    let Some(prefix) = prefix else { return Some(name.clone()) };
    let rest = name.as_str().strip_prefix(prefix.as_str())?.strip_prefix('/')?;
    RemotePath::parse(rest).ok()
}

/// The files in `tree`.
async fn files(tree: &Tree) -> Result<Vec<(RemotePath, ObjectMeta)>, Failure> {
    let tree = Arc::clone(tree);
    let listed = blocking(move || {
        let mut files = Vec::new();
        tree.store().list(&ListQuery::default(), &mut |name, entry| {
            if let Entry::File(meta) = entry {
                files.push((name, meta));
            }
            ControlFlow::Continue(())
        })?;
        Ok(files)
    });
    listed.await.map_err(|error| store_failure(&error))
}

async fn compare(
    session: &Session,
    prefix: Option<&RemotePath>,
    tree: &Tree,
    name: RemotePath,
    theirs: Remote,
) -> Result<(RemotePath, bool), Failure> {
    let hashing = |kind| {
        let (opened, local) = (Arc::clone(tree), name.clone());
        blocking(move || match opened.open_as(&local, kind) {
            Ok(version) => version.digest().map(Some),
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        })
    };
    let whole = match prefix {
        Some(prefix) => {
            RemotePath::parse(&format!("{}/{}", prefix.as_str(), name.as_str())).map_err(Failure::InvalidName)?
        }
        None => name.clone(),
    };
    let asking = async {
        match theirs.digest {
            Some(known) => Ok(Some(known)),
            None => digest_on_server(session, &whole, theirs.etag).await,
        }
    };
    // While the server hashes, this side does too.
    let kind = theirs.digest.map_or(session.digest_kind(), |known| known.kind());
    let (ours, theirs) = tokio::join!(hashing(kind), asking);
    let (mut ours, theirs) = (ours.map_err(|error| store_failure(&error))?, theirs?);
    if let Some(given) = theirs.map(|theirs| theirs.kind()).filter(|given| *given != kind) {
        ours = hashing(given).await.map_err(|error| store_failure(&error))?;
    }
    Ok((name, ours.is_some() && ours == theirs))
}
