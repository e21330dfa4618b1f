//! `get_files_list` (PROTOCOL §4.1): a walk on a thread of its own feeds pages to the stream.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use qfs_core::body::Share;
use qfs_core::model::{Digest, EntryMeta, HashKind, RemotePath};
use qfs_core::store::{Entry, Store, StoreError};
use qfs_core::stream::ByteSink;
use qfs_core::wire::{EncodeError, Kind, ListHead, ListRequest, PageBuilder, StatusCode, TreeEntry, encode};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::error::HandlerError;
use crate::service::Service;
use crate::view::{Completeness, View};

/// Pages of at most 64 KiB that wait for the client, for each listing: 1 MiB.
const PAGES_AHEAD: usize = 16;

/// Rows of the first page: it leaves early, so that the client has something to show.
const FIRST_PAGE_ROWS: u64 = 64;

/// A row waits no longer than this for its page to fill.
const PAGE_DELAY: Duration = Duration::from_millis(100);

/// What the walk sends to the stream.
enum Page {
    More(Bytes),
    Last(Bytes),
    Failed(HandlerError),
}

/// Answers on `sink` with what `view` shows, up to and including the end of the stream. Pages on their way are taken out of `share`.
pub(crate) async fn list<S: Store, K: ByteSink>(
    service: &Service<S>,
    view: &View<S>,
    share: &Share,
    sink: &mut K,
    request: ListRequest,
) -> Result<(), HandlerError> {
    let prefix = request.prefix.as_deref().map(RemotePath::parse).transpose().map_err(|_| HandlerError::NotFound)?;
    let (tree, hash) = (request.tree, request.hash);
    let waiting = Arc::clone(&service.listings).acquire_owned();
    let permit = tokio::time::timeout(service.deadlines().queue, waiting)
        .await
        .map_err(|_| HandlerError::Busy)?
        .map_err(|_| HandlerError::ShuttingDown)?;
    let (sender, mut pages) = mpsc::channel(PAGES_AHEAD);
    let outlet = Outlet { pages: sender, share: share.clone(), runtime: Handle::current() };
    let view = view.clone();
    // Not one of the runtime's blocking threads: this one waits for the client, and a few slow ones would occupy them all.
    std::thread::Builder::new()
        .name("qfs-list".to_owned())
        .spawn(move || {
            walk(&view, prefix, tree, hash, &outlet);
            drop(permit);
        })
        .map_err(|_| HandlerError::Busy)?;

    let mut head = Some(encode(&ListHead { code: StatusCode::OK, tree, hash })?);
    loop {
        let (frame, last) = match pages.recv().await {
            Some(Page::More(frame)) => (frame, false),
            Some(Page::Last(frame)) => (frame, true),
            Some(Page::Failed(error)) => return Err(error),
            None => return Err(StoreError::Io(std::io::Error::other("the walk ended early")).into()),
        };
        // Only now is it certain that the answer is not an error.
        if let Some(head) = head.take() {
            sink.send(head).await?;
        }
        sink.send(frame).await?;
        if last {
            sink.finish();
            return Ok(());
        }
    }
}

/// Walks the store and sends its pages until the end, or until nobody takes them any more.
fn walk<S: Store>(view: &View<S>, prefix: Option<RemotePath>, tree: bool, hash: HashKind, outlet: &Outlet) {
    let mut paging = Paging { builder: PageBuilder::new(), rows: 0, flushed: Instant::now() };
    let mut stopped = None;
    let result = view.list(prefix, tree, hash, &mut |path, entry, digest| {
        let pushed = match row(entry, digest, tree) {
            Row::Plain(row) => paging.push(&path, &row),
            Row::Tree(row) => paging.push(&path, &row),
        };
        match pushed.map_err(Stopped::Encode).and_then(|full| outlet.send(full)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(why) => {
                stopped = Some(why);
                ControlFlow::Break(())
            }
        }
    });
    let last = match (stopped, result) {
        (Some(Stopped::Gone), _) => return,
        (Some(Stopped::Encode(error)), _) => Err(error.into()),
        (None, Err(error)) => Err(HandlerError::from(error)),
        (None, Ok(Completeness::Partial)) => paging.builder.finish_partial().map_err(HandlerError::from),
        (None, Ok(Completeness::Whole)) => paging.builder.finish().map_err(HandlerError::from),
    };
    // Fails when the client is gone, which is nobody's loss.
    let _ = outlet.pages.blocking_send(last.map_or_else(Page::Failed, Page::Last));
}

enum Row {
    Plain(EntryMeta),
    Tree(TreeEntry),
}

/// The row of `entry`. Only a tree has rows of anything else than files.
fn row(entry: Entry, digest: Option<Digest>, tree: bool) -> Row {
    let plain = |kind, modified| TreeEntry {
        kind,
        size: 0,
        modified,
        digest: None,
        etag: None,
        executable: false,
        target: None,
    };
    match entry {
        Entry::File(meta) if !tree => {
            Row::Plain(EntryMeta { size: meta.size, modified: meta.modified, digest, executable: meta.executable })
        }
        Entry::File(meta) => Row::Tree(TreeEntry {
            size: meta.size,
            digest,
            etag: Some(meta.etag),
            executable: meta.executable,
            ..plain(Kind::File, meta.modified)
        }),
        Entry::Directory(meta) => Row::Tree(plain(Kind::Directory, meta.modified)),
        Entry::Link(meta) => Row::Tree(TreeEntry { target: Some(meta.target), ..plain(Kind::Link, meta.modified) }),
    }
}

/// Why a walk ends early.
enum Stopped {
    Gone,
    Encode(EncodeError),
}

/// Where the walk sends its pages.
struct Outlet {
    pages: mpsc::Sender<Page>,
    share: Share,
    runtime: Handle,
}

impl Outlet {
    /// Sends a page that is full, waiting for room and for the client.
    fn send(&self, full: Option<Bytes>) -> Result<(), Stopped> {
        let Some(frame) = full else { return Ok(()) };
        self.runtime.block_on(async {
            let room = tokio::select! {
                room = self.share.reserve(frame.len()) => room,
                () = self.pages.closed() => return Err(Stopped::Gone),
            };
            self.pages.send(Page::More(room.attach(frame))).await.map_err(|_| Stopped::Gone)
        })
    }
}

/// Decides when a page is full enough.
struct Paging {
    builder: PageBuilder,
    rows: u64,
    flushed: Instant,
}

impl Paging {
    fn push<R: Serialize>(&mut self, path: &RemotePath, row: &R) -> Result<Option<Bytes>, EncodeError> {
        let full = self.builder.push(path, row)?;
        self.rows += 1;
        if full.is_some() {
            self.flushed = Instant::now();
            return Ok(full);
        }
        if self.rows == FIRST_PAGE_ROWS || self.flushed.elapsed() >= PAGE_DELAY {
            self.flushed = Instant::now();
            return self.builder.take_page();
        }
        Ok(None)
    }
}
