//! One file: announced, sent from where the server has it, and again what is missing when the connection is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use qfs_core::body::{self, SendError, Share};
use qfs_core::model::{Digest, ETag, Holes, RemotePath};
use qfs_core::observe::Event;
use qfs_core::store::{StoreError, Version};
use qfs_core::stream::ByteSink;
use qfs_core::wire::{
    DownloadHead, DownloadRequest, MAX_UPLOAD_HOLES, MIN_HOLE_BYTES, Precondition, RemoteError, Request,
    SetMetadataRequest, StatusCode, UploadRequest, Written,
};
use qfs_store::blocking;

use super::changed::{self, Base};
use super::context::{Present, Put, Replace};
use super::source::Source;
use crate::error::{AttemptError, Failure, store_failure};
use crate::session::writing::Counted;
use crate::session::{Lease, Session, Tries, writing};
use crate::transfer::outcome::{FileOutcome, Status};
use crate::transfer::{look, probe};

/// Uploads `source`, of which the server has `present` under its name, as far as that is known.
pub(super) async fn upload(put: Put, source: Source, present: Option<Present>) -> FileOutcome {
    let begun = Instant::now();
    let sent = AtomicU64::new(0);
    let session = put.session(source.id);
    let mut upload = Upload::new(&put, session, &source, &sent);
    let (status, digest) = match upload.run(present).await {
        Ok(ended) => ended,
        Err(failure) => (Status::Failed(failure), None),
    };
    let reused = upload.reused;
    FileOutcome { reused, ..put.conclude(&source, status, digest, sent.into_inner(), begun) }
}

/// Uploads `source` under this condition and no other: what is there, `present`, was looked at before.
pub(super) async fn upload_planned(
    put: Put,
    source: Source,
    condition: Precondition,
    present: Option<Present>,
) -> FileOutcome {
    let begun = Instant::now();
    let sent = AtomicU64::new(0);
    let session = put.session(source.id);
    let mut upload = Upload::new(&put, session, &source, &sent);
    let (status, digest) = match upload.run_planned(condition, present).await {
        Ok(ended) => ended,
        Err(failure) => (Status::Failed(failure), None),
    };
    let reused = upload.reused;
    FileOutcome { reused, ..put.conclude(&source, status, digest, sent.into_inner(), begun) }
}

struct Upload<'a> {
    put: &'a Put,
    session: &'a Session,
    source: &'a Source,
    sent: &'a AtomicU64,
    /// How far any attempt has come, in bytes of the file: only what goes beyond is progress.
    furthest: u64,
    resumed: bool,
    /// Bytes that the server has copied from what it had.
    reused: u64,
    /// Whether all of it is sent.
    is_whole: bool,
}

/// Looks at what is there, and attempts that follow from it, before somebody else is let win.
const MAX_ROUNDS: usize = 4;

type Ending = (Status, Option<Digest>);

impl<'a> Upload<'a> {
    fn new(put: &'a Put, session: &'a Session, source: &'a Source, sent: &'a AtomicU64) -> Self {
        Self { put, session, source, sent, furthest: 0, resumed: false, reused: 0, is_whole: put.config.whole }
    }

    async fn run(&mut self, present: Option<Present>) -> Result<Ending, Failure> {
        let mut present = present;
        let mut unseen = false;
        for _ in 0..MAX_ROUNDS {
            if let Some(present) = &present
                && let Some(ended) = self.settled(present).await?
            {
                self.align(present).await?;
                return Ok(ended);
            }
            let condition = if unseen { Precondition::ANY } else { self.put.condition(present.as_ref())? };
            match self.send_over(present.as_ref(), condition).await {
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
                        _ if now.is_none() && self.is_directory_there().await => return Err(Failure::DirectoryThere),
                        Replace::Never => return Err(Failure::Exists),
                        Replace::Seen => return Err(Failure::TargetChanged),
                        // What is in the way cannot be read: a link, which may be replaced, or a directory, which may not.
                        Replace::Any => (unseen, present) = (now.is_none(), now),
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::InTheWay)
    }

    /// Whether a directory has the name. Who may only write is not told.
    async fn is_directory_there(&self) -> bool {
        look::is_directory(self.session, &self.source.remote).await.unwrap_or(false)
    }

    async fn run_planned(&mut self, condition: Precondition, present: Option<Present>) -> Result<Ending, Failure> {
        match self.send_over(present.as_ref(), condition).await {
            Ok(digest) => Ok((if self.resumed { Status::Resumed } else { Status::Uploaded }, Some(digest))),
            // The answer to an earlier attempt may have been lost.
            Err(Failure::Refused(RemoteError { code: StatusCode::EXISTS, .. }) | Failure::Changed) => {
                let now = self.look().await?;
                match self.is_this(now.as_ref()).await? {
                    Some(ended) => Ok(ended),
                    None if now.is_none() && self.is_directory_there().await => Err(Failure::DirectoryThere),
                    None => Err(Failure::TargetChanged),
                }
            }
            Err(failure) => Err(failure),
        }
    }

    /// Sends all of it but what the server can copy from `present`, which it has. Where what it puts together so is something else,
    /// because what it had, or said to have, was not that, all of it is sent, once.
    async fn send_over(&mut self, present: Option<&Present>, condition: Precondition) -> Result<Digest, Failure> {
        let base = self.compare(present).await?;
        match self.send(&condition, base.as_ref()).await {
            Err(Failure::Refused(RemoteError { code: StatusCode::DIGEST_MISMATCH, .. })) if base.is_some() => {
                (self.is_whole, self.reused, self.resumed) = (true, 0, false);
                self.send(&condition, None).await
            }
            sent => sent,
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

    /// Gives the file there, whose content is the same, the time of the one here, and lets it be executed or not as that.
    ///
    /// A server that leaves it as it is has what was asked for nevertheless, unless it refuses to let it be executed.
    async fn align(&self, present: &Present) -> Result<(), Failure> {
        let meta = &self.source.meta;
        let is_other = self.put.config.perms && present.executable.is_some_and(|there| there != meta.executable);
        let executable = is_other.then_some(meta.executable);
        let modified = (present.modified != meta.modified).then_some(meta.modified);
        if present.etag.is_none() || (executable.is_none() && modified.is_none()) {
            return Ok(());
        }
        let (filename, if_match) = (self.source.remote.as_str().to_owned(), present.etag.clone());
        let request = Request::SetMetadata(SetMetadataRequest { filename, if_match, modified, executable });
        match writing::request::<Written>(self.session, &request).await {
            Ok(_) | Err(Failure::Refused(RemoteError { code: StatusCode::UNKNOWN_COMMAND, .. })) => Ok(()),
            Err(Failure::Refused(_)) if executable.is_none() => Ok(()),
            // Done already, by an attempt whose answer was lost or by somebody with the same file; or the content is another one by now.
            Err(Failure::Changed) => match self.look().await? {
                Some(now) if now.size == meta.size && self.is_here(now.digest).await? => Ok(()),
                _ => Err(Failure::TargetChanged),
            },
            Err(failure) => Err(failure),
        }
    }

    /// What the server has now, its digest included.
    async fn look(&self) -> Result<Option<Present>, Failure> {
        present(self.session, &self.source.remote, true).await
    }

    /// Whether the digest `theirs` is known, and that of the file here.
    async fn is_here(&self, theirs: Option<Digest>) -> Result<bool, Failure> {
        let Some(theirs) = theirs else { return Ok(false) };
        let (tree, local) = (Arc::clone(&self.source.tree), self.source.local.clone());
        let digest = blocking(move || tree.open_as(&local, theirs.kind())?.digest()).await;
        Ok(digest.map_err(|error| store_failure(&error))? == theirs)
    }

    /// What the server can copy from the version that it has, where that is another one.
    async fn compare(&self, present: Option<&Present>) -> Result<Option<Base>, Failure> {
        let Some(Present { size, etag: Some(etag), .. }) = present.filter(|_| !self.is_whole) else {
            return Ok(None);
        };
        let version = Arc::new(self.open().await.map_err(|error| store_failure(&error))?);
        let name = self.source.remote.as_str();
        let base = changed::compare(&self.put.maps, self.session, name, &version, etag, *size).await?;
        self.sent.fetch_add(base.as_ref().map_or(0, |base| base.received), Ordering::Relaxed);
        Ok(base)
    }

    async fn open(&self) -> Result<Version, StoreError> {
        let (tree, local) = (Arc::clone(&self.source.tree), self.source.local.clone());
        let kind = self.session.digest_kind();
        blocking(move || tree.open_as(&local, kind)).await
    }

    /// The version, and what of it need not be sent: the largest holes.
    async fn open_with_holes(&self) -> Result<(Version, Holes), StoreError> {
        let version = self.open().await?;
        if self.put.config.dense || version.meta().size < MIN_HOLE_BYTES {
            return Ok((version, Holes::default()));
        }
        blocking(move || {
            let holes = version.holes(&(0..version.meta().size), MIN_HOLE_BYTES, MAX_UPLOAD_HOLES)?;
            Ok((version, holes))
        })
        .await
    }

    async fn send(&mut self, condition: &Precondition, base: Option<&Base>) -> Result<Digest, Failure> {
        let mut tries = Tries::new(self.session);
        loop {
            match self.attempt(&tries.lease, condition, base).await {
                Ok(digest) => return Ok(digest),
                Err(error) => tries.after(error).await?,
            }
        }
    }

    async fn attempt(
        &mut self,
        lease: &Lease,
        condition: &Precondition,
        base: Option<&Base>,
    ) -> Result<Digest, AttemptError> {
        let source = self.source;
        let (version, holes) = self.open_with_holes().await?;
        let meta = version.meta();
        let base = base.filter(|base| base.local == meta.etag);
        let request = UploadRequest {
            filename: source.remote.as_str().to_owned(),
            size: Some(meta.size),
            modified: Some(meta.modified),
            executable: self.put.config.perms.then_some(meta.executable),
            condition: condition.clone(),
            upload: Some(upload_name(&version)),
            durable: self.put.config.durable,
            base: base.map(|base| base.etag.clone()),
            holes: holes.clone(),
            ..UploadRequest::default()
        };
        let size = meta.size;
        let (mut conversation, head) = writing::upload(self.session, lease, request).await?;
        let version = Arc::new(version.of_kind(head.hash));
        self.resumed |= head.offset > 0;
        let observer = self.session.observer();
        observer.event(Event::Started { file: source.id, name: &source.remote, size, resumed_from: head.offset });
        let (sent, session, furthest) = (self.sent, self.session, &mut self.furthest);
        let mut position = head.offset;
        let counted = |bytes| {
            sent.fetch_add(bytes, Ordering::Relaxed);
            position += bytes;
            if position > *furthest {
                *furthest = position;
                session.note_progress();
            }
            observer.event(Event::Received { file: source.id, bytes });
        };
        let base = base.filter(|_| head.base);
        let mut sink = Counted { conversation: &mut conversation, sent: counted };
        let mut copied = Holes::default();
        if let Some(base) = base {
            if let Err(error) = writing::send_blocks(&mut sink, &base.copies.encode()).await {
                return Err(conversation.reason(error).await);
            }
            copied = base.copies.targets();
            self.reused = base.reused(head.offset);
            observer.event(Event::Spared { file: source.id, bytes: self.reused });
        }
        let empty = holes.clipped(&(head.offset..size)).bytes();
        if head.holes && empty > 0 {
            observer.event(Event::Spared { file: source.id, bytes: empty });
            copied = copied.joined(&holes);
        }
        match body::send_around(&mut sink, &version, head.offset..size, &copied, &Share::unlimited(), None).await {
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

/// What the server has under the name `path`, with its digest where that is asked for; None where there is nothing, or who asks may not know.
pub(super) async fn present(session: &Session, path: &RemotePath, digest: bool) -> Result<Option<Present>, Failure> {
    match ask(session, path, None, digest).await {
        Ok(present) => Ok(Some(present)),
        // Who may only write is not told.
        Err(Failure::Refused(RemoteError { code: StatusCode::NOT_FOUND | StatusCode::DENIED, .. })) => Ok(None),
        Err(failure) => Err(failure),
    }
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
    let request =
        DownloadRequest { filename: path.as_str().to_owned(), if_match: version, ..DownloadRequest::default() };
    let (head, digest) = probe::probe(session, &request, digest).await?;
    let DownloadHead { size, modified, etag, executable, .. } = head;
    Ok(Present { size, modified, etag: Some(etag), digest, executable: Some(executable) })
}
