//! `upload_many` (PROTOCOL §4.6): small files on one stream, a record and its bytes each, and an answer for each in order.
//!
//! Files are verified and committed many at a time, in one step on a blocking thread, while the next ones arrive.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use qfs_core::body::ReceiveError;
use qfs_core::body::{Answer, Share};
use qfs_core::framing::FrameError;
use qfs_core::model::{Digest, RemotePath};
use qfs_core::store::{CommitSpec, StoreError, WriteStore};
use qfs_core::stream::{ByteSink, ChunkSource};
use qfs_core::wire::{
    MAX_MANY_FILES, ManyHead, StatusCode, UploadManyRequest, UploadRecord, decode_upload_record, encode, put_refusal,
};
use tokio::sync::OwnedSemaphorePermit;

use super::upload::{condition, written};
use crate::error::HandlerError;
use crate::gate::audit::Answered;
use crate::intake::step;
use crate::service::Service;
use crate::view::View;

/// Files of one step.
const STEP_FILES: usize = 64;

/// A step begins when so many bytes have come; the file that fills it may be as large again.
const STEP_BYTES: usize = 256 << 10;

/// What the steps of one stream hold in memory: one that is being written and one that arrives.
const HELD_BYTES: usize = 4 * STEP_BYTES;

/// A file that has arrived.
struct Arrived {
    record: UploadRecord,
    content: Bytes,
}

/// What became of the files of an `upload_many`, for the audit trail.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) names: Vec<String>,
    pub(crate) answered: Vec<Answered>,
}

/// Takes the files that follow in `rest` and answers on `sink` for each, up to and including the end of the stream.
#[expect(clippy::too_many_arguments, reason = "what every handler has, and where its files and its account go")]
pub(crate) async fn upload_many<S: WriteStore, K: ByteSink, C: ChunkSource>(
    service: &Service<S>,
    view: &View<S>,
    share: &Share,
    sink: &mut K,
    request: UploadManyRequest,
    stall: Duration,
    mut rest: Answer<C>,
    ledger: &mut Ledger,
) -> Result<(), HandlerError> {
    let _held = share.reserve(HELD_BYTES).await;
    sink.send(encode(&ManyHead { code: StatusCode::OK, hash: request.hash })?).await?;
    let mut taken = 0;
    let (mut files, mut ended) = gather(&mut rest, stall, &mut taken).await?;
    while !files.is_empty() {
        let bytes = files.iter().map(|file| file.content.len() as u64).sum();
        let space = step(view, |view| view.space()).await?;
        let promise = service.room.promise(bytes, 0, space);
        let turn = std::sync::Arc::clone(&service.batch_steps).acquire_owned();
        let turn = turn.await.map_err(|_| HandlerError::ShuttingDown)?;
        let names: Vec<_> = files.iter().map(|file| file.record.filename.clone()).collect();
        let durable = request.durable;
        let full = promise.as_ref().err().is_some();
        let working = step(view, move |view| write(view, files, durable, full, turn));
        // The next files come in while these are written.
        let (done, next) = if ended {
            (working.await, Ok((Vec::new(), true)))
        } else {
            tokio::join!(working, gather(&mut rest, stall, &mut taken))
        };
        let (answers, answered) = done?;
        drop(promise);
        ledger.names.extend(names);
        ledger.answered.extend(answered);
        sink.send(answers).await?;
        (files, ended) = next?;
    }
    sink.finish();
    Ok(())
}

/// Files for one step; true when no more follow.
async fn gather<C: ChunkSource>(
    rest: &mut Answer<C>,
    stall: Duration,
    taken: &mut usize,
) -> Result<(Vec<Arrived>, bool), HandlerError> {
    let (mut files, mut bytes) = (Vec::new(), 0);
    while files.len() < STEP_FILES && bytes < STEP_BYTES {
        let next = tokio::time::timeout(stall, next_file(rest)).await.map_err(|_| HandlerError::RequestTimeout)?;
        let Some(file) = next? else { return Ok((files, true)) };
        *taken += 1;
        if *taken > MAX_MANY_FILES {
            return Err(HandlerError::BadRequest("more files than one upload_many may have"));
        }
        bytes += file.content.len();
        files.push(file);
    }
    Ok((files, false))
}

async fn next_file<C: ChunkSource>(rest: &mut Answer<C>) -> Result<Option<Arrived>, HandlerError> {
    let payload = match rest.next_frame().await {
        Err(ReceiveError::Frame(FrameError::End)) => return Ok(None),
        payload => payload?,
    };
    let record = decode_upload_record(&payload)?;
    // Checked to be small when it was decoded.
    let content = rest.next_bytes(record.size as usize).await?;
    Ok(Some(Arrived { record, content }))
}

/// Verifies and commits `files`; returns the frames of their answers.
fn write<S: WriteStore>(
    view: &View<S>,
    files: Vec<Arrived>,
    durable: bool,
    full: bool,
    _turn: OwnedSemaphorePermit,
) -> Result<(Bytes, Vec<Answered>), HandlerError> {
    let (mut answers, mut answered) = (BytesMut::with_capacity(files.len() * 256), Vec::with_capacity(files.len()));
    let results = if full {
        files.iter().map(|_| Err(HandlerError::NoSpace("the server's disk is too full for it"))).collect()
    } else {
        write_all(view, &files, durable)
    };
    for (file, result) in files.iter().zip(results) {
        match result {
            Ok(frame) => {
                answers.extend_from_slice(&frame);
                answered.push(Answered { bytes: file.record.size, code: StatusCode::OK });
            }
            Err(error) => {
                let head = error.head().unwrap_or_else(|| HandlerError::Busy.into_head());
                answered.push(Answered { bytes: 0, code: head.code });
                put_refusal(&mut answers, &head)?;
            }
        }
    }
    if durable {
        view.sync_directories()?;
    }
    Ok((answers.freeze(), answered))
}

/// Threads for one step, where each file costs round trips.
const WRITERS: usize = 32;

/// Writes `files`, several at once where that suits the store; what became of each, in order.
fn write_all<S: WriteStore>(view: &View<S>, files: &[Arrived], durable: bool) -> Vec<Result<Bytes, HandlerError>> {
    let writers = view.openings_at_once().min(WRITERS).min(files.len());
    if writers <= 1 {
        return files.iter().map(|file| write_one(view, file, durable)).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(index) else { return done };
            done.push((index, write_one(view, file, durable)));
        }
    };
    let mut done: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..writers).map(|_| scope.spawn(work)).collect();
        writers.into_iter().filter_map(|writer| writer.join().ok()).flatten().collect()
    });
    done.sort_by_key(|(index, _)| *index);
    let mut done = done.into_iter().peekable();
    // What a thread that panicked has taken is not written, as far as anybody knows.
    let lost = || Err(StoreError::Io(std::io::Error::other("a thread that writes failed")).into());
    (0..files.len()).map(|at| done.next_if(|(index, _)| *index == at).map_or_else(lost, |(_, result)| result)).collect()
}

fn write_one<S: WriteStore>(view: &View<S>, file: &Arrived, durable: bool) -> Result<Bytes, HandlerError> {
    let record = &file.record;
    let path = RemotePath::parse(&record.filename).map_err(|_| HandlerError::NotFound)?;
    if Digest::of_kind(record.digest.kind(), &file.content) != record.digest {
        return Err(HandlerError::DigestMismatch);
    }
    let spec = CommitSpec {
        modified: record.modified,
        executable: record.executable,
        condition: condition(&record.condition)?,
        durable,
    };
    let meta = view.put(&path, std::slice::from_ref(&file.content), &spec, record.digest)?;
    Ok(encode(&written(&meta, Some(record.digest)))?)
}
