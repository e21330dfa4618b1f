//! Takes a file in: from the content of requests into a stage, and under its name once it is whole and as it was said to be.
//!
//! The content is written by a task of its own, which is not dropped when the client goes: what has come is written down first.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED};
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use qfs_core::body::Assembly;
use qfs_core::model::{Digest, HashKind, Hasher, Holes, RemotePath};
use qfs_core::store::{CommitSpec, Condition, ObjectMeta, StageSpec, StoreError, WriteStore};
use qfs_core::stream::Chunk;
use qfs_store::{blocking, blocking_threads};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::ask::{Ask, RequestBody};
use super::condition::{self, Validators};
use super::error::HttpError;
use super::fields::{self, CONTENT_DIGEST, REPR_DIGEST, UPLOAD_LIMIT};
use super::reply::{self, Answer};
use crate::error::HandlerError;
use crate::gate::rights::Right;
use crate::intake::{FLUSH_BYTES, Growing, HELD_BYTES, Intake, private_key, step};
use crate::room::Promise;
use crate::uploads::{Held, State, settle};
use crate::view::View;

/// A file as a request would have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) path: RemotePath,
    /// What has to be there before.
    pub(super) condition: Condition,
    /// What it has to be.
    pub(super) sha256: Option<Digest>,
    /// Its time; None: when it is whole.
    pub(super) modified: Option<Timestamp>,
}

impl Wanted {
    /// What the headers of `ask` say of the file `path`, and whether there is one.
    ///
    /// # Errors
    /// [`HandlerError::Forbidden`]; [`HttpError::Precondition`]; what the headers have that cannot be done.
    pub(super) async fn of<S: WriteStore>(
        ask: &Ask<'_, S>,
        view: &View<S>,
        path: &RemotePath,
    ) -> Result<(Self, bool), HttpError> {
        // Whoever does not know such a field would put a part of a file in the place of the whole (RFC 9110 §14.5).
        if ask.headers.contains_key(CONTENT_RANGE) {
            return Err(HttpError::Malformed("a part of a file is not taken; uploads are continued as HTTP.md says"));
        }
        if ask.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(HttpError::Kind("content is taken as it is, without a coding"));
        }
        let asked = path.clone();
        let current = step(view, move |view| view.current(Right::Write, &asked)).await?;
        let condition = condition::of_change(ask.headers, current.as_ref()).ok_or(HttpError::Precondition)?;
        let modified = ask.headers.get(LAST_MODIFIED).and_then(|date| date.to_str().ok());
        let modified = modified.and_then(|date| httpdate::parse_http_date(date).ok());
        let wanted = Self {
            path: path.clone(),
            condition,
            sha256: sha256(ask, &REPR_DIGEST)?,
            modified: modified.and_then(|date| Timestamp::try_from(date).ok()),
        };
        Ok((wanted, current.is_some()))
    }
}

/// The SHA-256 that a field of the request has.
pub(super) fn sha256<S>(ask: &Ask<'_, S>, name: &http::HeaderName) -> Result<Option<Digest>, HttpError> {
    fields::sha256(ask.headers, name).map_err(|()| HttpError::Malformed("this is no digest"))
}

/// What is taken at most, as a client is told.
pub(super) fn limit<S>(ask: &Ask<'_, S>) -> HeaderValue {
    let most = ask.service.room.max_upload().map(|most| HeaderValue::try_from(format!("max-size={most}")));
    most.and_then(Result::ok).unwrap_or(HeaderValue::from_static("min-size=0"))
}

/// Refuses a file of `size` bytes that is larger than any may be, and says so.
pub(super) fn ensure_taken<S, R: Answer>(ask: &Ask<'_, S>, size: Option<u64>, reply: &mut R) -> Result<(), HttpError> {
    match size.map(|size| ask.service.room.ensure_taken(size)) {
        Some(Err(_)) => {
            reply.also(UPLOAD_LIMIT, limit(ask));
            Err(HttpError::TooLarge)
        }
        _ => Ok(()),
    }
}

/// What it means in HTTP that a change under `condition` failed.
pub(super) fn refused(error: HandlerError, condition: &Condition) -> HttpError {
    match error {
        HandlerError::Exists if *condition == Condition::Any => HttpError::Taken,
        HandlerError::Exists | HandlerError::Changed => HttpError::Precondition,
        other => other.into(),
    }
}

/// `PUT` of a whole file, of `size` bytes where the request says so.
pub(super) async fn put<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    path: &RemotePath,
    size: Option<u64>,
    body: impl RequestBody,
    reply: &mut R,
) -> Result<(), HttpError> {
    let (wanted, existed) = Wanted::of(ask, view, path).await?;
    ensure_taken(ask, size, reply)?;
    let digest = sha256(ask, &CONTENT_DIGEST)?;
    let _held = ask.client.share.reserve(HELD_BYTES).await;
    let spec = StageSpec { size, etag: private_key() };
    let begun = Intake::begin(ask.service, view, path, &wanted.condition, (spec, &Holes::default()), false).await;
    let intake = begun.map_err(|error| refused(error, &wanted.condition))?;
    let (intake, sha256) = match size {
        Some(size) => {
            let assembly = assemble(&intake, size).await?;
            let job = Job { intake, assembly, size, held: None };
            let part = Part { start: 0, most: size, exact: Some(size), digest };
            let job = job.receive(body, part, ask.service.deadlines().stall).await?;
            let sha256 = job.assembly.digest().ok_or(HttpError::Inconsistent)?;
            (job.intake, sha256)
        }
        None => unsized_body(ask, view, body, intake, digest).await?,
    };
    let meta = commit(view, intake, wanted, sha256).await?;
    tell(&meta, sha256, existed, reply).await
}

/// The assembly of what `intake` has staged; what a former request brought is read back.
pub(super) async fn assemble(intake: &Intake, size: u64) -> Result<Arc<Assembly>, HttpError> {
    let stage = Arc::clone(&intake.stage);
    Ok(Arc::new(blocking(move || Assembly::new(stage, size, blocking_threads())).await?))
}

/// Puts what has come in the place of the file.
///
/// # Errors
/// [`HandlerError::DigestMismatch`]; [`HttpError::Precondition`]; what committing failed with.
pub(super) async fn commit<S: WriteStore>(
    view: &View<S>,
    intake: Intake,
    wanted: Wanted,
    sha256: Digest,
) -> Result<ObjectMeta, HttpError> {
    if wanted.sha256.is_some_and(|wanted| wanted != sha256) {
        return Err(intake.fail(HandlerError::DigestMismatch).await.into());
    }
    let condition = wanted.condition.clone();
    let modified = wanted.modified.unwrap_or_else(Timestamp::now);
    let spec = CommitSpec { modified, executable: None, condition: wanted.condition, durable: false };
    intake.commit(view, spec, sha256).await.map_err(|error| refused(error, &condition))
}

/// Says what became of a file.
pub(super) async fn tell<R: Answer>(
    meta: &ObjectMeta,
    sha256: Digest,
    existed: bool,
    reply: &mut R,
) -> Result<(), HttpError> {
    let validators = Validators::of(meta);
    let mut head = reply::head(if existed { StatusCode::NO_CONTENT } else { StatusCode::CREATED });
    if !existed {
        head = head.header(CONTENT_LENGTH, 0);
    }
    let head = head
        .header(ETAG, validators.etag)
        .header(LAST_MODIFIED, validators.last_modified)
        .header(REPR_DIGEST, fields::digest(&sha256));
    Ok(reply.begin(head).await?)
}

/// Content whose length nobody knows, in order.
async fn unsized_body<S: WriteStore>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    mut body: impl RequestBody,
    mut intake: Intake,
    digest: Option<Digest>,
) -> Result<(Intake, Digest), HttpError> {
    let mut growing = Growing::new(&intake, HashKind::default());
    let mut never = pin!(std::future::pending());
    // The stage is private: dropped, it is gone.
    loop {
        let (blocks, ended) = gather(&mut body, ask.service.deadlines().stall, &mut never).await;
        growing = growing.take(ask.service, view, &mut intake.promise, blocks).await?;
        match ended {
            Some(Ok(())) => break,
            Some(Err(error)) => return Err(error),
            None => {}
        }
    }
    let sha256 = growing.finish();
    if digest.is_some_and(|digest| digest != sha256) {
        return Err(HandlerError::DigestMismatch.into());
    }
    Ok((intake, sha256))
}

/// What the content of a request is of a file.
pub(super) struct Part {
    /// Where in the file it begins.
    pub(super) start: u64,
    /// Bytes that it may have.
    pub(super) most: u64,
    /// Bytes that it has, where that is known.
    pub(super) exact: Option<u64>,
    /// What it has to be.
    pub(super) digest: Option<Digest>,
}

/// A file of known length on its way.
pub(super) struct Job {
    pub(super) intake: Intake,
    pub(super) assembly: Arc<Assembly>,
    pub(super) size: u64,
    /// Of an upload in several requests.
    pub(super) held: Option<Held>,
}

impl Job {
    /// Takes `part` from `body`. Where it breaks off, what has come is kept for whoever continues it, or removed.
    ///
    /// # Errors
    /// What it broke off with.
    pub(super) async fn receive(
        mut self,
        body: impl RequestBody,
        part: Part,
        patience: Duration,
    ) -> Result<Self, HttpError> {
        // Dropped together with whoever waits for this, by which the task hears of it.
        let (_alive, dropped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let start = part.start;
            let poured = {
                let mut stop = pin!(async {
                    match &mut self.held {
                        Some(held) => tokio::select! { _ = dropped => {}, () = held.is_wanted() => {} },
                        None => drop(dropped.await),
                    }
                });
                pour(body, &self.assembly, &mut self.intake.promise, part, patience, &mut stop).await
            };
            self.end(start, poured).await
        });
        task.await.map_err(|error| StoreError::Io(std::io::Error::other(error)))?
    }

    /// Writes down what has come since `start`, or takes it back where it is wrong.
    async fn end(mut self, start: u64, poured: Result<(), HttpError>) -> Result<Self, HttpError> {
        if !self.intake.keep {
            return match poured {
                Ok(()) => Ok(self),
                Err(error) => {
                    self.intake.fail(HandlerError::Busy).await;
                    Err(error)
                }
            };
        }
        let is_wrong = matches!(poured, Err(HttpError::Handler(HandlerError::DigestMismatch)));
        let (assembly, size) = (Arc::clone(&self.assembly), self.size);
        let recorded = if is_wrong {
            // What is open goes on hashing what is there; opened anew it begins where the record says.
            if let Some(held) = &mut self.held {
                *held.state = State::Closed;
            }
            blocking(move || assembly.stage().record_frontier(start)).await
        } else {
            blocking(move || settle(&assembly, size)).await
        };
        recorded?;
        poured.map(|()| self)
    }
}

/// Writes content as it comes, one batch while the next is gathered, until it ends or `stop` resolves.
async fn pour(
    mut body: impl RequestBody,
    assembly: &Arc<Assembly>,
    promise: &mut Promise,
    part: Part,
    patience: Duration,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> Result<(), HttpError> {
    let mut position = part.start;
    let mut writing: Option<JoinHandle<Result<Option<Hasher>, StoreError>>> = None;
    let mut hasher = part.digest.map(|_| Hasher::new());
    let ended = loop {
        let (blocks, ended) = gather(&mut body, patience, stop).await;
        if let Some(writing) = writing.take() {
            hasher = written(writing).await?;
        }
        let mut pieces = Vec::with_capacity(blocks.len());
        for bytes in blocks {
            let (offset, length) = (position, bytes.len() as u64);
            position += length;
            if position - part.start > part.most {
                return Err(HttpError::Inconsistent);
            }
            promise.arrived(length);
            pieces.push(Chunk { offset, bytes });
        }
        let (assembly, mut hashed) = (Arc::clone(assembly), hasher.take());
        writing = Some(tokio::task::spawn_blocking(move || {
            if let Some(hasher) = &mut hashed {
                pieces.iter().for_each(|piece| hasher.update(&piece.bytes));
            }
            assembly.write(pieces)?;
            Ok(hashed)
        }));
        if let Some(ended) = ended {
            break ended;
        }
    };
    if let Some(writing) = writing {
        hasher = written(writing).await?;
    }
    ended?;
    // It ended in good order, and its client waits to hear what is wrong.
    if part.exact.is_some_and(|exact| position - part.start != exact) {
        return Err(HttpError::Inconsistent);
    }
    if hasher.map(Hasher::finish) != part.digest {
        return Err(HandlerError::DigestMismatch.into());
    }
    Ok(())
}

async fn written(writing: JoinHandle<Result<Option<Hasher>, StoreError>>) -> Result<Option<Hasher>, HttpError> {
    let done = writing.await.map_err(|error| StoreError::Io(std::io::Error::other(error)))?;
    done.map_err(|error| match error {
        StoreError::NoSpace { .. } => HandlerError::NoSpace("the server's disk is full").into(),
        other => other.into(),
    })
}

/// Content for one write, and how it ended, where it has.
async fn gather(
    body: &mut impl RequestBody,
    patience: Duration,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> (Vec<Bytes>, Option<Result<(), HttpError>>) {
    let (mut blocks, mut length) = (Vec::new(), 0);
    while length < FLUSH_BYTES {
        let next = tokio::select! {
            biased;
            () = &mut *stop => return (blocks, Some(Err(HttpError::gone()))),
            next = timeout(patience, body.chunk()) => next,
        };
        match next {
            Ok(Some(Ok(bytes))) => {
                length += bytes.len();
                if !bytes.is_empty() {
                    blocks.push(bytes);
                }
            }
            Ok(None) => return (blocks, Some(Ok(()))),
            Ok(Some(Err(()))) => return (blocks, Some(Err(HttpError::gone()))),
            Err(_) => return (blocks, Some(Err(HandlerError::RequestTimeout.into()))),
        }
    }
    (blocks, None)
}
