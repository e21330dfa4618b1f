//! Exchanges for what changed alone (PROTOCOL §4.8): the map of a version, and many parts of it in one answer.

use bytes::{Bytes, BytesMut};
use qfs_core::body::Answer;
use qfs_core::chunks::MAX_MAP_BYTES;
use qfs_core::wire::{ChunkMapHead, ChunkMapRequest, DownloadHead, DownloadRangesRequest, Request, decode_response};

use super::exchange::{MAX_FILE_BYTES, agreed, ask};
use super::handle::{Lease, Session};
use super::patience::Patience;
use crate::error::AttemptError;

/// Bytes of a map after which the session counts as having made progress.
const PIECE_BYTES: usize = 64 << 10;

/// Asks for the map of a file of about `size` bytes: its head, and its bytes, of which no more is known than that they are as many as
/// the head says and no more than a map can have.
pub(crate) async fn chunk_map(
    session: &Session,
    lease: &Lease,
    request: ChunkMapRequest,
    size: u64,
) -> Result<(ChunkMapHead, Bytes), AttemptError> {
    let mut answer = ask(session, lease, &Request::ChunkMap(request)).await?;
    // The server may have to read all of it first.
    answer.source_mut().allow_digest(size);
    let head: ChunkMapHead = decode_response(&answer.next_frame().await?)??;
    let length = usize::try_from(head.length).ok().filter(|length| *length <= MAX_MAP_BYTES);
    let length = length.ok_or_else(|| AttemptError::Protocol("a chunk map that is too long".to_owned()))?;
    // Memory grows with what arrives.
    let (mut map, mut pieces) = (BytesMut::new(), Vec::new());
    loop {
        let is_end = answer.gather(&mut pieces, PIECE_BYTES).await?;
        session.note_progress();
        pieces.drain(..).for_each(|piece| map.extend_from_slice(&piece));
        if map.len() > length || (is_end && map.len() < length) {
            return Err(AttemptError::Protocol("a chunk map of another length than its head says".to_owned()));
        }
        if is_end {
            return Ok((head, map.freeze()));
        }
    }
}

/// Asks for parts of a version and reads the head of the answer; the body is theirs, one behind the other.
pub(crate) async fn download_ranges(
    session: &Session,
    lease: &Lease,
    request: DownloadRangesRequest,
) -> Result<(DownloadHead, Answer<Patience>), AttemptError> {
    let (envelope, wanted) = (request.ranges.envelope(), request.if_match.clone());
    let mut answer = ask(session, lease, &Request::DownloadRanges(request)).await?;
    let head: DownloadHead = decode_response(&answer.next_frame().await?)??;
    let fits = head.range.within(head.size).is_ok_and(|served| served == envelope) && head.size <= MAX_FILE_BYTES;
    if !fits || head.etag != wanted || head.live || !head.holes.is_empty() {
        return Err(AttemptError::Protocol("the head does not fit the request".to_owned()));
    }
    agreed(session, head.hash)?;
    answer.source_mut().allow_digest(head.size);
    Ok((head, answer))
}
