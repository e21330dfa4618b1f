//! Listings: page after page, the next one fetched while one is handed out, and what a page does not tell asked for many at once.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use qfs_core::model::RemotePath;
use qfs_core::store::{DirectoryMeta, Entry, LeaveOut, ListQuery, Omission, StoreError, Visit};

use super::attributes::{self, Attributes};
use super::cloud::{Info, Next, Page, PageQuery};
use super::error::CloudError;
use super::known::Described;
use super::order::{Order, Row};
use super::shared::{Shared, is_hidden};

/// Keys of a page: as many as S3 gives.
const PAGE: usize = 1000;
/// Objects of a page that are asked for their attributes at once.
const HEADS: usize = 64;
/// An object that changed less than this many seconds ago may change again without its description in a listing changing.
const UNSETTLED: i64 = 3;

/// What is known of a key: an object, or a directory made on purpose.
struct Found {
    key: String,
    info: Info,
}

/// Lists, see [`qfs_core::store::Store::list_telling`].
pub(super) fn list(
    shared: &Arc<Shared>,
    query: &ListQuery,
    visit: &mut Visit<'_>,
    left_out: &mut LeaveOut<'_>,
) -> Result<(), StoreError> {
    let below = query.prefix.as_ref().map_or_else(String::new, |prefix| format!("{}/", prefix.as_str()));
    if query.prefix.as_ref().is_some_and(|prefix| is_hidden(shared, prefix)) {
        return Err(StoreError::NotFound);
    }
    let root = shared.prefix.len();
    let mut pages = Pages::new(shared, &below, query);
    let mut rows = Rows { shared, query, below: &below, visit, is_over: false };
    let mut order = Order::new(query.directories);
    let (mut found_any, mut markers) = (query.prefix.is_none(), Markers::default());
    while let Some(page) = pages.next().map_err(CloudError::into_store)? {
        for (key, found) in page {
            // Keys begin with what was asked for, or the bucket answers nonsense.
            let Some(name) = key.get(root..).filter(|name| name.starts_with(&below)) else { continue };
            found_any = true;
            if name == below {
                continue;
            }
            let is_directory = name.ends_with('/');
            let path = match RemotePath::parse(name.trim_end_matches('/')) {
                Ok(path) if !name.ends_with("//") => path,
                _ => {
                    left_out(name, Omission::Unnameable);
                    continue;
                }
            };
            if is_hidden(shared, &path) {
                continue;
            }
            if is_directory {
                markers.keep(path.as_str(), found.as_ref());
            }
            let object = if is_directory { None } else { found };
            if !order.take(name, object) {
                left_out(name, Omission::Special);
            }
            while let Some(directory) = order.doubt() {
                let exists =
                    exists_below(shared, &format!("{}{directory}/", shared.prefix)).map_err(CloudError::into_store)?;
                order.resolve(&directory, exists);
                rows.give(std::iter::from_fn(|| order.next()), &markers)?;
            }
            rows.give(std::iter::from_fn(|| order.next()), &markers)?;
            if rows.is_over {
                return Ok(());
            }
        }
    }
    rows.give(std::iter::from_fn(|| order.rest()), &markers)?;
    if found_any || is_there(shared, &below, query)? { Ok(()) } else { Err(StoreError::NotFound) }
}

/// Whether the directory that is listed is one, where nothing was found behind the name to go on from.
fn is_there(shared: &Arc<Shared>, below: &str, query: &ListQuery) -> Result<bool, StoreError> {
    Ok(query.after.is_some()
        && exists_below(shared, &format!("{}{below}", shared.prefix)).map_err(CloudError::into_store)?)
}

/// Whether any key begins with `prefix`.
pub(super) fn exists_below(shared: &Arc<Shared>, prefix: &str) -> Result<bool, CloudError> {
    exists(shared, PageQuery { prefix: prefix.to_owned(), most: 1, ..PageQuery::default() }, |_| true)
}

/// Whether any key that begins with `prefix` goes on behind it.
pub(super) fn exists_in(shared: &Arc<Shared>, prefix: &str) -> Result<bool, CloudError> {
    exists(shared, PageQuery { prefix: prefix.to_owned(), most: 2, ..PageQuery::default() }, |key| key != prefix)
}

fn exists(shared: &Shared, mut query: PageQuery, is_wanted: impl Fn(&str) -> bool) -> Result<bool, CloudError> {
    loop {
        let page = shared.wait(shared.cloud.page(&query))?;
        if page.objects.iter().any(|(key, _)| is_wanted(key)) {
            return Ok(true);
        }
        // A page may have nothing on it and others behind it, or no row that counts here.
        let Some(next) = page.next else { return Ok(false) };
        query.go_on(next)?;
        query.most = PAGE;
    }
}

/// The times of the last directories that were made on purpose: their rows come soon, or came before.
#[derive(Default)]
struct Markers(VecDeque<(String, Timestamp)>);

/// As many rows may wait for a directory, see `order`.
const MAX_MARKERS: usize = 2048;

impl Markers {
    fn keep(&mut self, name: &str, found: Option<&Info>) {
        let Some(info) = found else { return };
        if self.0.len() == MAX_MARKERS {
            self.0.pop_front();
        }
        self.0.push_back((name.to_owned(), attributes::meta(name, info).modified));
    }

    fn time(&self, name: &str) -> Timestamp {
        let found = self.0.iter().rev().find(|(marker, _)| marker == name);
        found.map_or(Timestamp::UNIX_EPOCH, |(_, modified)| *modified)
    }
}

/// Hands rows out.
struct Rows<'a, 'v> {
    shared: &'a Arc<Shared>,
    query: &'a ListQuery,
    below: &'a str,
    visit: &'a mut Visit<'v>,
    is_over: bool,
}

impl Rows<'_, '_> {
    fn give(&mut self, rows: impl Iterator<Item = (String, Row<Info>)>, markers: &Markers) -> Result<(), StoreError> {
        for (name, row) in rows {
            let is_before = self.query.after.as_ref().is_some_and(|after| name.as_str() <= after.as_str());
            // Directories on the way to what is listed are none of its rows.
            if self.is_over || is_before || name.len() < self.below.len() {
                continue;
            }
            let entry = match row {
                Row::Object(info) => {
                    let key = format!("{}{name}", self.shared.prefix);
                    let meta = attributes::meta(&key, &info);
                    self.shared.known.learn(&meta.etag, info.attributes.as_ref());
                    Entry::File(meta)
                }
                Row::Directory => Entry::Directory(DirectoryMeta { modified: markers.time(&name) }),
            };
            let path = RemotePath::parse(&name).map_err(|_| StoreError::NotFound)?;
            if let ControlFlow::Break(()) = (self.visit)(path, entry) {
                self.is_over = true;
            }
        }
        Ok(())
    }
}

/// Keys of a page, with what is known of each object.
type Keys = Vec<(String, Option<Info>)>;

type Task = tokio::task::JoinHandle<Result<(Keys, Option<Next>), CloudError>>;

/// The pages of a listing, the next one under way.
struct Pages {
    shared: Arc<Shared>,
    query: PageQuery,
    ahead: Option<Result<Task, CloudError>>,
}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(Ok(ahead)) = self.ahead.take() {
            ahead.abort();
        }
    }
}

impl Pages {
    fn new(shared: &Arc<Shared>, below: &str, list: &ListQuery) -> Self {
        let prefix = format!("{}{below}", shared.prefix);
        let after = list.after.as_ref().map(|after| format!("{}{}", shared.prefix, after.as_str()));
        let after = after.filter(|after| *after > prefix);
        let query = PageQuery { prefix, after, token: None, shallow: list.shallow, most: PAGE };
        let mut pages = Self { shared: Arc::clone(shared), query, ahead: None };
        pages.begin();
        pages
    }

    fn begin(&mut self) {
        let (shared, query) = (Arc::clone(&self.shared), self.query.clone());
        self.ahead = Some(self.shared.spawn(async move {
            let Page { objects, prefixes, next } = shared.cloud.page(&query).await?;
            let objects = described(&shared, objects).await?;
            Ok((merged(objects, prefixes), next))
        }));
    }

    fn next(&mut self) -> Result<Option<Keys>, CloudError> {
        let Some(task) = self.ahead.take().transpose()? else { return Ok(None) };
        let (rows, next) = self.shared.wait(async { task.await.map_err(CloudError::unavailable)? })?;
        if let Some(next) = next {
            self.query.go_on(next)?;
            self.begin();
        }
        Ok(Some(rows))
    }
}

/// Objects and what was put together, in the order of the keys.
fn merged(objects: Vec<Found>, prefixes: Vec<String>) -> Keys {
    let mut rows: Vec<_> = objects.into_iter().map(|found| (found.key, Some(found.info))).collect();
    rows.extend(prefixes.into_iter().map(|prefix| (prefix, None)));
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    rows.dedup_by(|(later, _), (kept, _)| later == kept);
    rows
}

/// The objects with their attributes, where these are wanted: from memory, or asked for. What vanished meanwhile is left out.
async fn described(shared: &Arc<Shared>, objects: Vec<(String, Info)>) -> Result<Vec<Found>, CloudError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let describe = |(key, info): (String, Info)| async move {
        // What is no name is never asked for: its address might be that of another object.
        let name = key.get(shared.prefix.len()..).map(|name| name.strip_suffix('/').unwrap_or(name));
        if !shared.reads_attributes || name.is_none_or(|name| RemotePath::parse(name).is_err()) {
            let info = shared.named(info);
            return Ok(Some(Found { key, info }));
        }
        if info.attributes.is_some() {
            return Ok(Some(Found { key, info }));
        }
        let identity = attributes::listed_identity(&key, &info);
        // Some tell the tag in one place and not in the other: versions are named by that which opening an object tells.
        if let Some(Described { tag, attributes }) = shared.known.described(identity) {
            return Ok(Some(Found { key, info: Info { tag, attributes: Some(attributes), ..info } }));
        }
        match shared.cloud.head(&key).await {
            Ok(found) => {
                if found.changed < now - UNSETTLED {
                    let attributes = small(found.attributes.clone().unwrap_or_default());
                    shared.known.keep_described(identity, Described { tag: found.tag.clone(), attributes });
                }
                Ok(Some(Found { key, info: found }))
            }
            Err(CloudError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let mut found = stream::iter(objects).map(describe).buffered(HEADS);
    let mut rows = Vec::new();
    while let Some(row) = found.next().await {
        rows.extend(row?);
    }
    Ok(rows)
}

/// What is worth keeping of attributes.
fn small(attributes: Attributes) -> Attributes {
    Attributes { others: Vec::new(), fields: Vec::new(), ..attributes }
}
