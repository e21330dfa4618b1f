//! Brings along what the server wrote down about the path, and takes home what it writes down now (PROTOCOL §4.9).
//!
//! Only on the first connection of a session: of several at once the server believes one, and a connection that replaces a lost one
//! has learnt that the path is not what it was.

use std::time::Duration;

use qfs_core::body::Answer;
use qfs_core::stream::{ChunkSource, StreamError};
use qfs_core::wire::{PathNoteHead, PathNoteRequest, Request, decode_response};
use qfs_transport::Way;

use super::handle::Session;
use super::paths::{KnownPath, Paths};
use super::patience::patiently;
use crate::config::ConnectConfig;

/// On paths with a shorter round trip, nothing is brought and nothing asked: start-up fills them in the time of a few packets.
const WORTHWHILE_RTT: Duration = Duration::from_millis(5);

/// The most that a server may send at once because of a note, in bytes. More than that grows as it is taken, as ever.
const MAX_FIRST_WINDOW: u64 = 32 << 20;

/// What is kept of the path to the server of `config`, which is made to let as much be under way at once as the path held: otherwise
/// the note would be of no use.
pub(super) async fn recall(config: &mut ConnectConfig) -> Option<KnownPath> {
    let (paths, server) = (Paths::at(config.path_notes.clone()), config.server.clone());
    let known = tokio::task::spawn_blocking(move || paths.recall(&server)).await.ok().flatten()?;
    let window = known.bytes.saturating_mul(2).min(MAX_FIRST_WINDOW);
    config.tuning.receive_window = config.tuning.receive_window.max(window);
    Some(known)
}

/// Shows `known` to the server if it is the one that wrote it, before anything else is asked, and keeps what it answers, whenever
/// that is. Nothing depends on it.
pub(super) async fn bring(session: &Session, config: &ConnectConfig, known: Option<KnownPath>) {
    let connection = session.lease().connection;
    let is_worth_it = connection.way() == Way::Udp && connection.path_report().min_rtt >= WORTHWHILE_RTT;
    let Some(key) = session.fingerprint().filter(|_| is_worth_it && config.path_notes.is_some()) else { return };
    let note = known.filter(|known| known.key == key).map(|known| known.note);
    let request = Request::PathNote(PathNoteRequest { note });
    let Ok(frame) = request.encode_with(session.token()) else { return };
    let asking = async {
        let (sink, source) = connection.open_stream().await?;
        sink.send_request(frame).await?;
        Ok::<_, StreamError>(source)
    };
    let Ok(source) = patiently(session, asking).await else { return };
    let (paths, server) = (Paths::at(config.path_notes.clone()), config.server.clone());
    tokio::spawn(async move {
        if let Some((note, bytes)) = answered(source).await {
            let known = KnownPath { key, bytes, note };
            // What is not kept is found out again.
            let _ = tokio::task::spawn_blocking(move || paths.keep(&server, &known)).await;
        }
    });
}

/// The note in an answer. A server that does not know the command says so, and has none.
async fn answered(source: impl ChunkSource) -> Option<(qfs_core::model::PathNote, u64)> {
    let payload = Answer::new(source).next_frame().await.ok()?;
    let head: PathNoteHead = decode_response(&payload).ok()?.ok()?;
    head.note.zip(head.bytes)
}
