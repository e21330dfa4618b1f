//! `path_note` (PROTOCOL §4.9): takes up what a client brings along of the path to it, and says what it may bring along the next time.

use std::time::Duration;

use qfs_core::model::PathNote;
use qfs_core::stream::ByteSink;
use qfs_core::wire::{PathNoteHead, PathNoteRequest, StatusCode, encode};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::Reply;
use crate::error::HandlerError;
use crate::gate::patience::Progress;

/// How long it is waited for something to say: start-up is over by then on any path, if something was sent at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(250);

/// How long what is known first is let settle, for the rounds behind start-up to correct it.
const SETTLE: Duration = Duration::from_millis(500);

/// The path to a client, as far as notes go.
pub(crate) trait Path: Clone + Send + Sync {
    /// Begins with what `note` says, if it is a good one.
    fn recall(&self, note: &PathNote);

    /// A note about what is known now, and the bytes that the path held.
    fn note(&self) -> Option<(PathNote, u64)>;
}

/// Answers `request` on `reply` as soon as something is known of the path, at the latest after [`PATIENCE`] or when the server ends
/// (`drain`). Needs no turn: it does nothing meanwhile.
pub(crate) async fn path_note<K: ByteSink, P: Progress + Path>(
    reply: &mut Reply<K, P>,
    request: PathNoteRequest,
    mut drain: watch::Receiver<bool>,
) -> Result<(), HandlerError> {
    let path = reply.path().clone();
    if let Some(note) = &request.note {
        path.recall(note);
    }
    let latest = Instant::now() + PATIENCE;
    let known = tokio::select! {
        known = timeout_at(latest, known(&path)) => known.ok(),
        _ = drain.wait_for(|draining| *draining) => None,
        // Who has all he came for leaves without it.
        () = reply.stopped() => return Ok(()),
    };
    let (note, bytes) = known.unzip();
    reply.send(encode(&PathNoteHead { code: StatusCode::OK, note, bytes })?).await?;
    reply.finish();
    Ok(())
}

async fn known(path: &impl Path) -> (PathNote, u64) {
    let mut first = None;
    loop {
        if let Some(note) = path.note()
            && first.get_or_insert_with(Instant::now).elapsed() >= SETTLE
        {
            return note;
        }
        sleep(LOOK).await;
    }
}
