//! `download_many` (PROTOCOL §4.3): a record and a body for each name, in order.
//!
//! Files are opened, read, hashed and encoded many at a time, in one step on a blocking thread: what a file costs beside its own
//! system calls is a few hundred bytes of text. The next step runs while one is sent.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use qfs_core::body::{Reservation, Share, blocking};
use qfs_core::model::RemotePath;
use qfs_core::store::{BLOCK_BYTES, Store, StoreError, Versions};
use qfs_core::stream::ByteSink;
use qfs_core::wire::{
    DownloadManyRequest, EncodeError, FileRecord, MAX_SMALL_FILE_BYTES, ManyHead, RemoteError, StatusCode, encode,
    put_record, put_refusal,
};

use crate::error::HandlerError;
use crate::server::Shared;

/// A step ends when it has so many bytes. The file that fills it may be as large again.
const STEP_BYTES: usize = BLOCK_BYTES as usize;

/// A step ends behind so many files, however small: it must not keep a thread, nor the client waiting, for long.
const STEP_FILES: usize = 256;

/// What a step may need, in bytes: two blocks, which is also what a share may always hold.
const STEP_ROOM_BYTES: usize = STEP_BYTES + MAX_SMALL_FILE_BYTES as usize;

/// Room made at first for each answer, in bytes.
const USUAL_ANSWER_BYTES: usize = 5 << 10;

/// Answers `request` on `sink`, up to and including the end of the stream. What it reads is taken out of `share`.
pub(crate) async fn download_many<S: Store, K: ByteSink>(
    shared: &Shared<S>,
    share: &Share,
    sink: &mut K,
    request: DownloadManyRequest,
) -> Result<(), HandlerError> {
    if request.priority != 0 {
        sink.set_priority(request.priority);
    }
    let names: Arc<[String]> = request.files.into();
    let mut head = Some(encode(&ManyHead { code: StatusCode::OK })?);
    let mut next = 0;
    let mut ahead = None;
    while next < names.len() {
        let step = match ahead.take() {
            Some(step) => step,
            // Waits for room only while it holds nothing itself.
            None => begin(shared, &names, next, share.reserve(STEP_ROOM_BYTES).await),
        };
        let done = step.await.map_err(|e| StoreError::Io(std::io::Error::other(e)))??;
        next = done.next;
        if next < names.len() {
            ahead = share.try_reserve(STEP_ROOM_BYTES).map(|room| begin(shared, &names, next, room));
        }
        if let Some(head) = head.take() {
            sink.send(head).await?;
        }
        sink.send(done.bytes).await?;
    }
    sink.finish();
    Ok(())
}

/// What a step made.
struct Done {
    /// Records and bodies.
    bytes: Bytes,
    /// The name after the last one answered.
    next: usize,
}

type Step = tokio::task::JoinHandle<Result<Done, HandlerError>>;

fn begin<S: Store>(shared: &Shared<S>, names: &Arc<[String]>, from: usize, room: Reservation) -> Step {
    let (versions, names, turn) = (Arc::clone(&shared.versions), Arc::clone(names), Arc::clone(&shared.batch_steps));
    tokio::spawn(async move {
        let _turn = turn.acquire_owned().await.map_err(|_| HandlerError::ShuttingDown)?;
        Ok(blocking(move || step(&versions, &names, from, room)).await?)
    })
}

/// Answers names from number `from` on, until the step is full. Blocks.
fn step<S: Store>(
    versions: &Versions<S>,
    names: &[String],
    from: usize,
    mut room: Reservation,
) -> Result<Done, StoreError> {
    let mut out = BytesMut::with_capacity(STEP_BYTES.min((names.len() - from) * USUAL_ANSWER_BYTES));
    let mut next = from;
    while next < names.len() && next - from < STEP_FILES && out.len() < STEP_BYTES {
        answer(versions, &names[next], &mut out).map_err(|e| StoreError::Io(std::io::Error::other(e)))?;
        next += 1;
    }
    room.shrink(out.capacity());
    Ok(Done { bytes: room.attach(out.freeze()), next })
}

/// Appends the record of `name` and its body to `out`, or why there is none.
fn answer<S: Store>(versions: &Versions<S>, name: &str, out: &mut BytesMut) -> Result<(), EncodeError> {
    let read = RemotePath::parse(name)
        .map_err(|_| HandlerError::NotFound)
        .and_then(|path| Ok(versions.read_whole(&path, MAX_SMALL_FILE_BYTES)?));
    match read {
        Ok(Some(whole)) => {
            let size = whole.content.len() as u64;
            put_record(
                out,
                &FileRecord { code: StatusCode::OK, size, modified: whole.modified, sha256: whole.sha256 },
            )?;
            out.put_slice(&whole.content);
            Ok(())
        }
        Ok(None) => put_refusal(out, &RemoteError::new(StatusCode::USE_DOWNLOAD, "the file is not small")),
        Err(error) => {
            // Nobody gives a stream up in here, so every error has a head.
            let internal = || RemoteError::new(StatusCode::INTERNAL, "internal error");
            put_refusal(out, &error.head().unwrap_or_else(internal))
        }
    }
}
