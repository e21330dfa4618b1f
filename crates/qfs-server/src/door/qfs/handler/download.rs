//! `download` (PROTOCOL §4.2): head, body, trailer.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use qfs_core::body::{self, Reservation, Share};
use qfs_core::model::{ByteRange, Digest, RemotePath};
use qfs_core::store::{BLOCK_BYTES, ObjectMeta, Store, Version};
use qfs_core::stream::{ByteSink, StreamError};
use qfs_core::wire::{DownloadHead, DownloadRequest, StatusCode, Trailer, encode};
use tokio::sync::Semaphore;

use crate::error::HandlerError;
use crate::service::Service;
use crate::view::View;

/// An answer up to this many bytes goes out as one buffer: copying it costs less than handing over three.
const ONE_BUFFER_BYTES: usize = 16 << 10;

/// Answers `request` on `sink` with what `view` shows, up to and including the end of the stream. What it reads is taken out of `share`.
pub(crate) async fn download<S: Store, K: ByteSink>(
    service: &Service<S>,
    view: &View<S>,
    share: &Share,
    sink: &mut K,
    request: DownloadRequest,
) -> Result<(), HandlerError> {
    if request.priority != 0 {
        sink.set_priority(request.priority);
    }
    if request.live && (request.range.is_some() || request.if_match.is_some()) {
        return Err(HandlerError::BadRequest("a live file has no ranges and no versions"));
    }
    let path = RemotePath::parse(&request.filename).map_err(|_| HandlerError::NotFound)?;
    if request.live {
        return live(service, view, share, sink, path).await;
    }
    // Opening reads a small file at once, and which is small shows only then.
    let mut room = share.reserve(BLOCK_BYTES as usize).await;
    let opened = view.open(path).await?;
    let meta = opened.version.meta();
    if request.if_match.is_some_and(|wanted| wanted != meta.etag) {
        return Err(HandlerError::Changed);
    }
    let whole = ByteRange { start: 0, end: None };
    let range = request.range.unwrap_or(whole).within(meta.size).map_err(|_| HandlerError::BadRange)?;
    let head = encode(&head(meta, &range, opened.digest()))?;
    match opened.content {
        Some(content) => {
            let digest = digest(service, sink, &opened.version, false).await?;
            // A small body is held whole, so its length and its offsets fit.
            let body = content.slice(range.start as usize..range.end as usize);
            drop(opened.version);
            room.shrink(content.len());
            send_small(sink, head, body, trailer(digest)?, room).await?;
        }
        None => {
            let whole = range == (0..meta.size);
            sink.send(head).await?;
            body::send_within(sink, &opened.version, range, share, Some(room)).await?;
            let digest = digest(service, sink, &opened.version, whole).await?;
            sink.send(trailer(digest)?).await?;
        }
    }
    sink.finish();
    Ok(())
}

/// Answers with a file that may be appended to meanwhile, as long as it is now (PROTOCOL §4.2, "Live").
async fn live<S: Store, K: ByteSink>(
    service: &Service<S>,
    view: &View<S>,
    share: &Share,
    sink: &mut K,
    path: RemotePath,
) -> Result<(), HandlerError> {
    let live = Arc::new(view.open_live(path).await?);
    let version = live.version();
    let whole = 0..version.meta().size;
    sink.send(encode(&DownloadHead { live: true, ..head(version.meta(), &whole, None) })?).await?;
    body::send_within(sink, version, whole, share, None).await?;
    let sha256 = digest(service, sink, version, true).await?;
    let confirmed = async {
        let _permit = service.digest_passes.acquire().await.map_err(|_| HandlerError::ShuttingDown)?;
        Ok::<_, HandlerError>(body::confirm(&live, sha256).await?)
    };
    let grown = while_wanted(sink, confirmed).await?;
    sink.send(encode(&Trailer { grown, ..Trailer::new(sha256) })?).await?;
    sink.finish();
    Ok(())
}

fn head(meta: &ObjectMeta, range: &Range<u64>, sha256: Option<Digest>) -> DownloadHead {
    DownloadHead {
        code: StatusCode::OK,
        size: meta.size,
        modified: meta.modified,
        etag: meta.etag.clone(),
        range: ByteRange { start: range.start, end: Some(range.end) },
        sha256,
        executable: meta.executable,
        live: false,
    }
}

fn trailer(sha256: Digest) -> Result<Bytes, HandlerError> {
    Ok(encode(&Trailer::new(sha256))?)
}

/// Sends an answer whose body is in memory, and in `room`.
async fn send_small<K: ByteSink>(
    sink: &mut K,
    head: Bytes,
    body: Bytes,
    trailer: Bytes,
    room: Reservation,
) -> Result<(), HandlerError> {
    let length = head.len() + body.len() + trailer.len();
    if length > ONE_BUFFER_BYTES {
        for part in [head, room.attach(body), trailer] {
            sink.send(part).await?;
        }
        return Ok(());
    }
    let mut answer = BytesMut::with_capacity(length);
    for part in [head, body, trailer] {
        answer.extend_from_slice(&part);
    }
    Ok(sink.send(room.attach(answer.freeze())).await?)
}

/// The digest of the whole file: at once when it is known, otherwise from a pass over what nobody has hashed yet, for as long as
/// the client waits for it.
async fn digest<S: Store, K: ByteSink>(
    service: &Service<S>,
    sink: &mut K,
    version: &Arc<Version>,
    streamed: bool,
) -> Result<Digest, HandlerError> {
    if let Some(known) = version.known_digest() {
        return Ok(known);
    }
    // Whoever has just streamed the whole file misses a few blocks at most, and must not queue behind long passes.
    let lane: &Semaphore = if streamed { &service.digest_tails } else { &service.digest_passes };
    let pass = async {
        let _permit = lane.acquire().await.map_err(|_| HandlerError::ShuttingDown)?;
        let version = Arc::clone(version);
        Ok(qfs_store::blocking(move || version.digest()).await?)
    };
    while_wanted(sink, pass).await
}

/// The outcome of `work`, given up when the client wants no answer any more.
async fn while_wanted<T, K: ByteSink>(
    sink: &mut K,
    work: impl Future<Output = Result<T, HandlerError>>,
) -> Result<T, HandlerError> {
    tokio::select! {
        biased;
        done = work => done,
        () = sink.stopped() => Err(StreamError::Stopped(StatusCode::CANCELLED).into()),
    }
}
