//! One file to wherever its bytes are wanted, in order, and verified when the last of them is out.

use bytes::Bytes;
use qfs_core::body::Answer;
use qfs_core::model::{ByteRange, Digest, ETag, Hasher};
use qfs_core::wire::{DownloadHead, DownloadRequest, StatusCode};
use tokio::sync::mpsc;

use super::live::explained;
use crate::error::{AttemptError, Failure};
use crate::session::{Lease, Patience, Session, Stay, Tries, exchange};

/// Bytes handed on at once.
const PIECE_BYTES: u64 = 256 << 10;

/// What of a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it, as long as it is when it is opened, though it may be appended to meanwhile.
    Live,
    /// A range.
    Range(ByteRange),
    /// As many of the last bytes.
    Last(u64),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poured {
    /// Bytes handed on.
    pub bytes: u64,
    /// The file's digest, of the kind that the session asks for where the server knows it; None when only a part was wanted, or nobody took the rest.
    pub digest: Option<Digest>,
}

/// Sends the bytes of `name` to `out`, in order, and ends early when nobody takes them. A connection that is lost is made anew, and
/// the same version goes on where it was; of a live file that had begun, there is none to go on with.
///
/// # Errors
/// [`Failure::DigestMismatch`] when what was handed on is not what the server says the file is; [`Failure`] as ever.
pub async fn cat(session: &Session, name: &str, part: Part, out: &mpsc::Sender<Bytes>) -> Result<Poured, Failure> {
    let mut pouring = Pouring {
        session,
        name,
        part,
        version: None,
        is_live: false,
        hasher: Hasher::new(),
        position: 0,
        end: 0,
        start: 0,
    };
    let mut tries = Tries::new(session);
    loop {
        match pouring.attempt(&tries.lease, out).await {
            Ok(digest) => return Ok(Poured { bytes: pouring.position - pouring.start, digest }),
            Err(AttemptError::DigestMismatch { got, expected }) => {
                return Err(Failure::DigestMismatch { got, expected });
            }
            // What is out cannot be taken back: another version is none to begin with, and a live file has none to go on with.
            Err(error @ AttemptError::Remote(_)) if pouring.position > pouring.start && pouring.is_over(&error) => {
                return Err(pouring.explained(error.into_failure()));
            }
            Err(error @ AttemptError::Lost(_)) if pouring.is_live && pouring.position > 0 => {
                return Err(error.into_failure());
            }
            Err(error) => {
                if pouring.is_live {
                    pouring.version = None;
                }
                tries.after(error).await.map_err(|failure| pouring.explained(failure))?;
            }
        }
    }
}

struct Pouring<'a> {
    session: &'a Session,
    name: &'a str,
    part: Part,
    /// The version that is handed on, and its size, once it is known.
    version: Option<(ETag, u64)>,
    /// Whether it is served as long as it was when it was opened.
    is_live: bool,
    hasher: Hasher,
    /// Handed on up to here.
    position: u64,
    start: u64,
    end: u64,
}

impl Pouring<'_> {
    async fn attempt(&mut self, lease: &Lease, out: &mpsc::Sender<Bytes>) -> Result<Option<Digest>, AttemptError> {
        if let (None, Part::Last(bytes)) = (&self.version, self.part) {
            let head = exchange::head(self.session, lease, self.request(0, None)).await?;
            self.begin(head.etag, head.size, head.size.saturating_sub(bytes)..head.size);
        }
        let (from, to) = match (&self.version, self.part) {
            (Some(_), _) => (self.position, Some(self.end)),
            (None, Part::Range(range)) => (range.start, range.end),
            (None, Part::Last(_) | Part::Live) => (0, None),
        };
        let asked = exchange::download(self.session, lease, self.request(from, to)).await;
        let (head, mut answer) = match asked {
            // An end behind that of the file means its end, as elsewhere.
            Err(AttemptError::Remote(error)) if error.code == StatusCode::BAD_RANGE && to.is_some() => {
                exchange::download(self.session, lease, self.request(from, None)).await?
            }
            asked => asked?,
        };
        if self.version.is_none() {
            let end = to.map_or(head.size, |to| to.min(head.size));
            self.begin(head.etag.clone(), head.size, from..end);
        }
        self.is_live = head.live;
        // What is out cannot be taken back, and there is no version to go on with.
        let _staying = head.live.then(|| self.session.stay(lease, Stay::ToTheEnd)).transpose()?;
        if self.position == self.start {
            self.hasher = Hasher::of_kind(head.hash);
        }
        while self.position < self.end {
            let length = PIECE_BYTES.min(self.end - self.position);
            let piece = answer.next_bytes(length as usize).await?;
            self.session.note_progress();
            self.hasher.update(&piece);
            if out.send(piece).await.is_err() {
                answer.stop();
                return Ok(None);
            }
            self.position += length;
        }
        let whole = self.version.as_ref().is_some_and(|(_, size)| self.start == 0 && self.end == *size);
        if !whole || head.range.end.unwrap_or(head.size) != self.end {
            exchange::ensure_one_version(self.session, lease, self.name, (&head, answer), self.end).await?;
            return Ok(None);
        }
        self.compare(answer, &head).await.map(Some)
    }

    fn begin(&mut self, etag: ETag, size: u64, range: std::ops::Range<u64>) {
        self.version = Some((etag, size));
        (self.start, self.position, self.end) = (range.start, range.start, range.end);
    }

    /// Whether there is nothing to go on with behind `error`.
    fn is_over(&self, error: &AttemptError) -> bool {
        self.is_live || matches!(error, AttemptError::Remote(error) if error.code == StatusCode::CHANGED)
    }

    /// `failure`, where it has to do with it, in terms of what was asked and what was served.
    fn explained(&self, failure: Failure) -> Failure {
        explained(failure, self.part == Part::Live, self.is_live)
    }

    fn request(&self, start: u64, end: Option<u64>) -> DownloadRequest {
        // A version that goes on is none that is live.
        let live = self.part == Part::Live && self.version.is_none();
        DownloadRequest {
            filename: self.name.to_owned(),
            live,
            range: (!live).then_some(ByteRange { start, end }),
            if_match: self.version.as_ref().map(|(etag, _)| etag.clone()),
            ..DownloadRequest::default()
        }
    }

    async fn compare(&self, mut answer: Answer<Patience>, head: &DownloadHead) -> Result<Digest, AttemptError> {
        let trailer = exchange::trailer(&answer.next_frame().await?, head)?;
        let (got, expected) = (self.hasher.clone().finish(), trailer.digest);
        if got == expected { Ok(got) } else { Err(AttemptError::DigestMismatch { got, expected }) }
    }
}
