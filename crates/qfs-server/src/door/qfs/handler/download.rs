//! `download` (PROTOCOL §4.2): head, body, trailer.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use qfs_core::body::{self, Reservation, Share};
use qfs_core::model::{ByteRange, Digest, HashKind, Holes, RemotePath};
use qfs_core::store::{ObjectMeta, Store, Version};
use qfs_core::stream::{ByteSink, StreamError};
use qfs_core::wire::{DownloadHead, DownloadRequest, MAX_HOLES, MIN_HOLE_BYTES, StatusCode, Trailer, encode};

use crate::deliveries::Counting;
use crate::error::HandlerError;
use crate::service::Service;
use crate::view::View;

/// An answer up to this many bytes goes out as one buffer: copying it costs less than handing over three.
const ONE_BUFFER_BYTES: usize = 16 << 10;

/// Holes of a file up to this many bytes are hashed in a moment, once the rest is.
const SHORT_HOLES_BYTES: u64 = 256 << 20;

/// Answers `request` on `sink` with what `view` shows, up to and including the end of the stream. What it reads is taken out of `share`,
/// and what was handed out of the file is added to `count`.
pub(crate) async fn download<S: Store, K: ByteSink>(
    service: &Service<S>,
    view: &View<S>,
    share: &Share,
    sink: &mut K,
    request: DownloadRequest,
    count: &mut u64,
) -> Result<(), HandlerError> {
    if request.priority != 0 {
        sink.set_priority(request.priority);
    }
    if request.live && (request.range.is_some() || request.if_match.is_some()) {
        return Err(HandlerError::BadRequest("a live file has no ranges and no versions"));
    }
    let path = RemotePath::parse(&request.filename).map_err(|_| HandlerError::NotFound)?;
    if request.live {
        return live(service, view, share, sink, (path, request.hash), count).await;
    }
    let (opened, mut room) = view.open_within(share, path, request.hash).await?;
    let meta = opened.version.meta();
    if request.if_match.is_some_and(|wanted| wanted != meta.etag) {
        return Err(HandlerError::Changed);
    }
    let whole = ByteRange { start: 0, end: None };
    let range = request.range.unwrap_or(whole).within(meta.size).map_err(|_| HandlerError::BadRange)?;
    let (known, hash) = (opened.digest(), request.hash);
    match opened.content {
        Some(content) => {
            let head = encode(&head(meta, &range, (known, hash), Holes::default()))?;
            let digest = digest(service, sink, &opened.version, false).await?;
            // A small body is held whole, so its length and its offsets fit.
            let body = content.slice(range.start as usize..range.end as usize);
            drop(opened.version);
            room.shrink(content.len());
            send_small(sink, head, body, trailer(digest)?, room, count).await?;
        }
        None => {
            let whole = range == (0..meta.size);
            let holes = if request.holes { holes(&opened.version, range.clone()).await? } else { Holes::default() };
            sink.send(encode(&head(meta, &range, (known, hash), holes.clone()))?).await?;
            let mut counting = Counting::around(sink, count, range.start, &holes);
            body::send_around(&mut counting, &opened.version, range, &holes, share, Some(room)).await?;
            counting.end();
            let is_nearly_hashed = whole && holes.bytes() <= SHORT_HOLES_BYTES;
            let digest = digest(service, sink, &opened.version, is_nearly_hashed).await?;
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
    (path, hash): (RemotePath, HashKind),
    count: &mut u64,
) -> Result<(), HandlerError> {
    let live = Arc::new(view.open_live(path, hash).await?);
    let version = live.version();
    let whole = 0..version.meta().size;
    let head = head(version.meta(), &whole, (None, hash), Holes::default());
    sink.send(encode(&DownloadHead { live: true, ..head })?).await?;
    body::send_within(&mut Counting::new(sink, count), version, whole, share, None).await?;
    let digest = digest(service, sink, version, true).await?;
    let confirmed = async {
        let _permit = service.digest_passes.acquire().await.map_err(|_| HandlerError::ShuttingDown)?;
        Ok::<_, HandlerError>(body::confirm(&live, digest).await?)
    };
    let grown = while_wanted(sink, confirmed).await?;
    sink.send(encode(&Trailer { grown, ..Trailer::new(digest) })?).await?;
    sink.finish();
    Ok(())
}

/// What of `range` need not be sent.
async fn holes(version: &Arc<Version>, range: Range<u64>) -> Result<Holes, HandlerError> {
    let version = Arc::clone(version);
    Ok(qfs_store::blocking(move || version.holes(&range, MIN_HOLE_BYTES, MAX_HOLES)).await?)
}

pub(super) fn head(
    meta: &ObjectMeta,
    range: &Range<u64>,
    (digest, hash): (Option<Digest>, HashKind),
    holes: Holes,
) -> DownloadHead {
    DownloadHead {
        code: StatusCode::OK,
        size: meta.size,
        modified: meta.modified,
        etag: meta.etag.clone(),
        range: ByteRange { start: range.start, end: Some(range.end) },
        digest,
        executable: meta.executable,
        live: false,
        holes,
        hash,
    }
}

pub(super) fn trailer(digest: Digest) -> Result<Bytes, HandlerError> {
    Ok(encode(&Trailer::new(digest))?)
}

/// Sends an answer whose body is in memory, and in `room`.
async fn send_small<K: ByteSink>(
    sink: &mut K,
    head: Bytes,
    body: Bytes,
    trailer: Bytes,
    room: Reservation,
    count: &mut u64,
) -> Result<(), HandlerError> {
    let handed_out = body.len() as u64;
    let length = head.len() + body.len() + trailer.len();
    if length > ONE_BUFFER_BYTES {
        sink.send(head).await?;
        sink.send(room.attach(body)).await?;
        *count += handed_out;
        return Ok(sink.send(trailer).await?);
    }
    let mut answer = BytesMut::with_capacity(length);
    for part in [head, body, trailer] {
        answer.extend_from_slice(&part);
    }
    sink.send(room.attach(answer.freeze())).await?;
    *count += handed_out;
    Ok(())
}

/// The digest of the whole file: at once when it is known, otherwise from a pass over what nobody has hashed yet, for as long as
/// the client waits for it.
pub(super) async fn digest<S: Store, K: ByteSink>(
    service: &Service<S>,
    sink: &mut K,
    version: &Arc<Version>,
    streamed: bool,
) -> Result<Digest, HandlerError> {
    if let Some(known) = version.known_digest() {
        return Ok(known);
    }
    // Whoever has just streamed the whole file misses a few blocks at most, and must not queue behind long passes.
    let lane = if streamed { &service.digest_tails } else { &service.digest_passes };
    let pass = async {
        let permit = Arc::clone(lane).acquire_owned().await.map_err(|_| HandlerError::ShuttingDown)?;
        let version = Arc::clone(version);
        let pass = move || {
            // Kept by the pass, which goes on when nobody waits for it any more.
            let _permit = permit;
            version.digest()
        };
        Ok(qfs_store::blocking(pass).await?)
    };
    while_wanted(sink, pass).await
}

/// The outcome of `work`, given up when the client wants no answer any more.
pub(super) async fn while_wanted<T, K: ByteSink>(
    sink: &mut K,
    work: impl Future<Output = Result<T, HandlerError>>,
) -> Result<T, HandlerError> {
    tokio::select! {
        biased;
        done = work => done,
        () = sink.stopped() => Err(StreamError::Stopped(StatusCode::CANCELLED).into()),
    }
}
