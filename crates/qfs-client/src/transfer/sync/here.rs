//! What a directory of this machine holds.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use qfs_core::store::{Entry as Found, ListQuery, Omission, Store as _, StoreError, Versions};
use qfs_store::local::{Hidden, LocalStore};
use qfs_store::{blocking, blocking_threads};

use crate::error::{Failure, store_failure};
use crate::plan::sync::{Directory, Entry, File, Filters, Link, Listing};
use crate::transfer::put::Tree;

/// What was found, and what of it could not be read: names that are not safe to print.
#[derive(Debug, Default)]
pub(in crate::transfer) struct Here {
    pub(in crate::transfer) listing: Listing,
    pub(in crate::transfer) unreadable: Vec<String>,
}

/// The directory `path`, made if it is to be; None when it is missing and is not to be made.
pub(super) async fn open(path: &Path, make: bool, sparse: bool) -> Result<Option<Tree>, StoreError> {
    let path = path.to_owned();
    blocking(move || {
        let opened = if make { LocalStore::create_root(&path) } else { LocalStore::open_root(&path) };
        let store = match opened {
            Err(StoreError::Io(error)) if !make && error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened?.hidden(Hidden::Included).sparse(sparse).candid().without_warnings(),
        };
        Ok(Some(Arc::new(Versions::new(store, Arc::default(), blocking_threads()))))
    })
    .await
}

/// Lists `tree`. What cannot be read makes the listing incomplete, unless it is hidden or `filters` exclude it.
pub(in crate::transfer) async fn list(tree: &Tree, filters: &Filters) -> Result<Here, Failure> {
    let (tree, filters) = (Arc::clone(tree), filters.clone());
    blocking(move || walk(tree.store(), &filters)).await.map_err(|error| store_failure(&error))
}

fn walk(store: &LocalStore, filters: &Filters) -> Result<Here, StoreError> {
    let mut listing = Listing::default();
    let (mut unreadable, mut unnameable, mut special) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let query = ListQuery { directories: true, links: true, ..ListQuery::default() };
    let left_out = &mut |name: &str, why: Omission| match why {
        Omission::Unreadable => {
            let is_hidden = name.split('/').any(|part| part.starts_with('.'));
            if !is_hidden && !filters.exclude(name, true) {
                unreadable.insert(name.to_owned());
            }
        }
        Omission::Unnameable => drop(unnameable.insert(name.to_owned())),
        Omission::Special => special.push(name.to_owned()),
    };
    store.list_telling(
        &query,
        &mut |path, found| {
            let entry = match found {
                Found::File(meta) => Entry::File(File {
                    size: meta.size,
                    modified: meta.modified,
                    executable: Some(meta.executable),
                    sha256: None,
                    etag: Some(meta.etag),
                }),
                Found::Directory(meta) => Entry::Directory(Directory { modified: Some(meta.modified) }),
                Found::Link(meta) => Entry::Link(Link { text: meta.target }),
            };
            listing.entries.insert(path, entry);
            ControlFlow::Continue(())
        },
        left_out,
    )?;
    listing.entries.extend(special.iter().filter_map(|name| Some((name.parse().ok()?, Entry::Special))));
    listing.unnameable = unnameable.into_iter().collect();
    listing.incomplete = !unreadable.is_empty();
    Ok(Here { listing, unreadable: unreadable.into_iter().collect() })
}
