//! Walks over the published files for answers that are longer than memory should hold: on a thread of their own, which waits for the
//! client.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use qfs_core::store::{StoreError, WriteStore};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::ask::Ask;
use super::error::HttpError;
use super::reply::Answer;
use crate::error::HandlerError;
use crate::view::View;

/// A piece of an answer is sent when it has this many bytes.
const PIECE_BYTES: usize = 32 << 10;

/// Pieces that wait for the client, for each walk: 512 KiB.
const PIECES_AHEAD: usize = 16;

/// One of `permits`, for a walk to keep for as long as it takes.
pub(super) async fn permit<S>(ask: &Ask<'_, S>, permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, HttpError> {
    let waiting = Arc::clone(permits).acquire_owned();
    let permit = timeout(ask.service.deadlines().queue, waiting).await.map_err(|_| HandlerError::Busy)?;
    Ok(permit.map_err(|_| HandlerError::ShuttingDown)?)
}

/// What a walk finds, for whoever takes it.
pub(super) type Found<T> = mpsc::Receiver<Result<T, StoreError>>;

/// Where a walk puts what it finds.
pub(super) struct Finds<T>(mpsc::Sender<Result<T, StoreError>>);

impl<T> Finds<T> {
    /// Hands `item` over, waiting for room; breaks when nobody takes it any more. Blocks.
    pub(super) fn push(&self, item: T) -> ControlFlow<()> {
        if self.0.blocking_send(Ok(item)).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Breaks when nobody takes what is found any more, for walks that find little.
    pub(super) fn go_on(&self) -> ControlFlow<()> {
        if self.0.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Runs `work` on a thread of its own, which may wait for whoever takes its finds; one of as many as there are
/// [`listings`](crate::Limits::listings) at once.
pub(super) async fn spawn<S: WriteStore, T: Send + 'static>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    ahead: usize,
    work: impl FnOnce(&View<S>, &Finds<T>) -> Result<(), StoreError> + Send + 'static,
) -> Result<Found<T>, HttpError> {
    let permit = permit(ask, &ask.service.listings).await?;
    spawn_with(permit, view, ahead, work)
}

/// As [`spawn`], with what is kept for as long as it takes.
pub(super) fn spawn_with<S: WriteStore, T: Send + 'static>(
    permits: impl Send + 'static,
    view: &View<S>,
    ahead: usize,
    work: impl FnOnce(&View<S>, &Finds<T>) -> Result<(), StoreError> + Send + 'static,
) -> Result<Found<T>, HttpError> {
    let (sender, finds) = mpsc::channel(ahead);
    let view = view.clone();
    // Not one of the runtime's blocking threads: this one waits for the client, and a few slow ones would occupy them all.
    std::thread::Builder::new()
        .name("qfs-walk".to_owned())
        .spawn(move || {
            let finds = Finds(sender);
            if let Err(error) = work(&view, &finds) {
                // Fails when the client is gone, which is nobody's loss.
                let _ = finds.0.blocking_send(Err(error));
            }
            drop(permits);
        })
        .map_err(|_| HandlerError::Busy)?;
    Ok(finds)
}

/// Text that a walk writes, which leaves in pieces.
pub(super) struct Text<'a> {
    finds: &'a Finds<Bytes>,
    buffer: String,
}

impl<'a> Text<'a> {
    /// Where its pieces go.
    pub(super) fn finds(&self) -> &'a Finds<Bytes> {
        self.finds
    }

    /// Adds `text`; breaks when nobody reads it any more. Blocks.
    pub(super) fn push(&mut self, text: &str) -> ControlFlow<()> {
        self.buffer.push_str(text);
        if self.buffer.len() < PIECE_BYTES { ControlFlow::Continue(()) } else { self.flush() }
    }

    fn flush(&mut self) -> ControlFlow<()> {
        self.finds.push(std::mem::take(&mut self.buffer).into())
    }
}

/// Answers with `head` and the text that `work` writes. A failure before the first piece is told as such.
pub(super) async fn answer<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    head: http::response::Builder,
    reply: &mut R,
    work: impl FnOnce(&View<S>, &mut Text<'_>) -> Result<(), StoreError> + Send + 'static,
) -> Result<(), HttpError> {
    let write = move |view: &View<S>, finds: &Finds<Bytes>| {
        let mut text = Text { finds, buffer: String::new() };
        work(view, &mut text)?;
        // Whoever is gone misses nothing.
        let _ = text.flush();
        Ok(())
    };
    let mut pieces = spawn(ask, view, PIECES_AHEAD, write).await?;
    let mut head = Some(head);
    while let Some(piece) = pieces.recv().await {
        let piece = piece?;
        let room = ask.client.share.reserve(piece.len().max(1)).await;
        if let Some(head) = head.take() {
            reply.begin(head).await?;
        }
        reply.send(room.attach(piece)).await?;
    }
    if head.is_some() {
        return Err(ended_early().into());
    }
    Ok(())
}

/// A walk ended without a word.
pub(super) fn ended_early() -> StoreError {
    StoreError::Io(std::io::Error::other("the walk ended early"))
}
