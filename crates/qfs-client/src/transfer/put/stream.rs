//! One file whose bytes are in memory or come from elsewhere than a file of this machine.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use qfs_core::model::{Hasher, RemotePath};
use qfs_core::observe::{Event, FileId, Observer};
use qfs_core::wire::{Precondition, RemoteError, StatusCode, UploadHead, UploadRequest, Written};
use tokio::sync::mpsc;

use super::context::{Present, PutConfig, Replace};
use super::upload::{digest_on_server, present};
use crate::error::{AttemptError, Failure};
use crate::session::writing::{self, Conversation};
use crate::session::{Lease, Session, Stay, Staying, Tries};
use crate::transfer::look;
use crate::transfer::outcome::{FileOutcome, Status};

/// The only file of a run.
const FILE: FileId = FileId(0);

/// Uploads what `blocks` brings, until the channel is closed, as the file `remote`. It cannot be continued when the connection is
/// lost: what was read is gone. An error among the blocks ends the upload, and nothing appears on the server.
///
/// # Errors
/// [`Failure`]; [`Failure::Exists`] when a file is there that may not be replaced, which is known before a block is taken.
pub async fn put_stream(
    session: &Session,
    remote: &RemotePath,
    mut blocks: mpsc::Receiver<std::io::Result<Bytes>>,
    config: PutConfig,
    observer: Arc<dyn Observer>,
) -> Result<FileOutcome, Failure> {
    let begun = Instant::now();
    let mut tries = Tries::new(session);
    let request = match config.replace {
        Replace::Seen => UploadRequest { condition: seen(session, remote).await?, ..request(remote, config) },
        Replace::Never | Replace::Any => request(remote, config),
    };
    let agreed = loop {
        match agree(session, &tries.lease, request.clone(), Stay::ToTheEnd).await {
            Ok(agreed) => break Ok(agreed),
            Err(error) => match tries.after(error).await.map_err(|failure| exists(failure, config)) {
                Ok(()) => {}
                Err(failure) => break Err(failure),
            },
        }
    };
    let (conversation, head, _staying) = match agreed {
        Ok(agreed) => agreed,
        // Perhaps it is this very content.
        Err(Failure::Exists) => return is_there(session, remote, &mut blocks, begun, &*observer).await,
        Err(failure) => return Err(failure),
    };
    let sending = send(session, remote, conversation, &head, &mut blocks, false, &*observer);
    let written = sending.await.map_err(|error| exists(error.into_failure(), config))?;
    Ok(conclude(remote, &written, begun, &*observer))
}

/// That nothing but the version which is there now may be replaced.
async fn seen(session: &Session, remote: &RemotePath) -> Result<Precondition, Failure> {
    match present(session, remote, false).await? {
        Some(Present { etag: Some(etag), .. }) => Ok(Precondition::matches(etag)),
        _ => Ok(Precondition::ABSENT),
    }
}

/// How an upload ends where a file is that may not be replaced: as one that changes nothing, if that has the content which `blocks` bring.
async fn is_there(
    session: &Session,
    remote: &RemotePath,
    blocks: &mut mpsc::Receiver<std::io::Result<Bytes>>,
    begun: Instant,
    observer: &dyn Observer,
) -> Result<FileOutcome, Failure> {
    let Some(Present { size, digest: Some(theirs), .. }) = present(session, remote, true).await? else {
        let is_directory = look::is_directory(session, remote).await.unwrap_or(false);
        return Err(if is_directory { Failure::DirectoryThere } else { Failure::Exists });
    };
    let (mut hasher, mut taken) = (Hasher::of_kind(theirs.kind()), 0);
    while let Some(block) = blocks.recv().await {
        let block = block.map_err(|error| Failure::Local(error.to_string()))?;
        hasher.update(&block);
        taken += block.len() as u64;
        if taken > size {
            return Err(Failure::Exists);
        }
    }
    if hasher.finish() != theirs {
        return Err(Failure::Exists);
    }
    observer.event(Event::Unchanged { file: FILE });
    Ok(FileOutcome {
        name: remote.as_str().to_owned(),
        size: Some(size),
        digest: Some(theirs),
        status: Status::Unchanged,
        received: 0,
        reused: 0,
        elapsed: begun.elapsed(),
    })
}

/// Uploads `content` as the file `remote`, from its beginning when the connection is lost.
///
/// # Errors
/// [`Failure`]; [`Failure::Exists`] when a file is there that may not be replaced.
pub async fn put_bytes(
    session: &Session,
    remote: &RemotePath,
    content: Bytes,
    config: PutConfig,
    observer: Arc<dyn Observer>,
) -> Result<FileOutcome, Failure> {
    let begun = Instant::now();
    let mut tries = Tries::new(session);
    let mut is_again = false;
    loop {
        let attempt = async {
            let request = request(remote, config);
            let (conversation, head, _staying) = agree(session, &tries.lease, request, Stay::WhileItWorks).await?;
            let (whole, mut blocks) = mpsc::channel(1);
            // There is room for one.
            let _ = whole.try_send(Ok(content.clone()));
            drop(whole);
            send(session, remote, conversation, &head, &mut blocks, is_again, &*observer).await
        };
        let error = match attempt.await {
            Ok(written) => return Ok(conclude(remote, &written, begun, &*observer)),
            Err(error) => error,
        };
        let is_there = matches!(&error, AttemptError::Remote(error) if error.code == StatusCode::EXISTS);
        if is_there
            && is_again
            && let Some(outcome) = landed(session, remote, &content, begun).await?
        {
            return Ok(outcome);
        }
        is_again |= matches!(error, AttemptError::Lost(_));
        tries.after(error).await.map_err(|failure| exists(failure, config))?;
    }
}

/// How an upload ended whose answer was lost, if what is on the server now is `content`.
async fn landed(
    session: &Session,
    remote: &RemotePath,
    content: &Bytes,
    begun: Instant,
) -> Result<Option<FileOutcome>, Failure> {
    let Some(there) = digest_on_server(session, remote, None).await? else { return Ok(None) };
    let mut hasher = Hasher::of_kind(there.kind());
    hasher.update(content);
    let size = content.len() as u64;
    Ok((hasher.finish() == there).then(|| FileOutcome {
        name: remote.as_str().to_owned(),
        size: Some(size),
        digest: Some(there),
        status: Status::Uploaded,
        received: size,
        reused: 0,
        elapsed: begun.elapsed(),
    }))
}

fn request(remote: &RemotePath, config: PutConfig) -> UploadRequest {
    let condition = match config.replace {
        Replace::Any => Precondition::ANY,
        Replace::Never | Replace::Seen => Precondition::ABSENT,
    };
    let (filename, durable) = (remote.as_str().to_owned(), config.durable);
    UploadRequest { filename, condition, durable, ..UploadRequest::default() }
}

/// Announces the upload; from the server's agreement on it stays on its connection.
async fn agree(
    session: &Session,
    lease: &Lease,
    request: UploadRequest,
    stay: Stay,
) -> Result<(Conversation, UploadHead, Staying), AttemptError> {
    let (conversation, head) = writing::upload(session, lease, request).await?;
    Ok((conversation, head, session.stay(lease, stay)?))
}

/// Sends what `blocks` brings and hears what has become of it. What `is_again` sent is no progress.
async fn send(
    session: &Session,
    remote: &RemotePath,
    mut conversation: Conversation,
    head: &UploadHead,
    blocks: &mut mpsc::Receiver<std::io::Result<Bytes>>,
    is_again: bool,
    observer: &dyn Observer,
) -> Result<Written, AttemptError> {
    let mut hasher = Hasher::of_kind(head.hash);
    observer.event(Event::Started { file: FILE, name: remote, size: 0, resumed_from: 0 });
    while let Some(block) = blocks.recv().await {
        let block = block.map_err(|error| AttemptError::Final(Failure::Local(error.to_string())))?;
        hasher.update(&block);
        for part in frames(&block) {
            if let Err(error) = conversation.send(part).await {
                return Err(conversation.reason(error).await);
            }
        }
        if !is_again {
            session.note_progress();
        }
        observer.event(Event::Received { file: FILE, bytes: block.len() as u64 });
    }
    let end = Bytes::from_static(&[0; 4]);
    if let Err(error) = conversation.send(end).await {
        return Err(conversation.reason(error).await);
    }
    conversation.conclude(hasher.finish()).await
}

fn conclude(remote: &RemotePath, written: &Written, begun: Instant, observer: &dyn Observer) -> FileOutcome {
    let digest = written.digest;
    observer.event(digest.map_or(Event::Unchanged { file: FILE }, |digest| Event::Committed { file: FILE, digest }));
    FileOutcome {
        name: remote.as_str().to_owned(),
        size: Some(written.size),
        digest,
        status: Status::Uploaded,
        received: written.size,
        reused: 0,
        elapsed: begun.elapsed(),
    }
}

fn exists(failure: Failure, config: PutConfig) -> Failure {
    match failure {
        Failure::Refused(RemoteError { code: StatusCode::EXISTS, .. }) | Failure::Changed
            if config.replace == Replace::Seen =>
        {
            Failure::TargetChanged
        }
        Failure::Refused(RemoteError { code: StatusCode::EXISTS, .. }) => Failure::Exists,
        failure => failure,
    }
}

/// `block` as the blocks of a body of unknown length (PROTOCOL §4.5.3), each its length and its bytes.
fn frames(block: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    let pieces = block.chunks(qfs_core::wire::MAX_FRAME_BYTES).map(|piece| block.slice_ref(piece));
    pieces.flat_map(|piece| [Bytes::copy_from_slice(&(piece.len() as u32).to_be_bytes()), piece])
}
