//! One version of a file on the server, read in parts into memory. Versions are never mixed: once the file has changed, reading fails.

use bytes::{Bytes, BytesMut};
use qfs_core::model::{ByteRange, RemotePath};
use qfs_core::wire::{DownloadHead, DownloadRequest};

use super::probe::probe;
use crate::error::{AttemptError, Failure};
use crate::session::{Lease, Session, Tries, exchange};

/// Most bytes taken from the connection at once.
const PIECE_BYTES: u64 = 256 << 10;

/// An open file on the server; cheap to clone, and may be read in several places at once.
#[derive(Clone)]
pub struct RemoteFile {
    session: Session,
    path: RemotePath,
    head: DownloadHead,
}

impl RemoteFile {
    /// Opens `path` in the version that is there now.
    ///
    /// # Errors
    /// [`Failure::Refused`] with `not_found`, also for a directory; other kinds as ever.
    pub async fn open(session: &Session, path: &RemotePath) -> Result<Self, Failure> {
        let request = DownloadRequest { filename: path.as_str().to_owned(), ..DownloadRequest::default() };
        let (head, _) = probe(session, &request, false).await?;
        Ok(Self { session: session.clone(), path: path.clone(), head })
    }

    /// Its name.
    #[must_use]
    pub fn path(&self) -> &RemotePath {
        &self.path
    }

    /// What the server said of it when it was opened: size, modification time, version, and its digest where that was known.
    #[must_use]
    pub fn head(&self) -> &DownloadHead {
        &self.head
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.head.size
    }

    /// The bytes from `offset` on, `length` of them or as many as there are before the end. A connection that is lost is made anew, and
    /// only what is missing is asked for again.
    ///
    /// The bytes are as the server read them and as encryption protects them on the way; only a digest of the whole file could tell
    /// whether they are what was once put there.
    ///
    /// # Errors
    /// [`Failure::Changed`] when the file is no longer this version; other kinds as ever.
    pub async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, Failure> {
        let end = offset.saturating_add(length as u64).min(self.head.size);
        if offset >= end {
            return Ok(Bytes::new());
        }
        // Memory grows with what arrives: the size is what the server says.
        let mut read = BytesMut::with_capacity((end - offset).min(4 * PIECE_BYTES) as usize);
        let mut tries = Tries::new(&self.session);
        loop {
            match self.attempt(&tries.lease, offset, end, &mut read).await {
                Ok(()) => return Ok(read.freeze()),
                Err(error) => tries.after(error).await?,
            }
        }
    }

    async fn attempt(&self, lease: &Lease, offset: u64, end: u64, read: &mut BytesMut) -> Result<(), AttemptError> {
        let position = |read: &BytesMut| offset + read.len() as u64;
        let request = DownloadRequest {
            filename: self.path.as_str().to_owned(),
            range: Some(ByteRange { start: position(read), end: Some(end) }),
            if_match: Some(self.head.etag.clone()),
            ..DownloadRequest::default()
        };
        let (head, mut answer) = exchange::download(&self.session, lease, request).await?;
        while position(read) < end {
            let length = PIECE_BYTES.min(end - position(read));
            read.extend_from_slice(&answer.next_bytes(length as usize).await?);
            self.session.note_progress();
        }
        exchange::ensure_one_version(&self.session, lease, self.path.as_str(), (&head, answer), end).await
    }
}
