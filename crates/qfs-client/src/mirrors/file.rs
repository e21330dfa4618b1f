//! One file of a run that has several servers, whichever way it is fetched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::STRIPED_BYTES;
use super::fleet::Fleet;
use super::striped::{self, Fetched};
use super::whole;
use crate::error::{Failure, FailureClass};
use crate::plan::{Step, next_step};
use crate::transfer::download;
use crate::transfer::job::{Context, Job, conclude, told};
use crate::transfer::outcome::{FileOutcome, Status};

/// How often it is tried to tell a small file from a large one: a server may say now this and now that.
const MAX_TURNS: u32 = 5;

/// Fetches one file from all that have it, or finds that nothing needs to be done.
///
/// What needs one server that knows what it said before is done with one at a time: what is here already is compared, or
/// made a part of the new file, and files that grow meanwhile have no version that others could have too.
pub(crate) async fn run(context: Context, fleet: Arc<Fleet>, job: Job) -> FileOutcome {
    let old = job.local.as_ref().map_or(0, |local| local.as_ref().map_or(0, |local| local.size));
    let is_worth_it = |size: u64| context.delta.are_worth_it(size, old);
    let is_reused = context.delta.are_there(&context.config, old) && job.remote.is_none_or(|of| is_worth_it(of.size));
    if context.config.live || is_reused {
        return from_one(context, &fleet, job, None).await;
    }
    let is_new = (job.local.as_ref()).is_ok_and(|local| next_step(job.remote, *local, &context.config) == Step::Fetch);
    if !is_new && let Some(ended) = ask_one(&context, &fleet, &job, None, Asked::Whether).await {
        return told(&context, &job, ended);
    }
    let (begun, received) = (Instant::now(), Arc::<AtomicU64>::default());
    let mut is_large = job.remote.is_some_and(|remote| remote.size >= STRIPED_BYTES);
    let (mut named, mut ended) = (None, None);
    for _ in 0..MAX_TURNS {
        if is_large {
            match striped::fetch(&context, &fleet, &job, &received).await {
                striped::Ended::Fetched(fetched) => ended = Some(Ok(fetched)),
                striped::Ended::Failed(failure) => ended = Some(Err(failure)),
                striped::Ended::Small(leader, digest) => (is_large, named) = (false, Some((leader, digest))),
                striped::Ended::Unmapped(leader) => return from_one(context, &fleet, job, Some(leader)).await,
            }
        } else {
            match whole::fetch(&context, &fleet, &job, named, &received).await {
                whole::Ended::Fetched(digest, size) => {
                    ended = Some(Ok(Fetched { digest, size, is_resumed: false }));
                }
                whole::Ended::Failed(failure) => ended = Some(Err(failure)),
                whole::Ended::Large => is_large = true,
            }
        }
        if ended.is_some() {
            break;
        }
    }
    let ended =
        ended.unwrap_or_else(|| Err(Failure::Protocol("it is now a small file and now a large one".to_owned())));
    let (status, digest, size) = match ended {
        Ok(Fetched { digest, size, is_resumed: true }) => (Status::Resumed, Some(digest), Some(size)),
        Ok(Fetched { digest, size, is_resumed: false }) => (Status::Downloaded, Some(digest), Some(size)),
        // Somebody was quicker, perhaps with this very file.
        Err(Failure::Exists) => return from_one(context, &fleet, job, None).await,
        Err(failure) => (Status::Failed(failure), None, job.remote.map(|remote| remote.size)),
    };
    conclude(&**fleet.observer(), &job, status, digest, size, received.load(Ordering::Relaxed), begun)
}

/// Fetches it from one server at a time, from the one with the number `leader` first if it is there.
async fn from_one(context: Context, fleet: &Fleet, job: Job, leader: Option<usize>) -> FileOutcome {
    let ended = ask_one(&context, fleet, &job, leader, Asked::All).await;
    let gone = || FileOutcome::failed(job.path.as_str(), Failure::ConnectionLost("no server is left".to_owned()));
    told(&context, &job, ended.unwrap_or_else(gone))
}

/// What one server is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Whether the file has to be fetched.
    Whether,
    /// The file.
    All,
}

/// How it ends with one server: with the one with the number `leader` if it is there, or with the first; with the next one where that
/// one is lost, has no answer, or says what is not so. None where it has to be fetched.
async fn ask_one(
    context: &Context,
    fleet: &Fleet,
    job: &Job,
    leader: Option<usize>,
    asked: Asked,
) -> Option<FileOutcome> {
    let mut order: Vec<_> = fleet.usable().map(|(mirror, session)| (Some(mirror), session)).collect();
    order.sort_by_key(|(mirror, _)| mirror.map(|mirror| mirror.number) != leader);
    if order.is_empty() {
        // It is lost, and says why.
        order.push((None, context.sessions[0].clone()));
    }
    // What the first said that was there.
    let mut said: Option<FileOutcome> = None;
    for (mirror, session) in order {
        let one = Context { sessions: [session].into(), fleet: None, ..context.clone() };
        let ended = match asked {
            Asked::Whether => download::settle(&one, job).await?,
            Asked::All => download::attempt(&one, job).await,
        };
        if let Some(mirror) = mirror {
            mirror.sent_alone(ended.received, ended.elapsed);
        }
        match &ended.status {
            Status::Failed(failure @ (Failure::DigestMismatch { .. } | Failure::Protocol(_))) => {
                if let Some(mirror) = mirror {
                    mirror.lied(&format!("{}: {failure}", job.path));
                }
            }
            Status::Failed(Failure::Refused(_)) => {}
            Status::Failed(failure) if failure.class() == FailureClass::Connection => {
                said.get_or_insert(ended);
                continue;
            }
            _ => return Some(ended),
        }
        let is_better =
            |said: &FileOutcome| matches!(&said.status, Status::Failed(why) if why.class() == FailureClass::Connection);
        if said.as_ref().is_none_or(is_better) {
            said = Some(ended);
        }
    }
    said
}
