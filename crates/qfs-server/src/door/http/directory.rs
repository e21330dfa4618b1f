//! `GET` of a directory: JSON for programs, a plain index for those that look for links, a page for people.

use std::ops::ControlFlow;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, VARY};
use qfs_core::model::RemotePath;
use qfs_core::store::{BLOCK_BYTES, StoreError, WriteStore};

use super::ask::Ask;
use super::error::HttpError;
use super::page::{self, listing};
use super::reply::{self, Answer, Form, HTML};
use super::rows::{Choice, PAGE_ROWS, Row, Rows, SHALLOW_ROWS};
use super::walk::{self, Finds};
use crate::gate::rights::Right;
use crate::view::{Child, View};

/// Whether something that can be seen is in `path`.
pub(super) async fn exists<S: WriteStore>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    path: &RemotePath,
) -> Result<bool, HttpError> {
    let path = path.clone();
    let look = move |view: &View<S>, finds: &Finds<()>| {
        view.children(Some(&path), &mut |_, _| ControlFlow::Break(()))?;
        // Whoever is gone misses nothing.
        let _ = finds.push(());
        Ok(())
    };
    let permit = walk::permit(ask, &ask.service.looks).await?;
    match walk::spawn_with(permit, view, 1, look)?.recv().await {
        Some(Ok(())) => Ok(true),
        Some(Err(StoreError::NotFound)) => Ok(false),
        Some(Err(error)) => Err(error.into()),
        None => Err(walk::ended_early().into()),
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
            let search = Choice::of(&ask.target).search;
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
    let (mut lead, finds) = ("[\n", text.finds());
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
    each(view, directory, search, finds, visit)?;
    let _ = text.push(if lead == "[\n" { "[]\n" } else { "\n]\n" });
    Ok(())
}

/// Links, as the programs that fetch whole directories look for them.
fn index<S: WriteStore>(
    view: &View<S>,
    directory: Option<&RemotePath>,
    text: &mut walk::Text<'_>,
) -> Result<(), StoreError> {
    let (mut begun, finds) = (false, text.finds());
    let visit = &mut |row: Row| {
        if !std::mem::replace(&mut begun, true) {
            text.push(&listing::index_head(directory))?;
        }
        text.push(&listing::index_row(&row))
    };
    each(view, directory, "", finds, visit)?;
    if !begun {
        let _ = text.push(&listing::index_head(directory));
    }
    let _ = text.push(listing::INDEX_END);
    Ok(())
}

/// Visits what is in `directory`; with a search, all files below it whose names have that in them. Ends when nobody waits for `finds`.
fn each<S: WriteStore, T>(
    view: &View<S>,
    directory: Option<&RemotePath>,
    search: &str,
    finds: &Finds<T>,
    visit: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    if search.is_empty() {
        return view.children(directory, &mut |name, child| {
            finds.go_on()?;
            visit(Row::new(name, child))
        });
    }
    view.list_below(directory, &mut |name, meta, digest| {
        finds.go_on()?;
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
    let choice = Choice::of(&ask.target);
    // Kept by the walk, which goes on for a moment when nobody waits for it any more.
    let deep = match choice.rows() {
        ..=SHALLOW_ROWS => None,
        _ => Some(walk::permit(ask, &ask.service.deep_pages).await?),
    };
    let (below, wanted) = (directory.cloned(), choice.clone());
    let gather = move |view: &View<S>, finds: &Finds<Rows>| {
        let _deep = deep;
        // Whoever is gone misses nothing.
        let _ = finds.push(gather(view, below.as_ref(), &wanted, finds)?);
        Ok(())
    };
    let permit = walk::permit(ask, &ask.service.looks).await?;
    let found = walk::spawn_with(permit, view, 1, gather)?.recv().await.transpose()?;
    let mut rows = found.ok_or_else(walk::ended_early)?;
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
        may: may(view, directory),
    };
    let text = Bytes::from(page.render());
    drop(rows);
    reply.begin(page::guarded(head.header(CONTENT_TYPE, HTML).header(CONTENT_LENGTH, text.len()))).await?;
    Ok(reply.send(room.attach(text)).await?)
}

/// What the request may do in `directory`: to a file of any name, as far as that can be said beforehand.
fn may<S: WriteStore>(view: &View<S>, directory: Option<&RemotePath>) -> listing::May {
    let any = directory.map_or_else(|| "any".to_owned(), |directory| format!("{}/any", directory.as_str()));
    let Ok(any) = RemotePath::parse(&any) else { return listing::May::default() };
    listing::May { write: view.allows(Right::Write, &any), delete: view.allows(Right::Delete, &any) }
}

/// The rows of the page that is wanted. Memory is that of the rows up to its end and of a quarter more. Blocks.
fn gather<S: WriteStore>(
    view: &View<S>,
    directory: Option<&RemotePath>,
    choice: &Choice,
    finds: &Finds<Rows>,
) -> Result<Rows, StoreError> {
    let most = choice.rows();
    let mut found = Rows::default();
    each(view, directory, &choice.search, finds, &mut |row| {
        found.count += 1;
        found.bytes += row.size;
        if row.name.eq_ignore_ascii_case("readme.md") && found.readme.is_none() {
            found.readme = Some(row.name.clone());
        }
        found.rows.push(row);
        if found.rows.len() >= most + PAGE_ROWS.max(most / 4) {
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
