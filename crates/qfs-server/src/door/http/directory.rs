//! `GET` of a directory: JSON for programs, a plain index for those that look for links, a page for people.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, VARY};
use jiff::Timestamp;
use qfs_core::model::{Digest, RemotePath, escape_untrusted};
use qfs_core::store::{BLOCK_BYTES, StoreError, WriteStore};
use qfs_store::blocking;

use super::error::HttpError;
use super::exchange::Ask;
use super::page::{self, listing};
use super::reply::{self, Answer, Form, HTML};
use super::walk;
use crate::view::{Child, View};

/// Rows of one page.
pub(super) const PAGE_ROWS: usize = 1000;

/// Most pages: what lies behind them is found by a search. Each page costs memory for all rows up to it, some 200 bytes each.
const MAX_PAGES: usize = 200;

/// Longest search, in bytes.
const MAX_SEARCH_BYTES: usize = 255;

/// Something in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Below the directory that is shown; of a search, with slashes in it.
    pub(super) name: String,
    pub(super) is_directory: bool,
    /// Bytes; 0 for a directory.
    pub(super) size: u64,
    pub(super) modified: Option<Timestamp>,
    pub(super) digest: Option<Digest>,
}

impl Row {
    fn new(name: &str, child: Child) -> Self {
        let name = name.to_owned();
        match child {
            Child::Directory => Self { name, is_directory: true, size: 0, modified: None, digest: None },
            Child::File(meta, digest) => {
                Self { name, is_directory: false, size: meta.size, modified: Some(meta.modified), digest }
            }
        }
    }
}

/// What the rows of a page are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Name,
    Size,
    Modified,
}

/// Which rows are wanted, in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) key: Key,
    pub(super) descending: bool,
    /// In lower case; empty for everything. A search looks into directories too.
    pub(super) search: String,
    /// From 0 on.
    pub(super) page: usize,
}

impl Choice {
    fn of<S>(ask: &Ask<'_, S>) -> Self {
        let value = |name| ask.target.value(name).unwrap_or_default();
        let key = match value("sort") {
            "size" => Key::Size,
            "modified" => Key::Modified,
            _ => Key::Name,
        };
        let search = value("q").trim();
        let search = if search.len() > MAX_SEARCH_BYTES { String::new() } else { search.to_lowercase() };
        let page = value("page").parse().unwrap_or(1usize).clamp(1, MAX_PAGES) - 1;
        Self { key, descending: value("order") == "desc", search, page }
    }

    /// Directories stand before files, whatever the order.
    fn compare(&self, a: &Row, b: &Row) -> Ordering {
        let names = || a.name.to_lowercase().cmp(&b.name.to_lowercase()).then_with(|| a.name.cmp(&b.name));
        let order = match self.key {
            Key::Name => names(),
            Key::Size => a.size.cmp(&b.size).then_with(names),
            Key::Modified => a.modified.cmp(&b.modified).then_with(names),
        };
        let order = if self.descending { order.reverse() } else { order };
        b.is_directory.cmp(&a.is_directory).then(order)
    }
}

/// The rows of a page, and how many there are in all.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    pub(super) count: usize,
    /// Bytes of all files counted.
    pub(super) bytes: u64,
    /// Something to be shown below the rows.
    pub(super) readme: Option<String>,
}

/// Whether something that can be seen is in `path`.
pub(super) async fn exists<S: WriteStore>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    path: &RemotePath,
) -> Result<bool, HttpError> {
    let _turn = walk::turn(ask).await?;
    let (view, path) = (view.clone(), path.clone());
    match blocking(move || view.children(Some(&path), &mut |_, _| ControlFlow::Break(()))).await {
        Ok(()) => Ok(true),
        Err(StoreError::NotFound) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn answer<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    directory: Option<&RemotePath>,
    reply: &mut R,
) -> Result<(), HttpError> {
    let head = reply::head(StatusCode::OK).header(VARY, "accept");
    let below = directory.cloned();
    match ask.form {
        Form::Json => {
            let search = Choice::of(ask).search;
            let head = head.header(CONTENT_TYPE, "application/json");
            walk::answer(ask, view, head, reply, move |view, text| json(view, below.as_ref(), &search, text)).await
        }
        Form::Text => {
            let head = page::guarded(head.header(CONTENT_TYPE, HTML));
            walk::answer(ask, view, head, reply, move |view, text| index(view, below.as_ref(), text)).await
        }
        Form::Html => people(ask, view, directory, head, reply).await,
    }
}

/// An array of objects, one a line.
fn json<S: WriteStore>(
    view: &View<S>,
    directory: Option<&RemotePath>,
    search: &str,
    text: &mut walk::Text<'_>,
) -> Result<(), StoreError> {
    let mut lead = "[\n";
    let visit = &mut |row: Row| {
        let object = serde_json::json!({
            "name": row.name,
            "type": if row.is_directory { "directory" } else { "file" },
            "size": (!row.is_directory).then_some(row.size),
            "modified": row.modified,
            "sha256": row.digest,
        });
        text.push(&format!("{}{object}", std::mem::replace(&mut lead, ",\n")))
    };
    each(view, directory, search, visit)?;
    let _ = text.push(if lead == "[\n" { "[]\n" } else { "\n]\n" });
    Ok(())
}

/// Links, as the programs that fetch whole directories look for them.
fn index<S: WriteStore>(
    view: &View<S>,
    directory: Option<&RemotePath>,
    text: &mut walk::Text<'_>,
) -> Result<(), StoreError> {
    let mut begun = false;
    let visit = &mut |row: Row| {
        if !std::mem::replace(&mut begun, true) {
            text.push(&listing::index_head(directory))?;
        }
        text.push(&listing::index_row(&row))
    };
    each(view, directory, "", visit)?;
    if !begun {
        let _ = text.push(&listing::index_head(directory));
    }
    let _ = text.push(listing::INDEX_END);
    Ok(())
}

/// Visits what is in `directory`; with a search, all files below it whose names have that in them.
fn each<S: WriteStore>(
    view: &View<S>,
    directory: Option<&RemotePath>,
    search: &str,
    visit: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    if search.is_empty() {
        return view.children(directory, &mut |name, child| visit(Row::new(name, child)));
    }
    view.list_below(directory, &mut |name, meta, digest| {
        if name.to_lowercase().contains(search) {
            visit(Row::new(name, Child::File(meta, digest)))
        } else {
            ControlFlow::Continue(())
        }
    })
}

/// The page for people.
async fn people<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    directory: Option<&RemotePath>,
    head: http::response::Builder,
    reply: &mut R,
) -> Result<(), HttpError> {
    let choice = Choice::of(ask);
    let turn = walk::turn(ask).await?;
    let (from, below, wanted) = (view.clone(), directory.cloned(), choice.clone());
    let mut rows = blocking(move || gather(&from, below.as_ref(), &wanted)).await?;
    drop(turn);
    let room = ask.client.share.reserve(BLOCK_BYTES as usize).await;
    let readme = match rows.readme.take() {
        Some(name) => readme(view, directory, &name).await,
        None => None,
    };
    let page = listing::Listing {
        directory,
        choice: &choice,
        rows: &rows,
        readme: readme.as_deref(),
        has_token: ask.service.gate.token_count().is_some(),
    };
    let text = Bytes::from(page.render());
    drop(rows);
    reply.begin(page::guarded(head.header(CONTENT_TYPE, HTML).header(CONTENT_LENGTH, text.len()))).await?;
    Ok(reply.send(room.attach(text)).await?)
}

/// The rows of the page that is wanted. Memory is that of twice the rows up to its end. Blocks.
fn gather<S: WriteStore>(view: &View<S>, directory: Option<&RemotePath>, choice: &Choice) -> Result<Rows, StoreError> {
    let most = (choice.page + 1) * PAGE_ROWS;
    let mut found = Rows::default();
    each(view, directory, &choice.search, &mut |row| {
        found.count += 1;
        found.bytes += row.size;
        if row.name.eq_ignore_ascii_case("readme.md") && found.readme.is_none() {
            found.readme = Some(row.name.clone());
        }
        found.rows.push(row);
        if found.rows.len() >= 2 * most {
            found.rows.select_nth_unstable_by(most, |a, b| choice.compare(a, b));
            found.rows.truncate(most);
        }
        ControlFlow::Continue(())
    })?;
    found.rows.sort_by(|a, b| choice.compare(a, b));
    found.rows.truncate(most);
    found.rows.drain(..(choice.page * PAGE_ROWS).min(found.rows.len()));
    Ok(found)
}

/// The text of a small file; what cannot be read is not shown.
async fn readme<S: WriteStore>(view: &View<S>, directory: Option<&RemotePath>, name: &str) -> Option<String> {
    let path = match directory {
        Some(directory) => RemotePath::parse(&format!("{}/{name}", directory.as_str())),
        None => RemotePath::parse(name),
    };
    let content = view.open(path.ok()?).await.ok()?.content?;
    String::from_utf8(content.to_vec()).ok()
}

/// What a directory is called; the root has no name of its own.
pub(super) fn title(directory: Option<&RemotePath>) -> String {
    directory.map_or_else(|| "Files".to_owned(), |path| escape_untrusted(path.file_name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, size: u64, is_directory: bool) -> Row {
        Row { name: name.to_owned(), is_directory, size, modified: None, digest: None }
    }

    #[test]
    fn directories_come_first_in_every_order() {
        let rows = [row("b", 1, false), row("A", 9, false), row("z", 0, true), row("c", 5, false)];
        let sorted = |key, descending| {
            let choice = Choice { key, descending, search: String::new(), page: 0 };
            let mut rows = rows.to_vec();
            rows.sort_by(|a, b| choice.compare(a, b));
            rows.into_iter().map(|row| row.name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(sorted(Key::Name, false), "z A b c");
        assert_eq!(sorted(Key::Name, true), "z c b A");
        assert_eq!(sorted(Key::Size, false), "z b c A");
        assert_eq!(sorted(Key::Size, true), "z A c b");
    }
}
