//! Puts a version together: copies what is here while the rest is asked for, and then what is copied within it.

use std::sync::Arc;

use super::copying::{Origin, copy_itself, copy_seeds};
use super::receive::{End, receive};
use super::rest::{Copy, Rest};
use crate::error::AttemptError;
use crate::transfer::intake::Counts;
use crate::transfer::job::{Context, Job};
use crate::transfer::partial::{Partial, RecordOnDrop};

/// What is copied out of files that are here.
pub(crate) struct PlannedSeeds {
    /// In the order of the version, out of `origins`.
    pub(super) copies: Vec<Copy>,
    pub(super) origins: Arc<[Origin]>,
    /// All that is copied, from anywhere: not asked for while `copies` are under way.
    pub(super) all: Rest,
}

/// Copies out of `seeds`, asks for what is missing of `known`, and leaves nothing missing. None where nothing had to be asked for.
pub(crate) async fn put_together(
    context: &Context,
    job: &Job,
    known: &Partial,
    seeds: Option<PlannedSeeds>,
    counts: &Counts,
) -> Result<Option<End>, AttemptError> {
    let _record = RecordOnDrop(Arc::clone(&known.assembly));
    let rest = known.rest.clone().unwrap_or_default();
    let reused = &|bytes| counts.reuse(bytes);
    let received = match seeds {
        Some(PlannedSeeds { copies, origins, all }) => {
            let copying = copy_seeds(copies, origins, &known.assembly, reused);
            // Both end before anything is decided: one given up halfway could still be writing.
            let (copied, received) = tokio::join!(copying, receive(context, job, known, &all, counts));
            copied?;
            received?
        }
        None => receive(context, job, known, &rest, counts).await?,
    };
    copy_itself(&rest, &known.assembly, reused).await?;
    // What could not be copied is missing still.
    let more = receive(context, job, known, &Rest::default(), counts).await?;
    Ok(more.or(received))
}
