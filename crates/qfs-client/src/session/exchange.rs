//! One stream: a request and its answer.

use std::ops::ControlFlow;

use qfs_core::body::{Answer, ReceiveError, collect};
use qfs_core::framing::FrameError;
use qfs_core::model::{ByteRange, Digest, EntryMeta, HashKind, RemotePath};
use qfs_core::stream::StreamError;
use qfs_core::wire::{
    DownloadHead, DownloadManyRequest, DownloadRequest, IdentityHead, IdentityRequest, ListHead, ListPage, ListRequest,
    MAX_LIST_ENTRIES, ManyHead, Request, Trailer, TreeEntry, decode_response,
};

use serde::de::DeserializeOwned;

use super::handle::{Lease, Session};
use super::patience::{Patience, patiently};
use super::stay::Stay;
use super::tries::Tries;
use crate::error::{AttemptError, Failure};
use crate::trust::Known;

/// Sends `request` on a stream of its own, with the token: there is no session, and so no lease, before the key is trusted.
pub(crate) async fn ask(session: &Session, lease: &Lease, request: &Request) -> Result<Answer<Patience>, AttemptError> {
    let frame = request.encode_with(session.token()).map_err(|e| AttemptError::Protocol(e.to_string()))?;
    let asking = async {
        let (sink, source) = lease.connection.open_stream().await?;
        sink.send_request(frame).await?;
        Ok::<_, StreamError>(source)
    };
    Ok(Answer::new(Patience::new(patiently(session, asking).await?, session)))
}

/// Asks for a file and reads the head of the answer.
pub(crate) async fn download(
    session: &Session,
    lease: &Lease,
    request: DownloadRequest,
) -> Result<(DownloadHead, Answer<Patience>), AttemptError> {
    let (wanted, asked_for_holes, if_match) = (request.range, request.holes, request.if_match.clone());
    let request = DownloadRequest { hash: session.hash(), ..request };
    let mut answer = ask(session, lease, &Request::Download(request)).await?;
    let head: DownloadHead = decode_response(&answer.next_frame().await?)??;
    // The server is a stranger: nothing below may rely on what it says before it was checked.
    let served = head.range.within(head.size).ok();
    let asked = match wanted {
        Some(range) => range.within(head.size).ok(),
        None => Some(0..head.size),
    };
    let fits = served.is_some() && served == asked && head.size <= MAX_FILE_BYTES;
    let may_have_holes = asked_for_holes && !head.live;
    let holes_fit = head.holes.is_empty() || (may_have_holes && served.is_some_and(|s| head.holes.are_within(&s)));
    let digest_fits = head.digest.is_none_or(|digest| digest.kind() == head.hash);
    if !fits || !holes_fit || !digest_fits {
        return Err(AttemptError::Protocol("the head does not fit the request".to_owned()));
    }
    if if_match.is_some_and(|etag| etag != head.etag) {
        return Err(AttemptError::Protocol("another version than the one asked for".to_owned()));
    }
    agreed(session, head.hash)?;
    answer.source_mut().allow_digest(head.size);
    Ok((head, answer))
}

/// Asks for no bytes at all of what `request` names (PROTOCOL §4.2, "Probing"). Behind the head comes the digest of the whole, which the
/// server may have to read it for.
pub(crate) async fn probe(
    session: &Session,
    lease: &Lease,
    request: DownloadRequest,
) -> Result<(DownloadHead, Answer<Patience>), AttemptError> {
    let range = Some(ByteRange { start: 0, end: Some(0) });
    download(session, lease, DownloadRequest { range, ..request }).await
}

/// What the server has under a name, without any of it.
pub(crate) async fn head(
    session: &Session,
    lease: &Lease,
    request: DownloadRequest,
) -> Result<DownloadHead, AttemptError> {
    let (head, answer) = probe(session, lease, request).await?;
    answer.stop();
    Ok(head)
}

/// The trailer behind the body of the answer that `head` began.
pub(crate) fn trailer(payload: &[u8], head: &DownloadHead) -> Result<Trailer, AttemptError> {
    let trailer: Trailer = decode_response(payload)??;
    if trailer.digest.kind() != head.hash || head.digest.is_some_and(|digest| digest != trailer.digest) {
        return Err(AttemptError::Protocol("the trailer has another digest than the head".to_owned()));
    }
    Ok(trailer)
}

/// Makes sure that the part of `filename` that `answer` has brought, as far as `end`, is of one version. The digest of the whole is not
/// waited for, which the server may have to read the whole for: where it knows that, the trailer follows at once, else the version is asked
/// for once more (PROTOCOL §4.2).
pub(crate) async fn ensure_one_version(
    session: &Session,
    lease: &Lease,
    filename: &str,
    (head, mut answer): (&DownloadHead, Answer<Patience>),
    end: u64,
) -> Result<(), AttemptError> {
    if head.digest.is_some() && head.range.end.unwrap_or(head.size) == end {
        return trailer(&answer.next_frame().await?, head).map(drop);
    }
    answer.stop();
    let (filename, if_match) = (filename.to_owned(), Some(head.etag.clone()));
    self::head(session, lease, DownloadRequest { filename, if_match, ..DownloadRequest::default() }).await.map(drop)
}

/// Takes what the head of an answer says of its digests: they are those that were asked for, or SHA-256 from a server that does not
/// know them.
pub(crate) fn agreed(session: &Session, kind: HashKind) -> Result<HashKind, AttemptError> {
    if kind != session.hash() && !kind.is_default() {
        return Err(AttemptError::Protocol("digests that nobody asked for".to_owned()));
    }
    session.note_hash(kind);
    Ok(kind)
}

/// Asks for many small files and reads the head of the answer; records and bodies follow. Returns what the digests in them are.
pub(crate) async fn download_many(
    session: &Session,
    lease: &Lease,
    request: DownloadManyRequest,
) -> Result<(HashKind, Answer<Patience>), AttemptError> {
    let request = DownloadManyRequest { hash: session.hash(), ..request };
    let mut answer = ask(session, lease, &Request::DownloadMany(request)).await?;
    let head: ManyHead = decode_response(&answer.next_frame().await?)??;
    Ok((agreed(session, head.hash)?, answer))
}

/// The digest in the trailer of an answer without a body, whose head said that it is of `kind`.
pub(crate) async fn trailing_digest(answer: Answer<Patience>, kind: HashKind) -> Result<Digest, AttemptError> {
    let mut body = answer.into_body(0);
    collect(&mut body, |_| {}).await?;
    let trailer: Trailer = decode_response(&body.into_trailer()?)??;
    if trailer.digest.kind() == kind {
        Ok(trailer.digest)
    } else {
        Err(AttemptError::Protocol("the trailer has another digest than the head says".to_owned()))
    }
}

/// What the server announces on the connection in use (PROTOCOL §4.4).
pub(crate) async fn announced(session: &Session) -> Result<Known, AttemptError> {
    let lease = session.lease();
    let key = lease.connection.peer_fingerprint();
    let key = key.ok_or_else(|| AttemptError::Protocol("the server shows no key".to_owned()))?;
    let mut answer = ask(session, &lease, &Request::GetIdentity(IdentityRequest {})).await?;
    let head: IdentityHead = decode_response(&answer.next_frame().await?)??;
    let next = head.announced(key)?;
    match answer.next_frame().await {
        Err(ReceiveError::Frame(FrameError::End)) => Ok(Known { key, next }),
        Err(error) => Err(error.into()),
        Ok(_) => Err(AttemptError::Protocol("something follows the answer".to_owned())),
    }
}

/// Largest file that a client believes in, in bytes: what a file offset can hold (PROTOCOL §2.6).
pub(super) const MAX_FILE_BYTES: u64 = i64::MAX as u64;

/// Lists the server's files: `on_page` is given the rows as they arrive, in ascending order, and breaks to end early. Returns
/// how many rows there were.
///
/// A connection lost before the first row is made anew; later, rows already given out cannot be taken back, and the listing
/// goes on behind the last of them.
///
/// # Errors
/// [`Failure`].
pub async fn list(
    session: &Session,
    on_page: &mut (dyn FnMut(Vec<(RemotePath, EntryMeta)>) -> ControlFlow<()> + Send),
) -> Result<u64, Failure> {
    list_telling(session, on_page).await.map(|listed| listed.rows)
}

/// What a listing of files turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainListing {
    /// How many rows there were.
    pub rows: u64,
    /// Whether the server said that it could not read everything: what it lacks is not absent.
    pub is_partial: bool,
}

/// As [`list`], and tells whether the server could read everything, where it says so.
///
/// # Errors
/// [`Failure`].
pub async fn list_telling(
    session: &Session,
    on_page: &mut (dyn FnMut(Vec<(RemotePath, EntryMeta)>) -> ControlFlow<()> + Send),
) -> Result<PlainListing, Failure> {
    let request = ListRequest::default();
    let mut listing =
        Listing { request, last: None, rows: 0, is_tree: false, is_whole: true, is_partial: false, on_page };
    let rows = listing.whole(session).await?;
    Ok(PlainListing { rows, is_partial: listing.is_partial })
}

/// What a listing of a tree turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeListing {
    /// Whether the server knows how. Otherwise the rows are those of its files, wherever they lie.
    pub is_tree: bool,
    /// Whether these rows are all there is: the server could read everything, and told of it in one go. A listing that was cut off and
    /// continued may be of two states of the server, or of two servers, and a name that moved meanwhile is in neither part.
    pub is_whole: bool,
}

/// Lists everything below `prefix` with directories, links and versions, as [`list`].
///
/// # Errors
/// [`Failure`]; `not_found` when there is no such directory.
pub async fn tree(
    session: &Session,
    prefix: Option<&RemotePath>,
    on_page: &mut (dyn FnMut(Vec<(RemotePath, TreeEntry)>) -> ControlFlow<()> + Send),
) -> Result<TreeListing, Failure> {
    let prefix = prefix.map(|prefix| prefix.as_str().to_owned());
    let request = ListRequest { tree: true, prefix, ..ListRequest::default() };
    let mut listing =
        Listing { request, last: None, rows: 0, is_tree: false, is_whole: true, is_partial: false, on_page };
    listing.whole(session).await?;
    Ok(TreeListing { is_tree: listing.is_tree, is_whole: listing.is_whole })
}

struct Listing<'a, R> {
    request: ListRequest,
    last: Option<RemotePath>,
    rows: u64,
    is_tree: bool,
    is_whole: bool,
    /// Whether the server said that it could not read everything.
    is_partial: bool,
    on_page: &'a mut (dyn FnMut(Vec<(RemotePath, R)>) -> ControlFlow<()> + Send),
}

impl<R: DeserializeOwned> Listing<'_, R> {
    async fn whole(&mut self, session: &Session) -> Result<u64, Failure> {
        let mut tries = Tries::new(session);
        loop {
            match self.attempt(session, &tries.lease).await {
                Ok(()) => return Ok(self.rows),
                Err(error) => tries.after(error).await?,
            }
        }
    }

    async fn attempt(&mut self, session: &Session, lease: &Lease) -> Result<(), AttemptError> {
        let request = ListRequest { hash: session.hash(), ..self.request.clone() };
        let mut answer = ask(session, lease, &Request::GetFilesList(request)).await?;
        let head: ListHead = decode_response(&answer.next_frame().await?)??;
        agreed(session, head.hash)?;
        self.is_tree = head.tree;
        // Of two parts it would not be whole.
        let _staying = self.request.tree.then(|| session.stay(lease, Stay::WhileItWorks)).transpose()?;
        self.is_whole &= self.last.is_none();
        let mut previous = None;
        let mut served = 0;
        loop {
            let payload = answer.next_frame().await?;
            let mut page = ListPage::<R>::decode(&payload, previous.as_ref())?;
            session.note_progress();
            served += page.files.len() as u64;
            if served > MAX_LIST_ENTRIES {
                answer.stop();
                return Err(AttemptError::Protocol("the listing does not end".to_owned()));
            }
            if let Some((name, _)) = page.files.last() {
                previous = Some(name.clone());
            }
            let end = page.end;
            // On a further attempt, rows given out before come again.
            if let Some(last) = &self.last {
                page.files.retain(|(name, _)| name > last);
            }
            self.rows += page.files.len() as u64;
            if previous > self.last {
                self.last.clone_from(&previous);
            }
            if (self.on_page)(page.files).is_break() {
                answer.stop();
                return Ok(());
            }
            if let Some(end) = end {
                self.is_whole &= !end.partial;
                self.is_partial = end.partial;
                if end.count != served {
                    return Err(AttemptError::Protocol("the listing is not whole".to_owned()));
                }
                return Ok(());
            }
        }
    }
}
