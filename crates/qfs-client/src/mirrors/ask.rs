//! One question to one server: what it has, what it says that consists of, and a part of it.

use std::time::Duration;

use bytes::Bytes;
use qfs_core::body::collect_into;
use qfs_core::chunks::ChunkMap;
use qfs_core::model::{Digest, HashKind, Layout};
use qfs_core::wire::{ChunkMapRequest, DownloadHead, DownloadRequest};
use qfs_store::blocking;
use tokio::time::timeout;

use crate::error::AttemptError;
use crate::session::{Lease, Session, delta, exchange};

/// How long a map is waited for, in addition to [`SLOWEST_MAP`].
const MAP_PATIENCE: Duration = Duration::from_secs(10);

/// Slowest making of a map that is waited for, in bytes a second.
const SLOWEST_MAP: u64 = 32 << 20;

/// A part of a file, or all of it.
pub(super) struct Part {
    pub(super) head: DownloadHead,
    /// Its bytes, one piece behind the other; None where they are more than were wanted.
    pub(super) content: Option<Vec<Bytes>>,
    /// The digest of the whole file that stands behind them; that of the head where there is no content.
    pub(super) digest: Option<Digest>,
}

/// Asks for what `request` names, and takes it if it is no more than `most` bytes. Tells `heard` of bytes as they arrive.
pub(super) async fn part(
    session: &Session,
    lease: &Lease,
    request: DownloadRequest,
    most: u64,
    heard: impl Fn(u64),
) -> Result<Part, AttemptError> {
    let (head, answer) = exchange::download(session, lease, request).await?;
    heard(0);
    let Ok(range) = head.range.within(head.size) else {
        return Err(AttemptError::Protocol("the head names no part of the file".to_owned()));
    };
    if range.end - range.start > most || head.live {
        answer.stop();
        return Ok(Part { digest: head.digest, head, content: None });
    }
    let layout = Layout::new(&range, &head.holes);
    let mut body = answer.into_body(layout.length());
    let content = collect_into(&mut body, &layout, &head.holes, |bytes| {
        session.note_progress();
        heard(bytes);
    })
    .await?;
    let trailer = exchange::trailer(&body.into_trailer()?, &head)?;
    Ok(Part { head, content: Some(content), digest: Some(trailer.digest) })
}

/// The digest of what the server has, if `head` does not have it.
pub(super) async fn digest(
    session: &Session,
    lease: &Lease,
    request: DownloadRequest,
    head: &DownloadHead,
) -> Result<Digest, AttemptError> {
    if let Some(digest) = head.digest {
        return Ok(digest);
    }
    let request = DownloadRequest { if_match: Some(head.etag.clone()), ..request };
    let (head, answer) = exchange::probe(session, lease, request).await?;
    exchange::trailing_digest(answer, head.hash).await
}

/// The digest and the chunk map of what the server has; no map from one that makes none.
///
/// # Errors
/// [`AttemptError::Protocol`] too where the map is none, or that of something else than the head says.
pub(super) async fn evidence(
    session: &Session,
    lease: &Lease,
    request: DownloadRequest,
    head: &DownloadHead,
) -> Result<(Digest, Option<ChunkMap>), AttemptError> {
    let (filename, priority) = (request.filename.clone(), request.priority);
    let wanted = ChunkMapRequest { filename, if_match: Some(head.etag.clone()), priority };
    let patience = MAP_PATIENCE + Duration::from_secs(head.size / SLOWEST_MAP);
    let map = match timeout(patience, delta::chunk_map(session, lease, wanted, head.size)).await {
        Ok(Ok((of, bytes))) => {
            let map = blocking(move || Ok(ChunkMap::decode(&bytes))).await?;
            let map = map.map_err(|error| AttemptError::Protocol(error.to_string()))?;
            if of.etag != head.etag || of.size != head.size || map.size() != head.size {
                return Err(AttemptError::Protocol("the chunk map is that of another version".to_owned()));
            }
            Some(map)
        }
        // One that makes no maps, or is in no mood to.
        Ok(Err(AttemptError::Remote(error))) => {
            tracing::debug!(%error, "a mirror gives no chunk map");
            None
        }
        Ok(Err(error)) => return Err(error),
        Err(_) => None,
    };
    let in_map = map.as_ref().map(ChunkMap::whole);
    let digest = match in_map.filter(|digest| head.hash == HashKind::Sha256 && digest.kind() == head.hash) {
        Some(in_map) if head.digest.is_some_and(|digest| digest != in_map) => {
            return Err(AttemptError::Protocol("the chunk map names another digest than the head".to_owned()));
        }
        Some(in_map) => in_map,
        None => digest(session, lease, request, head).await?,
    };
    Ok((digest, map))
}
