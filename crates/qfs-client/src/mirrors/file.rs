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
    let is_new = job.local.as_ref().is_ok_and(|local| {
        next_step(job.remote, *local, &context.config) == Step::Fetch
            && !context.delta.are_there(&context.config, local.as_ref().map_or(0, |local| local.size))
    });
    if !is_new || context.config.live {
        return from_one(context, &fleet, job, None).await;
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

/// Fetches it from one server: from the one with the number `leader` if it is there, or from the first; from the next one
/// where the connection is lost for good.
async fn from_one(context: Context, fleet: &Fleet, job: Job, leader: Option<usize>) -> FileOutcome {
    let mut order: Vec<_> = fleet.usable().map(|(mirror, session)| (mirror.number, session)).collect();
    order.sort_by_key(|(number, _)| Some(*number) != leader);
    let mut sessions = order.into_iter().map(|(_, session)| session);
    let first = sessions.next().unwrap_or_else(|| context.sessions[0].clone());
    let mut one = Context { sessions: [first].into(), fleet: None, ..context };
    loop {
        let ended = download::attempt(&one, &job).await;
        let is_lost = matches!(&ended.status, Status::Failed(failure) if failure.class() == FailureClass::Connection);
        match sessions.next() {
            Some(session) if is_lost => one.sessions = [session].into(),
            _ => return told(&one, &job, ended),
        }
    }
}
