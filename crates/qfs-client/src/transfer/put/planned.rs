//! Files of which a plan says what they replace: nothing is looked up first, and nothing but what was listed is replaced.

use std::num::NonZeroUsize;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use qfs_core::observe::{FileId, Observer};
use qfs_core::wire::Precondition;

use super::batch::{self, BATCH_FILES, BATCHED_BYTES, Ended, Item};
use super::context::{Present, Put, PutConfig};
use super::source::Source;
use super::upload::upload_planned;
use crate::session::Session;
use crate::transfer::outcome::FileOutcome;

/// A file to upload, and what must be under its name.
pub(crate) struct Planned {
    pub(crate) source: Source,
    pub(crate) condition: Precondition,
    /// What was listed there, if anything.
    pub(crate) present: Option<Present>,
}

/// Uploads `files` over `sessions`, of which there is at least one, and tells `done` of each as it ends, in no order.
pub(crate) async fn upload_all(
    sessions: Arc<[Session]>,
    files: Vec<Planned>,
    config: PutConfig,
    observer: Arc<dyn Observer>,
    done: &mut (dyn FnMut(FileOutcome) + Send),
) {
    let at_once = config.parallel.map_or(1, NonZeroUsize::get);
    let put = Put::new(sessions, config, observer);
    let (small, large): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.source.meta.size <= BATCHED_BYTES);
    // The large ones first, so that none of them is left over at the end alone.
    let mut units: Vec<_> = large.into_iter().map(|file| vec![file]).collect();
    let mut small = small.into_iter().peekable();
    while small.peek().is_some() {
        units.push(small.by_ref().take(BATCH_FILES).collect());
    }
    let work = stream::iter(units).map(|unit| {
        let first = unit.first().map_or(FileId(0), |file| file.source.id);
        let (put, session) = (put.clone(), put.session(first).clone());
        // Where its connection is driven.
        async move { session.alongside(perform(put, unit)).await }
    });
    let mut work = work.buffer_unordered(at_once);
    while let Some(ended) = work.next().await {
        ended.into_iter().for_each(&mut *done);
    }
}

async fn perform(put: Put, unit: Vec<Planned>) -> Vec<FileOutcome> {
    if unit.len() == 1 {
        let mut ended = Vec::new();
        for file in unit {
            ended.push(upload_planned(put.clone(), file.source, file.condition, file.present).await);
        }
        return ended;
    }
    let items = unit.into_iter().map(|file| Item { source: file.source, condition: file.condition }).collect();
    let ended = batch::upload(put.clone(), items).await;
    let mut outcomes = Vec::with_capacity(ended.len());
    for ended in ended {
        outcomes.push(match ended {
            Ended::Done(outcome) => outcome,
            Ended::Alone(Item { source, condition }) => upload_planned(put.clone(), source, condition, None).await,
        });
    }
    outcomes
}
