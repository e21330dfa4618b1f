//! `upload` (PROTOCOL §4.5): one file, staged as it arrives, compared with the client's digest, and committed by one rename.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use qfs_core::body::{Answer, Assembly, ReceiveError, Share, pump_into};
use qfs_core::model::{Digest, ETag, HashKind, Holes, Layout, RemotePath};
use qfs_core::store::{CommitSpec, Condition, ObjectMeta, StageSpec, Version, WriteStore};
use qfs_core::stream::{ByteSink, ChunkSource};
use qfs_core::wire::{
    Copies, Precondition, StatusCode, Trailer, UploadHead, UploadRequest, Written, decode_response, encode,
};
use qfs_store::{blocking, blocking_threads};

use super::base;
use super::download::while_wanted;
use super::stall::{Arrivals, watched};
use crate::error::HandlerError;
use crate::gate::rights::Right;
use crate::intake::{FLUSH_BYTES, Growing, HELD_BYTES, Intake, private_key, step};
use crate::service::Service;
use crate::view::View;

/// Where an upload comes from.
pub(crate) struct Origin<'a> {
    /// The id of the token that let it in: what one holder began nobody else continues.
    pub(crate) token: Option<&'a str>,
    /// Whether it may read too, and so may copy from what is there.
    pub(crate) reads: bool,
    /// How long the client may send nothing.
    pub(crate) stall: Duration,
}

/// Takes the file that `request` announces from `rest` and answers on `sink`, up to and including the end of the stream.
pub(crate) async fn upload<S: WriteStore, K: ByteSink, C: ChunkSource>(
    service: &Service<S>,
    view: &View<S>,
    share: &Share,
    sink: &mut K,
    request: UploadRequest,
    origin: Origin<'_>,
    rest: Answer<C>,
) -> Result<(), HandlerError> {
    // Where it fails, `rest` is dropped: nothing more of it is wanted, and the answer says why.
    let written = take(service, view, share, sink, request, origin, rest).await?;
    sink.send(encode(&written)?).await?;
    sink.finish();
    Ok(())
}

async fn take<S: WriteStore, K: ByteSink, C: ChunkSource>(
    service: &Service<S>,
    view: &View<S>,
    share: &Share,
    sink: &mut K,
    request: UploadRequest,
    origin: Origin<'_>,
    rest: Answer<C>,
) -> Result<Written, HandlerError> {
    let path = RemotePath::parse(&request.filename).map_err(|_| HandlerError::NotFound)?;
    let condition = condition(&request.condition)?;
    if !request.holes_fit() {
        return Err(HandlerError::BadRequest("holes that the file cannot have"));
    }
    let _held = share.reserve(HELD_BYTES).await;
    let etag = match &request.upload {
        Some(upload) => upload_key(origin.token, upload),
        None => private_key(),
    };
    let spec = StageSpec { size: request.size, etag };
    let holes = &request.holes;
    let mut intake = Intake::begin(service, view, &path, &condition, (spec, holes), request.upload.is_some()).await?;
    let base = match &request.base {
        Some(wanted) if origin.reads && request.size.is_some() => base::open(view, path.clone(), wanted).await,
        _ => None,
    };
    let taken = match request.size {
        Some(size) => {
            let shape = Shape { size, hash: request.hash, holes, base };
            sized(service, sink, rest, &mut intake, shape, origin.stall).await
        }
        None => unsized_body(service, view, sink, rest, (&mut intake, request.hash), origin.stall).await,
    };
    let digest = match taken {
        Ok(digest) => digest,
        Err(error) => {
            intake.keep &= !is_there(view, path, request.size, request.modified).await;
            return Err(intake.fail(error).await);
        }
    };
    let spec = CommitSpec {
        modified: request.modified.unwrap_or_else(Timestamp::now),
        executable: request.executable,
        condition,
        durable: request.durable,
    };
    Ok(written(&intake.commit(view, spec, digest).await?, Some(digest)))
}

/// Whether `path` is what an upload of so many bytes and this time would have made of it. A client that was killed comes anew before its
/// first connection is known to be dead, and brings all of it another way: nobody continues what the first one left.
async fn is_there<S: WriteStore>(
    view: &View<S>,
    path: RemotePath,
    size: Option<u64>,
    modified: Option<Timestamp>,
) -> bool {
    let current = step(view, move |view| view.current(Right::Write, &path)).await;
    let Ok(Some(meta)) = current else { return false };
    Some(meta.size) == size && Some(meta.modified) == modified
}

/// What became of a file, as clients are told.
pub(super) fn written(meta: &ObjectMeta, digest: Option<Digest>) -> Written {
    Written { code: StatusCode::OK, size: meta.size, modified: meta.modified, etag: meta.etag.clone(), digest }
}

/// What the store checks for a client's precondition.
pub(super) fn condition(wanted: &Precondition) -> Result<Condition, HandlerError> {
    match (&wanted.if_match, wanted.overwrite) {
        (Some(_), true) => Err(HandlerError::BadRequest("if_match and overwrite contradict each other")),
        (Some(version), false) => Ok(Condition::Matches(version.clone())),
        (None, true) => Ok(Condition::Any),
        (None, false) => Ok(Condition::Absent),
    }
}

/// What a file is made of.
struct Shape<'a> {
    size: u64,
    /// What its digest is made with.
    hash: HashKind,
    /// What of it is zeros, and does not come.
    holes: &'a Holes,
    /// The version that parts are copied from.
    base: Option<Arc<Version>>,
}

/// Slowest hashing of a client that is waited for, in bytes a second: what clients allow the server (PROTOCOL §4.2).
const SLOWEST_HASHING: u64 = 32 << 20;

/// Most that a client is given to hash zeros.
const LONGEST_HASHING: Duration = Duration::from_secs(3600);

/// Bytes of holes that are hashed at once, a tenth of a second or less: a client that goes away meanwhile is noticed behind them.
const HOLE_STEP_BYTES: u64 = 64 << 20;

/// A body whose length is known, in any order, behind what a former attempt brought.
async fn sized<S, K: ByteSink, C: ChunkSource>(
    service: &Service<S>,
    sink: &mut K,
    mut rest: Answer<C>,
    intake: &mut Intake,
    shape: Shape<'_>,
    stall: Duration,
) -> Result<Digest, HandlerError> {
    let Shape { size, hash, holes, base } = shape;
    let (opened, promise) = (Arc::clone(&intake.stage), &mut intake.promise);
    // Reads back and hashes what is there: it is not believed.
    let assembly = blocking(move || Assembly::of_kind(hash, opened, size, blocking_threads())).await?;
    let assembly = Arc::new(assembly);
    let offset = assembly.frontier();
    let head = UploadHead { code: StatusCode::OK, offset, hash, base: base.is_some(), holes: !holes.is_empty() };
    sink.send(encode(&head)?).await?;
    let copies = match &base {
        Some(base) => Some(base::read_copies(&mut rest, size, base.meta().size, stall).await?),
        None => None,
    };
    let copied = copies.as_ref().map_or_else(Holes::default, Copies::targets);
    let layout = Layout::new(&(offset..size), &copied.joined(holes));
    if !holes.is_empty() {
        let (filled, holes) = (Arc::clone(&assembly), holes.clone());
        blocking(move || filled.write_holes(&holes)).await?;
    }
    let arrivals = Arrivals::default();
    // Behind the last byte the client may have to hash its zeros.
    let stall = stall.saturating_add(Duration::from_secs(holes.bytes() / SLOWEST_HASHING).min(LONGEST_HASHING));
    let mut body = rest.into_body(layout.length());
    let receiving = async {
        let pumped = pump_into(&mut body, &assembly, &layout, FLUSH_BYTES, |bytes| {
            arrivals.note();
            promise.arrived(bytes);
        });
        let pumped = watched(pumped, &arrivals, stall).await;
        pumped.ok_or(HandlerError::RequestTimeout)?.map_err(HandlerError::from)
    };
    let copying = async {
        match (&base, &copies) {
            (Some(base), Some(copies)) => base::copy(base, copies, &assembly).await.map_err(HandlerError::from),
            _ => Ok(()),
        }
    };
    // Whichever fails ends the other: what it is still writing is nothing that anybody goes by.
    let pumped = tokio::try_join!(receiving, copying);
    let trailer = pumped.and_then(|_| body.into_trailer().map_err(HandlerError::from));
    let trailer = match trailer {
        Ok(trailer) => trailer,
        Err(error) => {
            let recorded = Arc::clone(&assembly);
            blocking(move || recorded.record()).await?;
            return Err(error);
        }
    };
    if !holes.is_empty() {
        while_wanted(sink, hash_holes(service, &assembly)).await?;
    }
    agreed(&trailer, assembly.digest().ok_or(HandlerError::DigestMismatch)?)
}

/// Hashes what of holes is left. Nobody sent a byte for them, so no more of that is done at once than digests are made for readers.
async fn hash_holes<S>(service: &Service<S>, assembly: &Arc<Assembly>) -> Result<(), HandlerError> {
    loop {
        let _permit = service.digest_passes.acquire().await.map_err(|_| HandlerError::ShuttingDown)?;
        let hashing = Arc::clone(assembly);
        if blocking(move || hashing.finish_some(HOLE_STEP_BYTES)).await? {
            return Ok(());
        }
    }
}

/// Compares with the client's trailer.
fn agreed(trailer: &[u8], digest: Digest) -> Result<Digest, HandlerError> {
    let trailer: Trailer = decode_response(trailer)?.map_err(|_| HandlerError::BadRequest("the client gave up"))?;
    if trailer.digest == digest { Ok(digest) } else { Err(HandlerError::DigestMismatch) }
}

/// A body whose length nobody knows, in blocks and in order.
async fn unsized_body<S: WriteStore, K: ByteSink, C: ChunkSource>(
    service: &Service<S>,
    view: &View<S>,
    sink: &mut K,
    mut rest: Answer<C>,
    (intake, hash): (&mut Intake, HashKind),
    stall: Duration,
) -> Result<Digest, HandlerError> {
    sink.send(encode(&UploadHead { code: StatusCode::OK, offset: 0, hash, base: false, holes: false })?).await?;
    let mut growing = Growing::new(intake, hash);
    loop {
        let (blocks, ended) =
            tokio::time::timeout(stall, gather(&mut rest)).await.map_err(|_| HandlerError::RequestTimeout)??;
        growing = growing.take(service, view, &mut intake.promise, blocks).await?;
        if ended {
            break;
        }
    }
    let trailer = tokio::time::timeout(stall, rest.next_frame()).await.map_err(|_| HandlerError::RequestTimeout)??;
    agreed(&trailer, growing.finish())
}

/// Blocks for one write; true with the last ones.
async fn gather<C: ChunkSource>(rest: &mut Answer<C>) -> Result<(Vec<Bytes>, bool), ReceiveError> {
    let (mut blocks, mut length) = (Vec::new(), 0);
    while length < FLUSH_BYTES {
        match rest.next_block().await? {
            Some(block) => {
                length += block.len();
                blocks.push(block);
            }
            None => return Ok((blocks, true)),
        }
    }
    Ok((blocks, false))
}

/// Names the stage of an upload that may be continued, by whoever began it.
fn upload_key(token: Option<&str>, upload: &ETag) -> ETag {
    Digest::of(format!("upload\n{}\n{upload}", token.unwrap_or_default()).as_bytes()).into()
}
