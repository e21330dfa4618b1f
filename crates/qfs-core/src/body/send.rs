//! Store → stream.

use std::ops::Range;
use std::sync::Arc;

use super::{Reservation, Share, Turn};
use crate::model::{Digest, HashKind, Holes, RemotePath};
use crate::offload::Offloaded;
use crate::store::{BLOCK_BYTES, Store, StoreError, Version, Versions};
use crate::stream::{ByteSink, StreamError};
use bytes::Bytes;

/// A body up to this many bytes is read, hashed and checked in the same step that opens its file.
pub const SMALL_BODY_BYTES: u64 = BLOCK_BYTES;

/// Why a body could not be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The object failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stream failed.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// An opened version; a small one is read already.
pub struct Opened {
    /// The version.
    pub version: Arc<Version>,
    /// All of it, when it is small: read, hashed, and checked to be of one version.
    pub content: Option<Bytes>,
}

impl Opened {
    /// The digest of the whole, when it is known by now.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.version.known_digest()
    }
}

/// Opens `path` for its SHA-256, on a thread for blocking work.
///
/// # Errors
/// As [`Store::open`].
pub async fn open<S: Store>(versions: &Arc<Versions<S>>, path: RemotePath) -> Result<Opened, StoreError> {
    open_as(versions, path, HashKind::Sha256).await
}

/// Opens `path` for its digest of `kind`, on a thread for blocking work.
///
/// # Errors
/// As [`Store::open`].
pub async fn open_as<S: Store>(
    versions: &Arc<Versions<S>>,
    path: RemotePath,
    kind: HashKind,
) -> Result<Opened, StoreError> {
    let threads = versions.threads().clone();
    let versions = Arc::clone(versions);
    threads
        .run(move || {
            let version = versions.open_as(&path, kind)?;
            let content = match version.meta().size {
                size if size > SMALL_BODY_BYTES => None,
                0 => Some(Bytes::new()),
                _ => Some(version.block(0)?),
            };
            if content.is_some() {
                // Also hashes an empty file, which has no block that would.
                version.digest()?;
                version.ensure_unchanged()?;
            }
            Ok(Opened { version: Arc::new(version), content })
        })
        .await
}

/// Sends bytes `range` of `version`, the next block always being read while one is sent, then makes sure that all of it is of
/// one version.
///
/// # Errors
/// [`SendError::Store`] when the file cannot be read or changed, [`SendError::Stream`] when nobody listens any more.
pub async fn send<K: ByteSink>(sink: &mut K, version: &Arc<Version>, range: Range<u64>) -> Result<(), SendError> {
    send_within(sink, version, range, &Share::unlimited(), None).await
}

/// As [`send`], with what is read and not yet acknowledged taken out of `share`; `first` is room for a block that the caller
/// has reserved already.
///
/// # Errors
/// As [`send`].
pub async fn send_within<K: ByteSink>(
    sink: &mut K,
    version: &Arc<Version>,
    range: Range<u64>,
    share: &Share,
    first: Option<Reservation>,
) -> Result<(), SendError> {
    send_around(sink, version, range, &Holes::default(), share, first).await
}

/// As [`send_within`], without what of the range lies in `holes`, which is neither read nor sent nor takes room.
///
/// # Errors
/// As [`send`].
pub async fn send_around<K: ByteSink>(
    sink: &mut K,
    version: &Arc<Version>,
    range: Range<u64>,
    holes: &Holes,
    share: &Share,
    first: Option<Reservation>,
) -> Result<(), SendError> {
    let mut pieces = holes.data(&range).into_iter().flat_map(in_blocks);
    let mut next = pieces.next();
    let mut ahead = match (first, &next) {
        (Some(room), Some(piece)) => Some(read_ahead(version, piece.clone(), room, share.turn().await)),
        _ => None,
    };
    while let Some(piece) = next {
        let reading = match ahead.take() {
            Some(reading) => reading,
            // Waits for room only while it holds nothing itself.
            None => {
                let room = share.reserve(BLOCK_BYTES as usize).await;
                read_ahead(version, piece, room, share.turn().await)
            }
        };
        let part = reading.await?;
        next = pieces.next();
        if let Some(piece) = &next {
            let turn = share.quick_turn();
            let room = turn.and_then(|turn| Some((share.try_reserve(BLOCK_BYTES as usize)?, turn)));
            ahead = room.map(|(room, turn)| read_ahead(version, piece.clone(), room, turn));
        }
        sink.send(part).await?;
    }
    let threads = version.threads().clone();
    let version = Arc::clone(version);
    threads.run(move || version.ensure_unchanged()).await?;
    Ok(())
}

/// A part of a block: its number, and where the part lies in it.
type Piece = (u64, Range<usize>);

/// The parts of the blocks that `data` lies in.
fn in_blocks(data: Range<u64>) -> impl Iterator<Item = Piece> {
    (data.start / BLOCK_BYTES..data.end.div_ceil(BLOCK_BYTES)).map(move |index| {
        let block = index * BLOCK_BYTES;
        // Both differences are at most the length of a block.
        let start = data.start.saturating_sub(block) as usize;
        (index, start..(data.end - block).min(BLOCK_BYTES) as usize)
    })
}

/// A part up to this length has a buffer of its own: as a part of its block it would hold all of the block in memory.
const COPIED_BYTES: usize = BLOCK_BYTES as usize / 4;

fn read_ahead(version: &Arc<Version>, piece: Piece, mut room: Reservation, turn: Turn) -> Offloaded<Bytes> {
    let threads = version.threads().clone();
    let version = Arc::clone(version);
    threads.run(move || {
        // Given back when this is done.
        let _turn = turn;
        let (index, place) = piece;
        if place.len() <= COPIED_BYTES {
            let part = version.part(index, place)?;
            room.shrink(part.len());
            return Ok(room.attach(part));
        }
        let block = version.block(index)?;
        // The version ended sooner than it said when it was opened.
        let part = block.get(place).ok_or(StoreError::Changed)?;
        Ok(room.attach(block.slice_ref(part)))
    })
}
