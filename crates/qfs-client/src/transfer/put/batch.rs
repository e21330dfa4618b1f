//! Many small files on one stream (PROTOCOL §4.6): records and bytes go out while the answers to earlier ones come in.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use qfs_core::body::Answer;
use qfs_core::model::{Digest, HashKind};
use qfs_core::observe::Event;
use qfs_core::store::{Store as _, StoreError};
use qfs_core::stream::ByteSink as _;
use qfs_core::wire::{
    MAX_SMALL_FILE_BYTES, ManyHead, Precondition, RemoteError, Request, StatusCode, UploadManyRequest, UploadRecord,
    Written, decode_response, encode,
};
use qfs_store::blocking;
use qfs_transport::Sink;
use tokio::sync::mpsc;

use super::context::Put;
use super::source::Source;
use crate::error::{AttemptError, Failure, store_failure};
use crate::session::exchange::agreed;
use crate::session::writing::{Conversation, converse};
use crate::session::{Lease, Patience, Tries};
use crate::transfer::outcome::{FileOutcome, Status};

/// Most files of one stream.
pub(super) const BATCH_FILES: usize = 128;

/// A file up to this many bytes goes with others.
pub(super) const BATCHED_BYTES: u64 = 64 << 10;

/// Files that are read in one step on a blocking thread.
const STEP_FILES: usize = 32;

/// One file of a batch.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) source: Source,
    /// What must be under its name, however it is sent.
    pub(super) condition: Precondition,
}

/// How a file of a batch ended: done, or to be tried by itself, where every way out is known.
pub(super) enum Ended {
    Done(FileOutcome),
    Alone(Item),
}

/// Uploads `items` on one stream.
pub(super) async fn upload(put: Put, items: Vec<Item>) -> Vec<Ended> {
    let begun = Instant::now();
    let session = put.session(items.first().map_or(qfs_core::observe::FileId(0), |item| item.source.id)).clone();
    let mut tries = Tries::new(&session);
    let mut ended: Vec<Option<Result<Digest, Failure>>> = Vec::new();
    ended.resize_with(items.len(), || None);
    let items = Arc::new(items);
    loop {
        match attempt(&put, &session, &tries.lease, &items, &mut ended).await {
            Ok(()) => break,
            Err(error) => {
                if let Err(failure) = tries.after(error).await {
                    ended.iter_mut().filter(|slot| slot.is_none()).for_each(|slot| *slot = Some(Err(failure.clone())));
                    break;
                }
            }
        }
    }
    let finish = |(item, ended): (&Item, Option<Result<Digest, Failure>>)| match ended {
        Some(Ok(digest)) => {
            let size = item.source.meta.size;
            Ended::Done(put.conclude(&item.source, Status::Uploaded, Some(digest), size, begun))
        }
        // Whatever is there decides, or what has changed here meanwhile.
        Some(Err(Failure::Refused(RemoteError { code: StatusCode::EXISTS, .. }) | Failure::Changed)) | None => {
            Ended::Alone(item.clone())
        }
        Some(Err(failure)) => Ended::Done(put.conclude(&item.source, Status::Failed(failure), None, 0, begun)),
    };
    items.iter().zip(ended).map(finish).collect()
}

/// Sends those that have not ended, and takes the answers.
async fn attempt(
    put: &Put,
    session: &crate::session::Session,
    lease: &Lease,
    items: &Arc<Vec<Item>>,
    ended: &mut [Option<Result<Digest, Failure>>],
) -> Result<(), AttemptError> {
    let left: Vec<usize> = (0..items.len()).filter(|index| ended[*index].is_none()).collect();
    if left.is_empty() {
        return Ok(());
    }
    let request = Request::UploadMany(UploadManyRequest { durable: put.config.durable, hash: session.hash() });
    let Conversation { sink, mut answer } = converse(session, lease, &request).await?;
    // Only behind it is known what digests the server takes.
    let head: ManyHead = decode_response(&answer.next_frame().await?)??;
    let hash = agreed(session, head.hash)?;
    let (told, sent) = mpsc::channel(items.len());
    let sending = send(put, sink, items, left, hash, told);
    let receiving = receive(put, session, items, &mut answer, sent, ended);
    // Why the server gave up is in its answer; a stream that it stopped says less. What is still to be sent then is of no use, and it may
    // take none of it.
    let ((), sent) = tokio::try_join!(receiving, async { Ok(sending.await) })?;
    sent
}

/// What was sent, in order: which item, and its digest or why it was not sent.
type Sent = (usize, Result<Digest, Failure>);

async fn send(
    put: &Put,
    mut sink: Sink,
    items: &Arc<Vec<Item>>,
    left: Vec<usize>,
    hash: HashKind,
    told: mpsc::Sender<Sent>,
) -> Result<(), AttemptError> {
    let perms = put.config.perms;
    for step in left.chunks(STEP_FILES) {
        let (items, step) = (Arc::clone(items), step.to_vec());
        let read =
            blocking(move || Ok(step.into_iter().map(|i| (i, read(&items[i], perms, hash))).collect::<Vec<_>>()))
                .await?;
        for (index, file) in read {
            match file {
                Ok((digest, bytes)) => {
                    // There is room for all, and the receiver outlives the sender.
                    let _ = told.try_send((index, Ok(digest)));
                    sink.send(bytes).await?;
                }
                Err(failure) => drop(told.try_send((index, Err(failure)))),
            }
        }
    }
    sink.finish();
    Ok(())
}

/// The record and the bytes of one file.
fn read(item: &Item, perms: bool, hash: HashKind) -> Result<(Digest, Bytes), Failure> {
    let failed = |error: StoreError| store_failure(&error);
    let limit = MAX_SMALL_FILE_BYTES as usize;
    let (object, content) = item.source.tree.store().open(&item.source.local, limit).map_err(failed)?;
    let meta = object.meta();
    object.ensure_unchanged().map_err(|_| Failure::SourceChanged)?;
    if content.len() as u64 != meta.size {
        return Err(Failure::SourceChanged);
    }
    let digest = Digest::of_kind(hash, &content);
    let record = UploadRecord {
        filename: item.source.remote.as_str().to_owned(),
        size: meta.size,
        modified: meta.modified,
        executable: perms.then_some(meta.executable),
        condition: item.condition.clone(),
        digest,
    };
    let frame = encode(&record).map_err(|error| Failure::Local(error.to_string()))?;
    let mut bytes = BytesMut::with_capacity(frame.len() + content.len());
    bytes.extend_from_slice(&frame);
    bytes.extend_from_slice(&content);
    Ok((digest, bytes.freeze()))
}

async fn receive(
    put: &Put,
    session: &crate::session::Session,
    items: &[Item],
    answer: &mut Answer<Patience>,
    mut sent: mpsc::Receiver<Sent>,
    ended: &mut [Option<Result<Digest, Failure>>],
) -> Result<(), AttemptError> {
    while let Some((index, result)) = sent.recv().await {
        let digest = match result {
            Ok(digest) => digest,
            Err(failure) => {
                ended[index] = Some(Err(failure));
                continue;
            }
        };
        let source = &items[index].source;
        let size = source.meta.size;
        let written = decode_response::<Written>(&answer.next_frame().await?)?;
        session.note_progress();
        ended[index] = Some(match written {
            Ok(_) => {
                let name = &source.remote;
                put.observer.event(Event::Started { file: source.id, name, size, resumed_from: 0 });
                put.observer.event(Event::Received { file: source.id, bytes: size });
                Ok(digest)
            }
            Err(refusal) => Err(AttemptError::from(refusal).into_failure()),
        });
    }
    Ok(())
}
