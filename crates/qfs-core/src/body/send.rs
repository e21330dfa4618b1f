//! Store → stream.

use std::ops::Range;
use std::sync::Arc;

use super::{Reservation, Share};
use crate::model::{Digest, RemotePath};
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

/// Opens `path`, on a thread for blocking work.
///
/// # Errors
/// As [`Store::open`].
pub async fn open<S: Store>(versions: &Arc<Versions<S>>, path: RemotePath) -> Result<Opened, StoreError> {
    let threads = versions.threads().clone();
    let versions = Arc::clone(versions);
    threads
        .run(move || {
            let version = versions.open(&path)?;
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
    let mut position = range.start;
    let mut ahead = match first {
        Some(room) if position < range.end => Some(read_ahead(version, position / BLOCK_BYTES, room)),
        _ => None,
    };
    while position < range.end {
        let index = position / BLOCK_BYTES;
        let reading = match ahead.take() {
            Some(reading) => reading,
            // Waits for room only while it holds nothing itself.
            None => read_ahead(version, index, share.reserve(BLOCK_BYTES as usize).await),
        };
        let block = reading.await?;
        let block_start = index * BLOCK_BYTES;
        let end = range.end.min(block_start + block.len() as u64);
        if (index + 1) * BLOCK_BYTES < range.end {
            ahead = share.try_reserve(BLOCK_BYTES as usize).map(|room| read_ahead(version, index + 1, room));
        }
        // Both differences are at most the length of a block.
        let part = (position - block_start) as usize..(end - block_start) as usize;
        sink.send(block.slice(part)).await?;
        position = end;
    }
    let threads = version.threads().clone();
    let version = Arc::clone(version);
    threads.run(move || version.ensure_unchanged()).await?;
    Ok(())
}

fn read_ahead(version: &Arc<Version>, index: u64, room: Reservation) -> Offloaded<Bytes> {
    let threads = version.threads().clone();
    let version = Arc::clone(version);
    threads.run(move || Ok(room.attach(version.block(index)?)))
}
