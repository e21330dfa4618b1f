//! `chunk_map` and `download_ranges` (PROTOCOL §4.8): what a version consists of, and those parts of it that a client lacks.

use bytes::Bytes;
use qfs_core::body::{self, Opened, Share};
use qfs_core::model::{ByteRange, ETag, HashKind, RemotePath};
use qfs_core::store::Store;
use qfs_core::stream::ByteSink;
use qfs_core::wire::{ChunkMapHead, ChunkMapRequest, DownloadRangesRequest, StatusCode, encode};

use super::download::{digest, head, trailer, while_wanted};
use crate::deliveries::Counting;
use crate::error::HandlerError;
use crate::service::Service;
use crate::view::View;

/// Bytes of a map that are handed over at once. They are no copies.
const PIECE_BYTES: usize = 64 << 10;

/// Answers `request` on `sink` with the map of what `view` shows, up to and including the end of the stream.
pub(crate) async fn chunk_map<S: Store, K: ByteSink>(
    service: &Service<S>,
    view: &View<S>,
    share: &Share,
    sink: &mut K,
    request: ChunkMapRequest,
) -> Result<(), HandlerError> {
    let opened =
        open(view, share, sink, &request.filename, request.priority, (request.if_match.as_ref(), HashKind::Sha256))
            .await?;
    let version = opened.version;
    // A client that has gone leaves the pass to the next who waits for it, and ends it when there is none.
    let mut map: Bytes = while_wanted(sink, service.maps.of(&version)).await?;
    let (meta, length) = (version.meta(), map.len() as u64);
    let head = ChunkMapHead { code: StatusCode::OK, size: meta.size, etag: meta.etag.clone(), length };
    sink.send(encode(&head)?).await?;
    while !map.is_empty() {
        let piece = map.split_to(PIECE_BYTES.min(map.len()));
        sink.send(piece).await?;
    }
    sink.finish();
    Ok(())
}

/// Answers `request` on `sink` with parts of what `view` shows, up to and including the end of the stream. What it reads is taken out
/// of `share`, and what was handed out of the file is added to `count`.
pub(crate) async fn download_ranges<S: Store, K: ByteSink>(
    service: &Service<S>,
    view: &View<S>,
    share: &Share,
    sink: &mut K,
    request: DownloadRangesRequest,
    count: &mut u64,
) -> Result<(), HandlerError> {
    let wanted = (Some(&request.if_match), request.hash);
    let opened = open(view, share, sink, &request.filename, request.priority, wanted).await?;
    let (version, known) = (&opened.version, opened.digest());
    let meta = version.meta();
    let envelope = request.ranges.envelope();
    let envelope = ByteRange { start: envelope.start, end: Some(envelope.end) };
    let envelope = envelope.within(meta.size).map_err(|_| HandlerError::BadRange)?;
    sink.send(encode(&head(meta, &envelope, (known, request.hash), qfs_core::model::Holes::default()))?).await?;
    let mut counting = Counting::new(sink, count);
    body::send_around(&mut counting, version, envelope, &request.ranges.gaps(), share, None).await?;
    let digest = digest(service, sink, version, false).await?;
    sink.send(trailer(digest)?).await?;
    sink.finish();
    Ok(())
}

/// Opens `name` if it is the version that is wanted, for a digest of `kind`.
async fn open<S: Store, K: ByteSink>(
    view: &View<S>,
    share: &Share,
    sink: &mut K,
    name: &str,
    priority: i32,
    (wanted, kind): (Option<&ETag>, HashKind),
) -> Result<Opened, HandlerError> {
    if priority != 0 {
        sink.set_priority(priority);
    }
    let path = RemotePath::parse(name).map_err(|_| HandlerError::NotFound)?;
    // What is kept of a small file is a block of the version.
    let (opened, _room) = view.open_within(share, path, kind).await?;
    match wanted {
        Some(wanted) if *wanted != opened.version.meta().etag => Err(HandlerError::Changed),
        _ => Ok(opened),
    }
}
