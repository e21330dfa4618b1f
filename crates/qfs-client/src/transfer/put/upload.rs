//! One file: announced, sent from where the server has it, and again what is missing when the connection is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use qfs_core::body::{self, SendError};
use qfs_core::model::{ByteRange, Digest, ETag, RemotePath};
use qfs_core::observe::Event;
use qfs_core::store::{StoreError, Version};
use qfs_core::stream::ByteSink;
use qfs_core::wire::{DownloadHead, DownloadRequest, Precondition, RemoteError, StatusCode, UploadRequest};
use qfs_store::blocking;

use super::context::{Present, Put, Replace};
use super::source::Source;
use crate::error::{AttemptError, Failure, store_failure};
use crate::session::writing::Counted;
use crate::session::{Lease, Session, Tries, exchange, writing};
use crate::transfer::outcome::{FileOutcome, Status};

/// Uploads `source`, of which the server has `present` under its name, as far as that is known.
pub(super) async fn upload(put: Put, source: Source, present: Option<Present>) -> FileOutcome {
    let begun = Instant::now();
    let sent = AtomicU64::new(0);
    let session = put.session(source.id);
    let mut upload = Upload { put: &put, session, source: &source, sent: &sent, resumed: false };
    let (status, digest) = match upload.run(present).await {
        Ok(ended) => ended,
        Err(failure) => (Status::Failed(failure), None),
    };
    put.conclude(&source, status, digest, sent.into_inner(), begun)
}

/// Uploads `source` under this condition and no other: what is there was looked at before.
pub(super) async fn upload_planned(put: Put, source: Source, condition: Precondition) -> FileOutcome {
    let begun = Instant::now();
    let sent = AtomicU64::new(0);
    let session = put.session(source.id);
    let mut upload = Upload { put: &put, session, source: &source, sent: &sent, resumed: false };
    let (status, digest) = match upload.run_planned(condition).await {
        Ok(ended) => ended,
        Err(failure) => (Status::Failed(failure), None),
    };
    put.conclude(&source, status, digest, sent.into_inner(), begun)
}

struct Upload<'a> {
    put: &'a Put,
    session: &'a Session,
    source: &'a Source,
    sent: &'a AtomicU64,
    resumed: bool,
}

/// Looks at what is there, and attempts that follow from it, before somebody else is let win.
const MAX_ROUNDS: usize = 4;

type Ending = (Status, Option<Digest>);

impl Upload<'_> {
    async fn run(&mut self, present: Option<Present>) -> Result<Ending, Failure> {
        let mut present = present;
        let mut unseen = false;
        for _ in 0..MAX_ROUNDS {
            if let Some(present) = &present
                && let Some(ended) = self.settled(present).await?
            {
                return Ok(ended);
            }
            let condition = if unseen { Precondition::ANY } else { self.put.condition(present.as_ref())? };
            match self.send_whole(condition).await {
                Ok(digest) => {
                    let status = if self.resumed { Status::Resumed } else { Status::Uploaded };
                    return Ok((status, Some(digest)));
                }
                // Somebody was quicker, perhaps with this very file: an earlier attempt whose answer was lost, above all.
                Err(Failure::Refused(RemoteError { code: StatusCode::EXISTS, .. }) | Failure::Changed) => {
                    let now = self.look().await?;
                    if let Some(ended) = self.is_this(now.as_ref()).await? {
                        return Ok(ended);
                    }
                    match self.put.config.replace {
                        Replace::Never => return Err(Failure::Exists),
                        Replace::Seen => return Err(Failure::Changed),
                        // What is in the way cannot be read: a link, which may be replaced, or a directory, which may not.
                        Replace::Any => (unseen, present) = (now.is_none(), now),
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::InTheWay)
    }

    async fn run_planned(&mut self, condition: Precondition) -> Result<Ending, Failure> {
        match self.send_whole(condition).await {
            Ok(digest) => Ok((if self.resumed { Status::Resumed } else { Status::Uploaded }, Some(digest))),
            // The answer to an earlier attempt may have been lost.
            Err(Failure::Refused(RemoteError { code: StatusCode::EXISTS, .. }) | Failure::Changed) => {
                let now = self.look().await?;
                self.is_this(now.as_ref()).await?.ok_or(Failure::TargetChanged)
            }
            Err(failure) => Err(failure),
        }
    }

    /// How it ends when what is on the server `now` is this very file.
    async fn is_this(&self, now: Option<&Present>) -> Result<Option<Ending>, Failure> {
        let Some(now) = now.filter(|now| now.size == self.source.meta.size) else { return Ok(None) };
        if !self.is_here(now.digest).await? {
            return Ok(None);
        }
        let status = if self.sent.load(Ordering::Relaxed) > 0 { Status::Uploaded } else { Status::Unchanged };
        Ok(Some((status, now.digest)))
    }

    /// How it ends without anything being sent: what is there is the same.
    async fn settled(&self, present: &Present) -> Result<Option<Ending>, Failure> {
        let meta = &self.source.meta;
        if present.size != meta.size {
            return Ok(None);
        }
        if present.modified == meta.modified && !self.put.config.checksum {
            return Ok(Some((Status::Unchanged, present.digest)));
        }
        let theirs = match present.digest {
            Some(known) => Some(known),
            None => self.look().await?.and_then(|now| now.digest),
        };
        Ok(self.is_here(theirs).await?.then_some((Status::Unchanged, theirs)))
    }

    /// What the server has now, its digest included.
    async fn look(&self) -> Result<Option<Present>, Failure> {
        match probe(self.session, self.source, true).await {
            Ok(present) => Ok(Some(present)),
            // Who may only write is not told.
            Err(Failure::Refused(RemoteError { code: StatusCode::NOT_FOUND | StatusCode::DENIED, .. })) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Whether the digest `theirs` is known, and that of the file here.
    async fn is_here(&self, theirs: Option<Digest>) -> Result<bool, Failure> {
        let Some(theirs) = theirs else { return Ok(false) };
        let (tree, local) = (Arc::clone(&self.source.tree), self.source.local.clone());
        let digest = blocking(move || tree.open_as(&local, theirs.kind())?.digest()).await;
        Ok(digest.map_err(|error| store_failure(&error))? == theirs)
    }

    async fn send_whole(&mut self, condition: Precondition) -> Result<Digest, Failure> {
        let mut tries = Tries::new(self.session);
        loop {
            match self.attempt(&tries.lease, &condition).await {
                Ok(digest) => return Ok(digest),
                Err(error) => tries.after(error).await?,
            }
        }
    }

    async fn attempt(&mut self, lease: &Lease, condition: &Precondition) -> Result<Digest, AttemptError> {
        let source = self.source;
        let (tree, local) = (Arc::clone(&source.tree), source.local.clone());
        let kind = self.session.digest_kind();
        let version = blocking(move || tree.open_as(&local, kind)).await?;
        let meta = version.meta();
        let request = UploadRequest {
            filename: source.remote.as_str().to_owned(),
            size: Some(meta.size),
            modified: Some(meta.modified),
            executable: self.put.config.perms.then_some(meta.executable),
            condition: condition.clone(),
            upload: Some(upload_name(&version)),
            durable: self.put.config.durable,
            ..UploadRequest::default()
        };
        let size = meta.size;
        let (mut conversation, head) = writing::upload(self.session, lease, request).await?;
        let version = Arc::new(version.of_kind(head.hash));
        self.resumed |= head.offset > 0;
        let observer = self.session.observer();
        observer.event(Event::Started { file: source.id, name: &source.remote, size, resumed_from: head.offset });
        let (sent, session) = (self.sent, self.session);
        let counted = |bytes| {
            sent.fetch_add(bytes, Ordering::Relaxed);
            session.note_progress();
            observer.event(Event::Received { file: source.id, bytes });
        };
        let mut sink = Counted { sink: &mut conversation.sink, sent: counted };
        match body::send(&mut sink, &version, head.offset..size).await {
            Ok(()) => {}
            Err(SendError::Stream(error)) => return Err(conversation.reason(error).await),
            Err(SendError::Store(StoreError::Changed)) => {
                conversation.sink.reset(StatusCode::CHANGED);
                return Err(AttemptError::Final(Failure::SourceChanged));
            }
            Err(SendError::Store(error)) => return Err(error.into()),
            Err(other) => return Err(AttemptError::Protocol(other.to_string())),
        }
        let digest = match blocking(move || version.digest()).await {
            Err(StoreError::Changed) => return Err(AttemptError::Final(Failure::SourceChanged)),
            digest => digest?,
        };
        conversation.conclude(digest).await?;
        Ok(digest)
    }
}

/// Names the upload of this version across connections and runs.
fn upload_name(version: &Version) -> ETag {
    let meta = version.meta();
    Digest::of(format!("{}\n{}\n{}", meta.size, meta.modified, meta.etag).as_bytes()).into()
}

/// What the server has under the name of `source`; with `digest`, also that of a file which it has not hashed yet.
pub(super) async fn probe(session: &Session, source: &Source, digest: bool) -> Result<Present, Failure> {
    ask(session, &source.remote, None, digest).await
}

/// The digest of `path` on the server, if it is still the version named; None when it is not, or nothing is there.
pub(crate) async fn digest_on_server(
    session: &Session,
    path: &RemotePath,
    version: Option<ETag>,
) -> Result<Option<Digest>, Failure> {
    match ask(session, path, version, true).await {
        Ok(present) => Ok(present.digest),
        Err(Failure::Changed | Failure::Refused(RemoteError { code: StatusCode::NOT_FOUND, .. })) => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn ask(session: &Session, path: &RemotePath, version: Option<ETag>, digest: bool) -> Result<Present, Failure> {
    let mut tries = Tries::new(session);
    loop {
        let attempt = async {
            let request = DownloadRequest {
                filename: path.as_str().to_owned(),
                range: Some(ByteRange { start: 0, end: Some(0) }),
                if_match: version.clone(),
                ..DownloadRequest::default()
            };
            let (head, answer) = exchange::download(session, &tries.lease, request).await?;
            let DownloadHead { size, modified, etag, hash, digest: mut known, .. } = head;
            if known.is_none() && digest {
                known = Some(exchange::trailing_digest(answer, hash).await?);
            } else {
                answer.stop();
            }
            Ok::<_, AttemptError>(Present { size, modified, etag: Some(etag), digest: known })
        };
        match attempt.await {
            Ok(present) => return Ok(present),
            Err(error) => tries.after(error).await?,
        }
    }
}
