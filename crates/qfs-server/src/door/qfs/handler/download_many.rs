//! `download_many` (PROTOCOL §4.3): a record and a body for each name, in order.
//!
//! Files are opened, read, hashed and encoded many at a time, in one step on a blocking thread: what a file costs beside its own
//! system calls is a few hundred bytes of text. The next step runs while one is sent.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use qfs_core::body::{Reservation, Share};
use qfs_core::model::{HashKind, RemotePath};
use qfs_core::store::{BLOCK_BYTES, Store, StoreError, Whole};
use qfs_core::stream::ByteSink;
use qfs_core::wire::{
    DownloadManyRequest, EncodeError, FileRecord, MAX_SMALL_FILE_BYTES, ManyHead, RemoteError, StatusCode, encode,
    put_record, put_refusal,
};
use qfs_store::blocking;
use tokio::sync::Semaphore;

use crate::error::HandlerError;
use crate::gate::audit::Answered;
use crate::service::Service;
use crate::view::View;

/// A step ends when it has so many bytes. The file that fills it may be as large again.
const STEP_BYTES: usize = BLOCK_BYTES as usize;

/// A step ends behind so many files, however small: it must not keep a thread, nor the client waiting, for long.
const STEP_FILES: usize = 256;

/// What a step may need, in bytes: two blocks, which is also what a share may always hold.
const STEP_ROOM_BYTES: usize = STEP_BYTES + MAX_SMALL_FILE_BYTES as usize;

/// Room made at first for each answer, in bytes.
const USUAL_ANSWER_BYTES: usize = 5 << 10;

/// Answers `request` on `sink` with what `view` shows, up to and including the end of the stream. What it reads is taken out of
/// `share`; what was sent is added to `answered`, in the order of the names.
pub(crate) async fn download_many<S: Store, K: ByteSink>(
    service: &Service<S>,
    view: &View<S>,
    share: &Share,
    sink: &mut K,
    request: DownloadManyRequest,
    answered: &mut Vec<Answered>,
) -> Result<(), HandlerError> {
    if request.priority != 0 {
        sink.set_priority(request.priority);
    }
    let names: Arc<[String]> = request.files.into();
    let hash = request.hash;
    let begin = |from, room, left| {
        begin(Arc::clone(&service.batch_steps), view.clone(), Arc::clone(&names), hash, Start { from, room, left })
    };
    let mut head = Some(encode(&ManyHead { code: StatusCode::OK, hash })?);
    let mut ahead = None;
    while answered.len() < names.len() {
        let step = match ahead.take() {
            Some(step) => step,
            // Waits for room only while it holds nothing itself.
            None => begin(answered.len(), share.reserve(STEP_ROOM_BYTES).await, None),
        };
        let done = step.await.map_err(|e| StoreError::Io(std::io::Error::other(e)))??;
        let next = answered.len() + done.answered.len();
        if next < names.len() {
            // What is left is dropped, and read once more, where there is no room for it: nobody waits with it in his hands.
            ahead = share.try_reserve(STEP_ROOM_BYTES).map(|room| begin(next, room, Left::keep(done.left, share)));
        }
        if let Some(head) = head.take() {
            sink.send(head).await?;
        }
        sink.send(done.bytes).await?;
        answered.extend(done.answered);
    }
    sink.finish();
    Ok(())
}

/// What a step made.
struct Done {
    /// Records and bodies.
    bytes: Bytes,
    answered: Vec<Answered>,
    /// What was read for the names behind them.
    left: Reads,
}

type Read = Result<Option<Whole>, HandlerError>;
type Reads = VecDeque<Read>;

/// What a step has read beyond its own bytes, with the room for it. A store that is far away reads many files at once, and none twice.
struct Left {
    reads: Reads,
    _room: Vec<Reservation>,
}

impl Left {
    /// Keeps as many as there is room for, from the first on.
    fn keep(mut reads: Reads, share: &Share) -> Option<Self> {
        let (mut room, mut free, mut kept) = (Vec::new(), 0, 0);
        for read in &reads {
            let bytes = read.iter().flatten().map(|whole| whole.content.len()).sum::<usize>();
            if bytes > free {
                let Some(more) = share.try_reserve(STEP_ROOM_BYTES) else { break };
                room.push(more);
                free += STEP_ROOM_BYTES;
            }
            free -= bytes;
            kept += 1;
        }
        reads.truncate(kept);
        (kept > 0).then_some(Self { reads, _room: room })
    }
}

/// Where a step begins, and with what.
struct Start {
    from: usize,
    room: Reservation,
    left: Option<Left>,
}

type Step = tokio::task::JoinHandle<Result<Done, HandlerError>>;

fn begin<S: Store>(turns: Arc<Semaphore>, view: View<S>, names: Arc<[String]>, hash: HashKind, start: Start) -> Step {
    tokio::spawn(async move {
        let _turn = turns.acquire_owned().await.map_err(|_| HandlerError::ShuttingDown)?;
        Ok(blocking(move || Ok(step(&view, &names, hash, start))).await??)
    })
}

/// Answers names from the start on, until the step is full. Blocks.
fn step<S: Store>(view: &View<S>, names: &[String], hash: HashKind, start: Start) -> Result<Done, EncodeError> {
    let Start { from, mut room, left } = start;
    let mut names = names[from..].iter();
    let mut out = BytesMut::with_capacity(STEP_BYTES.min(names.len() * USUAL_ANSWER_BYTES));
    let mut answered = Vec::with_capacity(names.len().min(STEP_FILES));
    let (mut left, _room) = left.map_or_else(Default::default, |left| (left.reads, left._room));
    // These are read already.
    names.by_ref().take(left.len()).for_each(drop);
    while out.len() < STEP_BYTES && answered.len() < STEP_FILES {
        if left.is_empty() {
            let group = names.by_ref().take(view.openings_at_once()).map(|name| RemotePath::parse(name).ok());
            left = read_group(view, &group.collect::<Vec<_>>(), hash);
        }
        let Some(read) = left.pop_front() else { break };
        answered.push(answer(read, &mut out)?);
    }
    room.shrink(out.capacity());
    Ok(Done { bytes: room.attach(out.freeze()), answered, left })
}

/// Reads files at once; None is no name. Blocks.
fn read_group<S: Store>(view: &View<S>, group: &[Option<RemotePath>], hash: HashKind) -> Reads {
    let paths: Vec<_> = group.iter().flatten().collect();
    let mut read = view.read_all_whole(&paths, MAX_SMALL_FILE_BYTES, hash).into_iter();
    let of = |path: &Option<RemotePath>| {
        let read = if path.is_some() { read.next() } else { None };
        read.map_or(Err(HandlerError::NotFound), |read| Ok(read?))
    };
    group.iter().map(of).collect()
}

/// Appends the record of a file and its body to `out`, or why there is none.
fn answer(read: Read, out: &mut BytesMut) -> Result<Answered, EncodeError> {
    let refusal = match read {
        Ok(Some(whole)) => {
            let size = whole.content.len() as u64;
            put_record(
                out,
                &FileRecord {
                    code: StatusCode::OK,
                    size,
                    modified: whole.modified,
                    digest: whole.digest,
                    executable: whole.executable,
                },
            )?;
            out.put_slice(&whole.content);
            return Ok(Answered { bytes: size, code: StatusCode::OK });
        }
        Ok(None) => RemoteError::new(StatusCode::USE_DOWNLOAD, "the file is not small"),
        // Nobody gives a stream up in here, so every error has a head.
        Err(error) => error.head().unwrap_or_else(|| RemoteError::new(StatusCode::INTERNAL, "internal error")),
    };
    put_refusal(out, &refusal)?;
    Ok(Answered { bytes: 0, code: refusal.code })
}
