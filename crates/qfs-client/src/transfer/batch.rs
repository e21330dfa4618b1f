//! Many small files on one stream (PROTOCOL §4.3): each is verified and committed as it comes. What a batch cannot do is left
//! to [`crate::transfer::download`], which fetches one file and knows every way out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use qfs_core::body::Stage;
use qfs_core::model::{Digest, HashKind};
use qfs_core::observe::{Event, FileId};
use qfs_core::store::{StoreError, WriteStore};
use qfs_core::stream::Lost;
use qfs_core::wire::{DownloadManyRequest, FileAnswer, MAX_RECORD_BYTES, StatusCode, name_bytes, take_record};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::FetchConfig;
use crate::error::{AttemptError, Failure, store_failure};
use crate::mirrors::coming::Coming;
use crate::mirrors::mirror::Mirror;
use crate::plan::{Step, next_step};
use crate::session::{Lease, Session, Tries, exchange};
use crate::transfer::job::{Context, Job, conclude};
use crate::transfer::outcome::{FileOutcome, Status};

/// Batches under way at once. Each holds two steps' bytes, so all of them 8 MiB.
pub(crate) const MAX_BATCHES: usize = 16;

/// Largest file that goes into a batch, in bytes: from here on a stream of its own costs little beside the content.
const SMALL_BYTES: u64 = 64 << 10;

/// A batch is full with so many files …
const BATCH_FILES: usize = 128;

/// … with so many when each waits for the disk (`--fsync=full`): those of one batch wait one after another …
const DURABLE_BATCH_FILES: usize = 8;

/// … with so many bytes of content …
const BATCH_BYTES: u64 = 512 << 10;

/// … or of names.
const BATCH_NAME_BYTES: usize = 32 << 10;

/// Bytes that are gathered for one step on a blocking thread.
const STEP_BYTES: usize = 256 << 10;

/// Longest that bytes wait to be gathered: on a slow link, progress shall be seen.
const STEP_PATIENCE: Duration = Duration::from_millis(50);

/// Files that wait for being asked for together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) jobs: Vec<Job>,
    /// Content of all of them, in bytes, as far as the listing is right.
    pub(crate) bytes: u64,
    name_bytes: usize,
}

impl Batch {
    /// Whether `job` may be fetched in a batch: it is known to be small, and needs nothing but to be fetched. From one of several
    /// servers only what is listed with its digest: the others may have another version.
    pub(crate) fn takes(job: &Job, config: &FetchConfig, has_mirrors: bool) -> bool {
        let is_small = job.remote.is_some_and(|remote| remote.size <= SMALL_BYTES);
        let is_known = !has_mirrors || job.digest.is_some();
        is_small
            && is_known
            && job.local.as_ref().is_ok_and(|local| next_step(job.remote, *local, config) == Step::Fetch)
    }

    pub(crate) fn push(&mut self, job: Job) {
        self.bytes += job.remote.map_or(0, |remote| remote.size);
        self.name_bytes += name_bytes(job.path.as_str());
        self.jobs.push(job);
    }

    pub(crate) fn is_full(&self, config: &FetchConfig) -> bool {
        let most = if config.durable { DURABLE_BATCH_FILES } else { BATCH_FILES };
        self.jobs.len() >= most || self.bytes >= BATCH_BYTES || self.name_bytes >= BATCH_NAME_BYTES
    }
}

/// How a batch ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// What became of files that need no more.
    pub(crate) outcomes: Vec<(FileId, FileOutcome)>,
    /// What must be fetched each on its own.
    pub(crate) alone: Vec<Job>,
}

/// Fetches what it can of `batch`.
pub(crate) async fn run(context: Context, batch: Batch) -> Ended {
    let first = match &batch.jobs[..] {
        // Nothing is shared by one.
        [] | [_] => return Ended { outcomes: Vec::new(), alone: batch.jobs },
        [first, ..] => first,
    };
    let (session, mirror) = match &context.fleet {
        None => (context.session(first).clone(), None),
        Some(fleet) => match fleet.lightest(batch.bytes, |_| true) {
            Some((mirror, session)) => (session, Some(mirror)),
            None => return Ended { outcomes: Vec::new(), alone: batch.jobs },
        },
    };
    let _question = mirror.as_ref().map(|mirror| mirror.question(batch.bytes));
    let (begun, jobs) = (Instant::now(), batch.jobs.into());
    let mut fetch = Fetch { context, session, mirror, begun, next: 0, jobs, ended: Ended::default() };
    let mut tries = Tries::new(&fetch.session);
    while fetch.next < fetch.jobs.len() {
        let lost = match (fetch.attempt(&tries.lease).await, &fetch.mirror) {
            (Ok(()), _) => break,
            (Err(error), Some(mirror)) => {
                // Others can be asked meanwhile.
                mirror.failed(&tries.lease, &error, "its answer about several files is not valid");
                break;
            }
            (Err(error), None) if error.lost().is_some() => error,
            (Err(error), None) => {
                tracing::debug!(%error, "a batch was given up");
                break;
            }
        };
        if tries.after(lost).await.is_err() {
            break;
        }
    }
    let rest = fetch.jobs[fetch.next..].iter().cloned();
    fetch.ended.alone.extend(rest);
    fetch.ended
}

struct Fetch {
    context: Context,
    session: Session,
    /// The server, where there are several.
    mirror: Option<Arc<Mirror>>,
    begun: Instant,
    jobs: Arc<[Job]>,
    /// The first of `jobs` that nothing was heard of.
    next: usize,
    ended: Ended,
}

impl Fetch {
    /// Asks for all that nothing was heard of yet.
    async fn attempt(&mut self, lease: &Lease) -> Result<(), AttemptError> {
        let asked = &self.jobs[self.next..];
        let files = asked.iter().map(|job| job.path.as_str().to_owned()).collect();
        let priority = asked[0].priority;
        let request = DownloadManyRequest { files, priority, ..DownloadManyRequest::default() };
        let asking = exchange::download_many(&self.session, lease, request);
        let answer = match &self.mirror {
            Some(mirror) => mirror.unless_silent(asking).await,
            None => asking.await,
        };
        let (hash, mut answer) = match answer {
            Err(AttemptError::Remote(error)) if error.code == StatusCode::UNKNOWN_COMMAND => {
                self.context.singly.store(true, Ordering::Relaxed);
                return Err(error.into());
            }
            answer => answer?,
        };
        let (mut running, mut rest): (Option<JoinHandle<Done>>, _) = (None, Bytes::new());
        let coming = Coming::begin();
        loop {
            let mut pieces = Vec::new();
            // Gathering goes on while the step before is at work. Nothing is lost when it is interrupted.
            let gathered = timeout(STEP_PATIENCE, answer.gather(&mut pieces, STEP_BYTES)).await.unwrap_or(Ok(false));
            if let Some(step) = running.take() {
                rest = self.settle(step).await?;
            }
            let is_end = !matches!(gathered, Ok(false));
            if let (Some(mirror), Some(fleet)) = (&self.mirror, &self.context.fleet) {
                let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
                coming.came(bytes);
                mirror.sent_or_silent(bytes)?;
                if !is_end && mirror.is_slow_with(&coming) && fleet.is_another_idle(mirror.number) {
                    return Err(AttemptError::Lost(Lost::TimedOut));
                }
            }
            if pieces.is_empty() && !is_end {
                continue;
            }
            let step = self.step(std::mem::take(&mut rest), pieces, hash, matches!(gathered, Ok(true)));
            if !is_end {
                running = Some(step);
                continue;
            }
            // What came whole before a failure counts.
            self.settle(step).await?;
            gathered?;
            // The last file counts only where nothing follows it, so all of them are an answer without more.
            let is_whole = self.next == self.jobs.len();
            let fault = "the answer does not end with the last file";
            return if is_whole { Ok(()) } else { Err(AttemptError::Protocol(fault.to_owned())) };
        }
    }

    /// Begins to verify and commit what is whole of `rest` and `pieces`.
    fn step(&self, rest: Bytes, pieces: Vec<Bytes>, hash: HashKind, is_end: bool) -> JoinHandle<Done> {
        let mut buffer = BytesMut::with_capacity(rest.len() + pieces.iter().map(Bytes::len).sum::<usize>());
        let committer = Committer {
            store: Arc::clone(&self.context.store),
            config: self.context.config,
            jobs: Arc::clone(&self.jobs),
            hash,
            is_end,
            has_mirrors: self.mirror.is_some(),
        };
        let (from, stages) = (self.next, Arc::clone(&self.context.stages));
        tokio::task::spawn_blocking(move || {
            stages.time(Stage::Committing, || {
                buffer.extend_from_slice(&rest);
                pieces.iter().for_each(|piece| buffer.extend_from_slice(piece));
                committer.run(from, buffer.freeze())
            })
        })
    }

    /// Waits for a step, and counts what it did; returns the bytes that it left.
    async fn settle(&mut self, step: JoinHandle<Done>) -> Result<Bytes, AttemptError> {
        let done = step.await.map_err(|e| StoreError::Io(std::io::Error::other(e)))?;
        self.session.note_progress();
        for end in done.ends {
            let job = &self.jobs[self.next];
            self.next += 1;
            match end {
                Some(end) => self.ended.outcomes.push((job.id, self.conclude(job, end))),
                None => self.ended.alone.push(job.clone()),
            }
        }
        done.rest
    }

    fn conclude(&self, job: &Job, (size, end): (u64, Result<Digest, Failure>)) -> FileOutcome {
        let observer = self.session.observer();
        observer.event(Event::Started { file: job.id, name: &job.path, size, resumed_from: 0 });
        observer.event(Event::Received { file: job.id, bytes: size });
        let (status, digest) = match end {
            Ok(digest) => (Status::Downloaded, Some(digest)),
            Err(failure) => (Status::Failed(failure), None),
        };
        conclude(&**observer, job, status, digest, Some(size), size, self.begun)
    }
}

/// What a step did: for each file its size and its digest under its final name, or why there is none, or None where it must be
/// fetched alone.
struct Done {
    ends: Vec<Option<(u64, Result<Digest, Failure>)>>,
    /// The bytes behind the last whole record, or why there is no sense in reading on.
    rest: Result<Bytes, AttemptError>,
}

/// Verifies and commits, on a blocking thread.
struct Committer {
    store: Arc<dyn WriteStore>,
    config: FetchConfig,
    jobs: Arc<[Job]>,
    /// What the digests in the records are.
    hash: HashKind,
    /// Whether the stream ended behind the bytes at hand.
    is_end: bool,
    /// Whether the server is one of several: then what is not as it was listed is fetched alone, from whoever has it so.
    has_mirrors: bool,
}

impl Committer {
    fn run(&self, from: usize, mut buffer: Bytes) -> Done {
        let mut ends = Vec::new();
        while let Some(job) = self.jobs.get(from + ends.len()) {
            let before = buffer.clone();
            match take_record(&mut buffer) {
                Ok(Some(answer)) => {
                    // The last file counts only where the stream ends behind it, as that of any other answer.
                    if from + ends.len() + 1 == self.jobs.len() && !(self.is_end && buffer.is_empty()) {
                        buffer = before;
                        break;
                    }
                    ends.push(self.commit(job, answer));
                }
                Ok(None) => break,
                Err(error) => return Done { ends, rest: Err(error.into()) },
            }
        }
        if buffer.len() > MAX_RECORD_BYTES {
            return Done { ends, rest: Err(AttemptError::Protocol("the stream goes on behind its end".to_owned())) };
        }
        Done { ends, rest: Ok(buffer) }
    }

    fn commit(&self, job: &Job, answer: FileAnswer) -> Option<(u64, Result<Digest, Failure>)> {
        let (record, body) = answer.ok()?;
        let got = Digest::of_kind(self.hash, &body);
        if self.has_mirrors && (got != record.digest || job.digest.is_some_and(|listed| listed != got)) {
            return None;
        }
        if got != record.digest {
            return Some((record.size, Err(Failure::DigestMismatch { got, expected: record.digest })));
        }
        match self.store.put(&job.path, &[body], &self.config.commit_spec(record.modified, record.executable)) {
            Ok(()) => Some((record.size, Ok(got))),
            // Somebody was quicker, or descriptors ran out: both have their way out.
            Err(StoreError::Exists | StoreError::Busy) => None,
            Err(error) => Some((record.size, Err(store_failure(&error)))),
        }
    }
}
