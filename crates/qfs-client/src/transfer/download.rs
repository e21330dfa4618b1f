//! One file: fetch, verify, commit, and again what is missing.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::future::join_all;
use qfs_core::body::{Answer, Assembly, BodyChunks, collect_into};
use qfs_core::model::{ByteRange, Digest, ETag, HashKind, Holes, Layout};
use qfs_core::observe::Event;
use qfs_core::store::{StageSpec, StoreError};
use qfs_core::stream::ChunkSource;
use qfs_core::wire::{DownloadHead, DownloadRequest, Trailer};
use qfs_store::{blocking, blocking_threads};

use crate::error::{AttemptError, Failure, store_failure};
use crate::plan::stripes::{MIN_STRIPE_BYTES, first_missing, stripes};
use crate::plan::{RemoteMeta, Step, next_step, on_difference};
use crate::session::{Lease, Patience, Session, Stay, Tries, exchange};
use crate::transfer::delta::{self, PlannedSeeds};
use crate::transfer::here::Here;
use crate::transfer::intake::{Counts, take_in};
use crate::transfer::job::{Context, Job};
use crate::transfer::live::{self, MAX_LIVE_RESTARTS};
use crate::transfer::outcome::{FileOutcome, Status};
use crate::transfer::partial::{Partial, keep};
use crate::transfer::probe::probe;
use crate::transfer::small::Small;

/// Fetches one file, or finds that nothing needs to be done. Nobody is told of the end yet.
pub(crate) async fn attempt(context: &Context, job: &Job) -> FileOutcome {
    let mut download = Download::new(context, job);
    let ended = download.run().await;
    download.outcome(ended)
}

/// Finds out whether one file has to be fetched, and fetches nothing: None where it has to be.
pub(crate) async fn settle(context: &Context, job: &Job) -> Option<FileOutcome> {
    let mut download = Download::new(context, job);
    let ended = download.decide().await.transpose()?;
    Some(download.outcome(ended))
}

struct Download<'a> {
    begun: Instant,
    context: &'a Context,
    /// The connection of everything that is not striped.
    session: &'a Session,
    job: &'a Job,
    size: Option<u64>,
    counts: Counts,
    /// Whether all of it is fetched: what was put together from what is here was wrong.
    is_whole: bool,
    resumed: bool,
    /// Whether the server serves the file as long as it was when it was opened: then there is no version to go on with.
    is_live: bool,
    /// Whether such a file has grown meanwhile.
    has_grown: AtomicBool,
}

type Ending = (Status, Option<Digest>);

impl<'a> Download<'a> {
    fn new(context: &'a Context, job: &'a Job) -> Self {
        let session = context.session(job);
        Self {
            begun: Instant::now(),
            context,
            session,
            job,
            size: job.remote.map(|r| r.size),
            counts: Counts::new(job.id, session.observer()),
            is_whole: false,
            resumed: false,
            is_live: false,
            has_grown: AtomicBool::new(false),
        }
    }

    fn outcome(&self, ended: Result<Ending, Failure>) -> FileOutcome {
        let (status, digest) = ended.unwrap_or_else(|failure| (Status::Failed(failure), None));
        let (name, (received, reused)) = (self.job.path.as_str().to_owned(), self.counts.totals());
        FileOutcome { name, size: self.size, digest, status, received, reused, elapsed: self.begun.elapsed() }
    }

    async fn run(&mut self) -> Result<Ending, Failure> {
        if let Some(ending) = self.decide().await? {
            return Ok(ending);
        }
        match self.fetch().await {
            // Nothing was there before: somebody was quicker, perhaps with this very file.
            Err(Failure::Exists) if !self.is_live => self.yield_to_same().await?.ok_or(Failure::Exists),
            ended => ended,
        }
    }

    /// How it ends without a fetch, from what both sides have; None where it has to be fetched.
    async fn decide(&mut self) -> Result<Option<Ending>, Failure> {
        let local = self.job.local.clone()?;
        let mut remote = self.job.remote;
        let mut step = next_step(remote, local, &self.context.config);
        let mut digest = self.job.digest;
        if step == Step::Probe {
            let (head, _) = probe(self.session, &self.request(), false).await?;
            digest = head.digest;
            self.size = Some(head.size);
            let found = RemoteMeta { size: head.size, modified: head.modified, executable: head.executable };
            step = next_step(Some(found), local, &self.context.config);
            remote = Some(found);
        }
        if step == Step::Compare {
            let (head, expected) = probe(self.session, &self.request(), true).await?;
            if self.here().becomes(local, &head, expected, &self.context.config).await? {
                return Ok(Some((Status::Unchanged, expected)));
            }
            step = on_difference(&self.context.config);
        }
        match step {
            Step::Keep => {
                let executable = remote.is_some_and(|remote| remote.executable);
                self.here().restore_bit(local, executable, &self.context.config).await?;
                Ok(Some((Status::Unchanged, digest)))
            }
            Step::Refuse => Err(Failure::Exists),
            Step::Fetch | Step::Probe | Step::Compare => Ok(None),
        }
    }

    /// Keeps what somebody else put there meanwhile if it is the same, and removes what was fetched in vain.
    async fn yield_to_same(&mut self) -> Result<Option<Ending>, Failure> {
        let (head, expected) = probe(self.session, &self.request(), true).await?;
        let is_same = self.here().becomes(None, &head, expected, &self.context.config).await?;
        if is_same {
            let (store, path) = (Arc::clone(&self.context.store), self.job.path.clone());
            let spec = StageSpec { size: Some(head.size), etag: head.etag };
            blocking(move || store.stage(&path, &spec)?.discard()).await.map_err(|e| store_failure(&e))?;
        }
        Ok(is_same.then_some((Status::Unchanged, expected)))
    }

    fn request(&self) -> DownloadRequest {
        DownloadRequest {
            filename: self.job.path.as_str().to_owned(),
            priority: self.job.priority,
            holes: !self.context.config.dense,
            ..DownloadRequest::default()
        }
    }

    fn here(&self) -> Here<'_> {
        Here { store: &self.context.store, path: &self.job.path }
    }

    /// Fetches until the file is committed or nothing helps any more.
    async fn fetch(&mut self) -> Result<Ending, Failure> {
        let mut partial = None;
        let mut tries = Tries::new(self.session);
        let mut restarts = 0;
        let digest = loop {
            let error = match self.attempt(&tries.lease, &mut partial).await {
                Ok(digest) => break digest,
                Err(error) => error,
            };
            if self.is_live && matches!(error, AttemptError::Lost(_)) {
                restarts += 1;
                if restarts > MAX_LIVE_RESTARTS {
                    return Err(error.into_failure());
                }
            }
            tries
                .after(error)
                .await
                .map_err(|failure| live::explained(failure, self.context.config.live, self.is_live))?;
        };
        self.session.note_progress();
        let status = match (self.resumed, self.has_grown.load(Ordering::Relaxed)) {
            (_, true) => Status::Live,
            (true, false) => Status::Resumed,
            (false, false) => Status::Downloaded,
        };
        Ok((status, Some(digest)))
    }

    async fn attempt(&mut self, lease: &Lease, partial: &mut Option<Partial>) -> Result<Digest, AttemptError> {
        let result = match partial.take() {
            Some(known) => self.complete(known, partial).await,
            None => match self.begin_with_what_is_here(lease, partial).await {
                Ok(None) => self.begin(lease, partial).await,
                Ok(Some(digest)) => Ok(digest),
                Err(error) => Err(error),
            },
        };
        match result {
            // What there is belongs to a version that is gone: nothing of it may be kept.
            Err(AttemptError::Remote(error)) if error.code == qfs_core::wire::StatusCode::CHANGED => {
                if let Some(stale) = partial.take() {
                    blocking(move || stale.assembly.stage().discard()).await?;
                }
                Err(AttemptError::Remote(error))
            }
            result => result,
        }
    }

    /// The first request for a version: learns its etag, and whether a part of it is here.
    async fn begin(&mut self, lease: &Lease, partial: &mut Option<Partial>) -> Result<Digest, AttemptError> {
        let request = DownloadRequest { live: self.context.config.live, ..self.request() };
        let (head, answer) = exchange::download(self.session, lease, request).await?;
        self.size = Some(head.size);
        self.is_live = head.live;
        // Elsewhere it would begin anew.
        let _staying = head.live.then(|| self.session.stay(lease, Stay::WhileItWorks)).transpose()?;
        if head.size <= self.context.flush as u64 {
            self.announce(head.size, 0);
            return self.fetch_small(&head, answer).await;
        }
        if self.is_live {
            return self.receive_live(&head, answer).await;
        }
        let assembly = self.stage(head.size, &head.etag, head.hash, head.holes.bytes()).await?;
        let here = assembly.frontier();
        self.announce(head.size, here);
        let known = Partial { etag: head.etag.clone(), assembly, rest: None };
        self.fill(&known, &head.holes).await?;
        self.resumed = here > 0;
        let striped = self.context.sessions.len() > 1 && head.size >= 2 * MIN_STRIPE_BYTES;
        if here > 0 || striped {
            answer.stop();
            return self.complete(known, partial).await;
        }
        let layout = Layout::new(&(0..head.size), &head.holes);
        let result = self.receive(self.session, answer, &known.assembly, (&head, layout)).await;
        self.settle(result, known, &head, partial).await
    }

    /// The first request for a version of which something is here, in an older version or in seeds: copies that, and asks for the rest.
    /// None where there is nothing of use.
    async fn begin_with_what_is_here(
        &mut self,
        lease: &Lease,
        partial: &mut Option<Partial>,
    ) -> Result<Option<Digest>, AttemptError> {
        let old = self.job.older().unwrap_or_default();
        let means = &self.context.delta;
        if self.is_whole || !means.are_there(&self.context.config, old) {
            return Ok(None);
        }
        let size = match self.size {
            Some(size) => size,
            None => probe(self.session, &self.request(), false).await.map_err(AttemptError::Final)?.0.size,
        };
        self.size = Some(size);
        if !means.are_worth_it(size, old) {
            return Ok(None);
        }
        let prepared = delta::prepare(self.context, self.session, lease, self.job, size).await?;
        let Some(plan) = prepared else { return Ok(None) };
        self.size = Some(plan.size);
        self.is_live = false;
        self.counts.note_received(plan.received);
        let assembly = self.stage(plan.size, &plan.etag, self.session.digest_kind(), 0).await?;
        let here = assembly.frontier();
        self.announce(plan.size, here);
        self.resumed = here > 0;
        let known = Partial { etag: plan.etag, assembly, rest: Some(Arc::new(plan.rest)) };
        self.put_together(known, Some(plan.seeds), partial).await.map(Some)
    }

    /// Copies what is here out of `seeds`, asks for what is missing, and ends a file that is put together so.
    async fn put_together(
        &mut self,
        known: Partial,
        seeds: Option<PlannedSeeds>,
        partial: &mut Option<Partial>,
    ) -> Result<Digest, AttemptError> {
        let this = &*self;
        let put_together = async {
            match delta::put_together(this.context, this.job, &known, seeds, &this.counts).await? {
                Some(end) => Ok(end),
                // All of it was here. Its digest and its time are not.
                None => {
                    let size = this.size.unwrap_or_default();
                    this.receive_stripe(this.session, &known, size..size).await
                }
            }
        };
        match put_together.await {
            Ok((head, digest)) => self.settle(Ok(digest), known, &head, partial).await,
            Err(error) => {
                keep(known, partial).await;
                Err(error)
            }
        }
    }

    /// All of a file that has no version to go on with, or nothing of it.
    async fn receive_live(&mut self, head: &DownloadHead, answer: Answer<Patience>) -> Result<Digest, AttemptError> {
        let mut assembly = self.stage(head.size, &head.etag, head.hash, 0).await?;
        if assembly.frontier() > 0 {
            // What an attempt like this one left when it was killed.
            blocking(move || assembly.stage().discard()).await?;
            assembly = self.stage(head.size, &head.etag, head.hash, 0).await?;
        }
        self.announce(head.size, 0);
        // Without holes: where there is no version, nothing may be taken for granted.
        let layout = Layout::new(&(0..head.size), &Holes::default());
        match self.receive(self.session, answer, &assembly, (head, layout)).await {
            Ok(digest) => {
                let known = Partial { etag: head.etag.clone(), assembly, rest: None };
                self.settle(Ok(digest), known, head, &mut None).await
            }
            Err(error) => {
                blocking(move || assembly.stage().discard()).await?;
                Err(error)
            }
        }
    }

    fn announce(&self, size: u64, resumed_from: u64) {
        let (file, name) = (self.job.id, &self.job.path);
        self.session.observer().event(Event::Started { file, name, size, resumed_from });
    }

    async fn stage(&self, size: u64, etag: &ETag, kind: HashKind, holes: u64) -> Result<Arc<Assembly>, StoreError> {
        let (store, path) = (Arc::clone(&self.context.store), self.job.path.clone());
        let spec = StageSpec { size: Some(size), etag: etag.clone() };
        let stages = Arc::clone(&self.context.stages);
        blocking(move || {
            let stage = store.stage_sparse(&path, &spec, holes)?;
            Ok(Arc::new(Assembly::of_kind(kind, stage, size, blocking_threads())?.counted_in(stages)))
        })
        .await
    }

    /// Asks for what is missing of a version of which a part is here, in stripes over all connections.
    async fn complete(&mut self, known: Partial, partial: &mut Option<Partial>) -> Result<Digest, AttemptError> {
        if known.rest.is_some() {
            return self.put_together(known, None, partial).await;
        }
        let mut stripes = stripes(&known.assembly.missing(), self.context.sessions.len());
        if stripes.is_empty() {
            // Even when nothing is missing the digest is: ask for the empty rest.
            let size = self.size.unwrap_or_default();
            stripes.push(size..size);
        }
        let sessions = self.context.sessions.iter().cycle();
        let this = &*self;
        let known_ref = &known;
        let received =
            stripes.into_iter().zip(sessions).map(|(range, session)| this.receive_stripe(session, known_ref, range));
        // All of them end before anything is decided: a stripe given up halfway could still be writing.
        let ends: Result<Vec<_>, _> = join_all(received).await.into_iter().collect();
        match ends.map(|mut ends| ends.pop()) {
            Ok(Some((head, digest))) => self.settle(Ok(digest), known, &head, partial).await,
            Ok(None) => Err(AttemptError::Protocol("nothing was asked for".to_owned())),
            Err(error) => {
                keep(known, partial).await;
                Err(error)
            }
        }
    }

    /// Receives `range` over one connection, asking again for what is missing of it whenever that connection is made anew.
    async fn receive_stripe(
        &self,
        session: &Session,
        known: &Partial,
        range: Range<u64>,
    ) -> Result<(DownloadHead, Digest), AttemptError> {
        let mut lease = session.lease();
        let mut rest = range.clone();
        loop {
            let ended = self.receive_range(session, &lease, known, rest).await;
            rest = first_missing(&known.assembly.missing_in(&range), &range);
            match ended {
                Err(AttemptError::Lost(lost)) => {
                    lease = session.renew(&lease, &lost).await.map_err(AttemptError::Final)?;
                }
                // A loss can leave several gaps: what came behind a lost packet is there.
                Ok(_) if !rest.is_empty() => {}
                ended => return ended,
            }
        }
    }

    async fn receive_range(
        &self,
        session: &Session,
        lease: &Lease,
        known: &Partial,
        range: Range<u64>,
    ) -> Result<(DownloadHead, Digest), AttemptError> {
        let request = DownloadRequest {
            range: Some(ByteRange { start: range.start, end: Some(range.end) }),
            if_match: Some(known.etag.clone()),
            ..self.request()
        };
        let (head, answer) = exchange::download(session, lease, request).await?;
        known.hash_as(head.hash).await?;
        self.fill(known, &head.holes).await?;
        let layout = Layout::new(&range, &head.holes);
        let digest = self.receive(session, answer, &known.assembly, (&head, layout)).await?;
        Ok((head, digest))
    }

    /// Fills the holes that a head told of.
    async fn fill(&self, known: &Partial, holes: &Holes) -> Result<(), AttemptError> {
        let bytes = known.fill(holes).await?;
        if bytes > 0 {
            self.session.observer().event(Event::Spared { file: self.job.id, bytes });
        }
        Ok(())
    }

    /// Takes a body that lies in the file as `layout` says into `assembly`; returns the digest of the whole file.
    async fn receive(
        &self,
        session: &Session,
        answer: Answer<Patience>,
        assembly: &Arc<Assembly>,
        (head, layout): (&DownloadHead, Layout),
    ) -> Result<Digest, AttemptError> {
        let (body, flush) = (answer.into_body(layout.length()), self.context.flush);
        self.read_end(take_in(session, body, assembly, layout, flush, &self.counts).await?, head)
    }

    /// The digest at the end of a body.
    fn read_end<C: ChunkSource>(&self, body: BodyChunks<C>, head: &DownloadHead) -> Result<Digest, AttemptError> {
        let Trailer { digest, grown, .. } = exchange::trailer(&body.into_trailer()?, head)?;
        self.has_grown.store(self.is_live && grown, Ordering::Relaxed);
        Ok(digest)
    }

    /// Verifies and commits what was received, or keeps it for the next attempt.
    async fn settle(
        &mut self,
        received: Result<Digest, AttemptError>,
        known: Partial,
        head: &DownloadHead,
        partial: &mut Option<Partial>,
    ) -> Result<Digest, AttemptError> {
        let expected = match received {
            Ok(digest) => digest,
            Err(error) => {
                keep(known, partial).await;
                return Err(error);
            }
        };
        let commit = self.context.config.commit_spec(head.modified, head.executable);
        // What was here is no proof: an older file may have changed, and a map may lie.
        let was_here = known.rest.is_some();
        let was_resumed = self.resumed || was_here;
        known.commit(expected, commit).await.map_err(|error| match error {
            AttemptError::DigestMismatch { .. } if was_resumed => {
                self.resumed = false;
                self.is_whole |= was_here;
                self.counts.forget_reused();
                AttemptError::Stale
            }
            error => error,
        })
    }

    /// A small file: all of it in memory, then hashed, written and committed in one step.
    async fn fetch_small(&self, head: &DownloadHead, answer: Answer<Patience>) -> Result<Digest, AttemptError> {
        let layout = Layout::new(&(0..head.size), &head.holes);
        let mut body = answer.into_body(layout.length());
        let content = collect_into(&mut body, &layout, &head.holes, |bytes| self.counts.receive(bytes)).await?;
        let expected = self.read_end(body, head)?;
        let commit = self.context.config.commit_spec(head.modified, head.executable);
        Small { content, kind: head.hash, expected, commit }.store(self.context, self.job).await
    }
}
