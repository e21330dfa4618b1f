//! A file to be had, what all of a run share, and how one ends.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use qfs_core::body::Stages;
use qfs_core::model::{Digest, RemotePath};
use qfs_core::observe::{Event, FileId, Observer};
use qfs_core::store::{TargetMeta, WriteStore};

use crate::config::FetchConfig;
use crate::error::Failure;
use crate::mirrors::fleet::Fleet;
use crate::plan::{RemoteMeta, Step, lacks_bit, next_step};
use crate::session::Session;
use crate::transfer::delta::Means;
use crate::transfer::outcome::{FileOutcome, Status};

/// A file to be had.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: FileId,
    pub(crate) path: RemotePath,
    /// What the listing says, when there was one.
    pub(crate) remote: Option<RemoteMeta>,
    /// The digest in the listing.
    pub(crate) digest: Option<Digest>,
    /// What is there already, or why that cannot be told; nothing where a plan has decided that it is fetched.
    pub(crate) local: Result<Option<TargetMeta>, Failure>,
    /// Size in bytes of what the plan replaces: a version of which parts may be used again.
    pub(crate) replaced: Option<u64>,
    /// Sent before those with a lower number.
    pub(crate) priority: i32,
}

impl Job {
    /// Size in bytes of the version that is here, if there is one.
    pub(crate) fn older(&self) -> Option<u64> {
        self.replaced.or_else(|| Some(self.local.as_ref().ok()?.as_ref()?.size))
    }
}

/// What all downloads of a run share.
#[derive(Clone)]
pub(crate) struct Context {
    /// The connections; at least one. Files take turns, large ones are striped over all.
    pub(crate) sessions: Arc<[Session]>,
    pub(crate) store: Arc<dyn WriteStore>,
    pub(crate) config: FetchConfig,
    /// Bytes each pump gathers before it writes.
    pub(crate) flush: usize,
    /// Where the time of all of them is counted.
    pub(crate) stages: Arc<Stages>,
    /// For fetching what changed alone.
    pub(crate) delta: Arc<Means>,
    /// The servers, where there are several: `sessions` is then the first of them that was reached.
    pub(crate) fleet: Option<Arc<Fleet>>,
    /// Whether the server has said that it does not know `download_many`: then every file is asked for by itself.
    pub(crate) singly: Arc<AtomicBool>,
}

impl Context {
    /// The connection whose turn it is with `job`.
    pub(crate) fn session(&self, job: &Job) -> &Session {
        &self.sessions[job.id.0 % self.sessions.len()]
    }
}

/// How `job` ends without a request, if what is known of both sides settles it.
pub(crate) fn settled(context: &Context, job: &Job) -> Option<FileOutcome> {
    let (status, digest) = match &job.local {
        Err(failure) => (Status::Failed(failure.clone()), None),
        Ok(local) => match next_step(job.remote, *local, &context.config) {
            // Setting it is a step on the disk, though no request is needed.
            Step::Keep if lacks_bit(job.remote.is_some_and(|r| r.executable), *local, &context.config) => return None,
            Step::Keep => (Status::Unchanged, job.digest),
            Step::Refuse => (Status::Failed(Failure::Exists), None),
            Step::Fetch | Step::Probe | Step::Compare => return None,
        },
    };
    let size = job.remote.map(|remote| remote.size);
    Some(conclude(&**context.sessions[0].observer(), job, status, digest, size, 0, Instant::now()))
}

/// Tells the end of `job`, which began at `begun`.
pub(crate) fn conclude(
    observer: &dyn Observer,
    job: &Job,
    status: Status,
    digest: Option<Digest>,
    size: Option<u64>,
    received: u64,
    begun: Instant,
) -> FileOutcome {
    announce_end(observer, job, &status, digest);
    let name = job.path.as_str().to_owned();
    FileOutcome { name, size, digest, status, received, reused: 0, elapsed: begun.elapsed() }
}

/// Tells the end of `job`, as it is.
pub(crate) fn told(context: &Context, job: &Job, ended: FileOutcome) -> FileOutcome {
    announce_end(&**context.sessions[0].observer(), job, &ended.status, ended.digest);
    ended
}

/// Tells the observer of the end of `job`.
fn announce_end(observer: &dyn Observer, job: &Job, status: &Status, digest: Option<Digest>) {
    match (status, digest) {
        (Status::Failed(_), _) => observer.event(Event::Failed { file: job.id }),
        (Status::Unchanged, _) => observer.event(Event::Unchanged { file: job.id }),
        (_, Some(digest)) => observer.event(Event::Committed { file: job.id, digest }),
        _ => {}
    }
}
