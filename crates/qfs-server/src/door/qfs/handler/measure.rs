//! `measure` (PROTOCOL §4.10): takes bytes for nothing but the rate at which they come. Nothing of them is kept.

use std::time::Duration;

use qfs_core::body::Answer;
use qfs_core::stream::{ByteSink, ChunkSource, StreamError};
use qfs_core::wire::{MAX_MEASURE_BYTES, MeasureHead, StatusCode, encode};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::HandlerError;

/// How long bytes are taken, from the first piece on: by then start-up is over on most paths.
const TRIAL: Duration = Duration::from_secs(2);

/// Takes what comes on `rest` until it ends, for [`TRIAL`] at most and no more than [`MAX_MEASURE_BYTES`], and answers on `sink` how fast it came.
/// The first piece has to come within `stall`.
pub(crate) async fn measure<K: ByteSink, C: ChunkSource>(
    sink: &mut K,
    mut rest: Answer<C>,
    stall: Duration,
) -> Result<(), HandlerError> {
    let first = timeout(stall, next(&mut rest)).await.map_err(|_| HandlerError::RequestTimeout)??;
    let begun = Instant::now();
    let (mut bytes, mut elapsed, mut goes_on) = (0, Duration::ZERO, first.is_some());
    while goes_on && bytes < MAX_MEASURE_BYTES {
        let Ok(piece) = timeout_at(begun + TRIAL, next(&mut rest)).await else { break };
        match piece? {
            Some(length) => (bytes, elapsed) = (bytes + length, begun.elapsed()),
            None => goes_on = false,
        }
    }
    // No longer than the trial and what a busy machine adds to it.
    let micros = elapsed.as_micros() as u64;
    sink.send(encode(&MeasureHead { code: StatusCode::OK, bytes, micros })?).await?;
    sink.finish();
    // Dropped behind the answer, `rest` tells the client that no more is wanted.
    Ok(())
}

/// The length of the next piece; None behind the last one.
async fn next<C: ChunkSource>(rest: &mut Answer<C>) -> Result<Option<u64>, StreamError> {
    let mut pieces = Vec::new();
    let ended = rest.gather(&mut pieces, 1).await?;
    Ok((!ended).then(|| pieces.iter().map(|piece| piece.len() as u64).sum()))
}
