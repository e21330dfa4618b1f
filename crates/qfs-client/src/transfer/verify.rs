//! A directory here compared with the server, without fetching anything: what is missing, what differs, what is extra.
//!
//! Both sides are what `pull` and `push` see of them: the same rules say what takes part, and what is hidden here is not for others.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use qfs_core::model::RemotePath;
use qfs_core::store::StoreError;
use qfs_core::wire::{RemoteError, StatusCode};
use qfs_store::blocking;

use super::put::{Tree, digest_on_server};
use super::sync::here;
use super::sync::there::{self, still_listed, whole_name};
use crate::error::Failure;
use crate::plan::sync::{Entry, File, Filters, Listing};
use crate::session::Session;

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
    /// Files and directories here that could not be read, so that nothing is known of them; not safe to print.
    pub unreadable: Vec<String>,
    /// Files that the server lists and does not hand out.
    pub unreadable_there: Vec<RemotePath>,
    /// Here, with names that no published file can have; not safe to print.
    pub unnameable: Vec<String>,
}

impl Differences {
    /// Whether no difference was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.differs.is_empty() && self.extra.is_empty()
    }
}

/// Compares the files below `prefix` on the server with those in `tree`, by content, as far as `filters` let them take part.
///
/// # Errors
/// [`Failure`] when either side cannot be listed at all; [`Failure::Refused`] with `not_found` when the server has no directory `prefix`.
pub async fn verify(
    session: &Session,
    prefix: Option<&RemotePath>,
    tree: &Tree,
    filters: &Filters,
) -> Result<Differences, Failure> {
    let (found, served) = tokio::join!(here::list(tree, filters), there::list(session, prefix));
    let here::Here { listing: at_home, unreadable } = found?;
    let no_directory = || Failure::Refused(RemoteError::new(StatusCode::NOT_FOUND, "no such directory"));
    let served = served?.ok_or_else(no_directory)?;
    let mut differences = Differences { server_is_partial: served.incomplete, unreadable, ..Differences::default() };
    let unnameable = at_home.unnameable.iter().filter(|name| !is_hidden(name) && !filters.exclude(name, false));
    differences.unnameable = unnameable.cloned().collect();
    let mut both = Vec::new();
    let mut theirs = files(&served, filters);
    for (name, ours) in files(&at_home, filters) {
        match theirs.remove(name) {
            // As with `push`, and with `pull --delete`, which leave them alone.
            None if name.is_hidden() => {}
            None if differences.server_is_partial => {}
            None => differences.extra.push(name.clone()),
            Some(theirs) if theirs.size != ours.size => differences.differs.push(name.clone()),
            Some(theirs) => both.push((name, theirs)),
        }
    }
    // Of what lies in a directory that cannot be read nobody knows whether it is here.
    let is_known = |name: &str| {
        !differences.unreadable.iter().any(|unread| {
            name.strip_prefix(unread.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    differences.missing = theirs.into_keys().filter(|name| is_known(name.as_str())).cloned().collect();
    let compared =
        stream::iter(both).map(|(name, theirs)| compare(session, prefix, tree, name, theirs)).buffered(AT_ONCE);
    let compared: Vec<_> = compared.collect().await;
    let mut unknown = Vec::new();
    for result in compared {
        match result? {
            (_, Compared::Same) => differences.same += 1,
            (name, Compared::Differs) => differences.differs.push(name.clone()),
            (name, Compared::UnreadableHere) => differences.unreadable.push(name.as_str().to_owned()),
            (name, Compared::NotHandedOut) => unknown.push(name),
        }
    }
    if !unknown.is_empty() {
        let listed = still_listed(session, prefix).await?;
        for name in unknown {
            let version = |listing: &Listing| match listing.entries.get(name) {
                Some(Entry::File(file)) => file.etag.clone(),
                _ => None,
            };
            let is_the_same = listed.get(name).is_some_and(|now| *now == version(&served));
            let names = if is_the_same { &mut differences.unreadable_there } else { &mut differences.differs };
            names.push(name.clone());
        }
    }
    differences.differs.sort();
    differences.unreadable.sort();
    Ok(differences)
}

fn is_hidden(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with('.'))
}

/// The files of `listing` that take part.
fn files<'a>(listing: &'a Listing, filters: &Filters) -> std::collections::BTreeMap<&'a RemotePath, &'a File> {
    let file = |(name, entry): (&'a RemotePath, &'a Entry)| match entry {
        Entry::File(file) if !filters.exclude(name.as_str(), false) => Some((name, file)),
        _ => None,
    };
    listing.entries.iter().filter_map(file).collect()
}

/// What came of comparing a file.
enum Compared {
    Same,
    Differs,
    UnreadableHere,
    /// The server has another version of it, or none, or cannot read it.
    NotHandedOut,
}

async fn compare<'a>(
    session: &Session,
    prefix: Option<&RemotePath>,
    tree: &Tree,
    name: &'a RemotePath,
    theirs: &File,
) -> Result<(&'a RemotePath, Compared), Failure> {
    let hashing = |kind| {
        let (opened, local) = (Arc::clone(tree), name.clone());
        blocking(move || match opened.open_as(&local, kind).and_then(|version| version.digest()) {
            Ok(digest) => Ok(Ok(digest)),
            // It went, or changes under the eyes of who looks.
            Err(StoreError::NotFound | StoreError::Changed) => Ok(Err(Compared::Differs)),
            Err(_) => Ok(Err(Compared::UnreadableHere)),
        })
    };
    let whole = whole_name(prefix, name).map_err(Failure::InvalidName)?;
    let asking = async {
        match theirs.sha256 {
            Some(known) => Ok(Some(known)),
            None => digest_on_server(session, &whole, theirs.etag.clone()).await,
        }
    };
    // While the server hashes, this side does too.
    let kind = theirs.sha256.map_or(session.digest_kind(), |known| known.kind());
    let (ours, theirs) = tokio::join!(hashing(kind), asking);
    let lost = |_| Ok(Err(Compared::UnreadableHere));
    let (mut ours, Some(theirs)) = (ours.or_else(lost)?, theirs?) else {
        return Ok((name, Compared::NotHandedOut));
    };
    if theirs.kind() != kind && ours.is_ok() {
        ours = hashing(theirs.kind()).await.or_else(lost)?;
    }
    let compared = match ours {
        Ok(ours) if ours == theirs => Compared::Same,
        Ok(_) => Compared::Differs,
        Err(why) => why,
    };
    Ok((name, compared))
}
