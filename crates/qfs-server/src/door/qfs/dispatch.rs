//! One stream: reads the request, finds the handler, makes an error of what fails.

use std::time::Duration;

use bytes::Bytes;
use qfs_core::body::{Answer, Share};
use qfs_core::framing::{FrameError, announced_length, read_frame};
use qfs_core::store::WriteStore;
use qfs_core::stream::{ByteSink, ChunkSource, StreamError};
use qfs_core::wire::{DecodeError, FRAME_PREFIX_BYTES, Request, StatusCode};
use qfs_transport::{RequestReader, Source};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

use super::handler::{self, Ledger, Origin, Path, Reply};
use crate::config::Limits;
use crate::deliveries::Delivery;
use crate::error::HandlerError;
use crate::gate::access::Access;
use crate::gate::audit::Answered;
use crate::gate::patience::Progress;
use crate::gate::rights::Right;
use crate::pace::Paced;
use crate::service::Service;

/// The request half of a stream.
pub(crate) trait RequestSource: AsyncRead + Unpin + Send {
    /// What follows the request.
    type Rest: ChunkSource;

    /// Goes on behind the request; offsets count from the start of the stream.
    fn into_rest(self) -> Self::Rest;

    /// Tells the client that no more is read.
    fn stop(&mut self, code: StatusCode);
}

impl RequestSource for RequestReader {
    type Rest = Source;

    fn into_rest(self) -> Source {
        self.into_source()
    }

    fn stop(&mut self, code: StatusCode) {
        RequestReader::stop(self, code);
    }
}

/// The request itself is short and bounded, and not held up; what follows it is.
impl<R: RequestSource> RequestSource for Paced<R> {
    type Rest = Paced<R::Rest>;

    fn into_rest(self) -> Self::Rest {
        self.map(R::into_rest)
    }

    fn stop(&mut self, code: StatusCode) {
        self.inner_mut().stop(code);
    }
}

/// What the streams of one connection share among them.
#[derive(Debug)]
pub(crate) struct Quota {
    reading: Semaphore,
    commands: Semaphore,
    /// For answers that wait until something is known of the path.
    notes: Semaphore,
    share: Share,
}

/// Requests for a note about the path that may wait on one connection.
const NOTES_PER_CONNECTION: usize = 1;

impl Quota {
    /// What `limits` give a connection, with `share` for what is read.
    pub(crate) fn new(limits: &Limits, share: Share) -> Self {
        Self {
            reading: Semaphore::new(limits.requests_per_connection),
            commands: Semaphore::new(limits.commands_per_connection),
            notes: Semaphore::new(NOTES_PER_CONNECTION),
            share,
        }
    }
}

/// What became of a command, for the log.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The request as far as it was understood.
    pub(crate) request: Option<Request>,
    /// The id of the token that let it in.
    pub(crate) token: Option<String>,
    /// Bytes of the file that were handed out, by a `download` or a `download_ranges`.
    pub(crate) handed_out: u64,
    /// What became of the files of a `download_many`, as far as it got.
    pub(crate) answered: Vec<Answered>,
    /// The files of an `upload_many` and what became of them, as far as it got.
    pub(crate) uploaded: Ledger,
    /// Why it failed.
    pub(crate) error: Option<HandlerError>,
}

impl Outcome {
    /// The command and the name it is about, as the client sent it.
    pub(crate) fn describe(&self) -> (&str, &str) {
        match &self.request {
            Some(request) => (request.command(), request.filename().unwrap_or_default()),
            None => ("none", ""),
        }
    }

    /// What was handed out, as far as it got.
    pub(crate) fn delivered(&self) -> impl Iterator<Item = Delivery<'_>> {
        let one = match &self.request {
            Some(Request::Download(download)) => Some(&download.filename),
            Some(Request::DownloadRanges(ranges)) => Some(&ranges.filename),
            _ => None,
        };
        let bytes = self.handed_out;
        // Nothing is all of an empty file, but only where all went well.
        let one = one.filter(|_| bytes > 0 || self.error.is_none());
        let is_many = matches!(self.request, Some(Request::DownloadMany(_)));
        let many = self.many().filter(move |(_, answered)| is_many && answered.code == StatusCode::OK);
        let one = one.map(|name| Delivery { name, bytes });
        one.into_iter().chain(many.map(|(name, answered)| Delivery { name, bytes: answered.bytes }))
    }

    /// The names that a command about many files is about, as the client sent them, and what became of each as far as it got.
    pub(crate) fn many(&self) -> impl Iterator<Item = (&str, Answered)> {
        let files = match &self.request {
            Some(Request::DownloadMany(many)) => &many.files[..],
            _ => &[],
        };
        let uploaded = self.uploaded.names.iter().zip(&self.uploaded.answered);
        files.iter().zip(&self.answered).chain(uploaded).map(|(name, answered)| (name.as_str(), *answered))
    }
}

/// Serves one stream to its end. `heard` is called when a request came in time, a bad one included.
pub(crate) async fn serve<S: WriteStore, K: ByteSink, P: Progress + Path, R: RequestSource>(
    service: &Service<S>,
    quota: &Quota,
    reply: &mut Reply<K, P>,
    mut source: R,
    heard: impl FnOnce(),
) -> Outcome {
    let mut outcome = Outcome {
        request: None,
        token: None,
        handed_out: 0,
        answered: Vec::new(),
        uploaded: Ledger::default(),
        error: None,
    };
    let result = match read_request(service, quota, &mut source).await {
        Ok(asked) => {
            heard();
            outcome.token = asked.access.token_id();
            outcome.request = Some(asked.request.clone());
            let access = asked.access.clone();
            // A token that is revoked ends what it was good for.
            tokio::select! {
                biased;
                result = answer(service, quota, reply, asked, source, &mut outcome) => result,
                () = access.withdrawn() => Err(HandlerError::Denied),
            }
        }
        Err(error) => {
            match error.status() {
                Some(code @ (StatusCode::TIMEOUT | StatusCode::TOO_LARGE)) => source.stop(code),
                _ => heard(),
            }
            Err(error)
        }
    };
    if let Err(error) = result {
        reply.fail(&error).await;
        outcome.error = Some(error);
    }
    reply.delivered().await;
    outcome
}

/// A request up to this many bytes is read at once; nearly all are.
const SHORT_REQUEST_BYTES: usize = 4 << 10;

/// Reads a request within its two deadlines: one from now on, one from its first byte on (PROTOCOL §1.5). Who asks is settled before
/// what is asked: a stranger does not even learn which commands there are (PROTOCOL §2.7).
async fn read_request<S>(
    service: &Service<S>,
    quota: &Quota,
    source: &mut impl RequestSource,
) -> Result<Asked, HandlerError> {
    let deadlines = service.deadlines();
    let latest = Instant::now() + deadlines.request;
    let late = |_| HandlerError::RequestTimeout;
    let mut prefix = [0; FRAME_PREFIX_BYTES];
    let begin = async {
        let permit = quota.reading.acquire().await;
        source.read(&mut prefix[..1]).await.map(|read| (read, permit))
    };
    let (read, _reading) = timeout_at(latest, begin).await.map_err(late)?.map_err(FrameError::Io)?;
    if read == 0 {
        return Err(FrameError::End.into());
    }
    let latest = latest.min(Instant::now() + deadlines.request_begun);
    let payload = timeout_at(latest, read_begun(&service.long_requests, prefix, source)).await.map_err(late)??;
    let access = service.gate.admit(&payload)?;
    let length = (FRAME_PREFIX_BYTES + payload.len()) as u64;
    Ok(Asked { access, request: Request::decode(&payload)?, length })
}

/// A request, and what whoever sent it may do.
struct Asked {
    access: Access,
    request: Request,
    /// Bytes of its frame: what follows begins there.
    length: u64,
}

/// Reads the frame whose first byte is in `prefix`; a long one once there is a permit for its memory.
async fn read_begun(
    long: &Semaphore,
    mut prefix: [u8; FRAME_PREFIX_BYTES],
    source: &mut impl RequestSource,
) -> Result<Bytes, FrameError> {
    let mut filled = 1;
    while filled < FRAME_PREFIX_BYTES {
        match source.read(&mut prefix[filled..]).await? {
            0 => return Err(FrameError::Truncated),
            read => filled += read,
        }
    }
    // Closed semaphores there are none.
    let _permit = if announced_length(prefix)? > SHORT_REQUEST_BYTES { long.acquire().await.ok() } else { None };
    read_frame(&mut prefix.chain(source)).await
}

/// Waits for a turn and runs the handler.
async fn answer<S: WriteStore, K: ByteSink, P: Progress + Path, R: RequestSource>(
    service: &Service<S>,
    quota: &Quota,
    reply: &mut Reply<K, P>,
    asked: Asked,
    source: R,
    outcome: &mut Outcome,
) -> Result<(), HandlerError> {
    if service.is_draining() {
        return Err(HandlerError::ShuttingDown);
    }
    let Asked { access, request, length } = asked;
    if let Request::PathNote(note) = request {
        let _waiting = quota.notes.try_acquire().map_err(|_| HandlerError::Busy)?;
        return handler::path_note(reply, note, service.drain.subscribe()).await;
    }
    let _turn = wait_for(&quota.commands, reply, None).await?;
    let _command = wait_for(&service.commands, reply, Some(service.deadlines().queue)).await?;
    if reads(&request) && !access.reads() {
        return Err(HandlerError::Forbidden(Right::Read));
    }
    let reads_too = access.reads();
    let (view, share) = (service.view(access), &quota.share);
    let rest = || Answer::continued(source.into_rest(), length);
    match request {
        Request::GetFilesList(list) => handler::list(service, &view, share, reply, list).await,
        Request::Download(download) => {
            handler::download(service, &view, share, reply, download, &mut outcome.handed_out).await
        }
        Request::DownloadMany(many) => {
            handler::download_many(service, &view, share, reply, many, &mut outcome.answered).await
        }
        Request::GetIdentity(_) => handler::identity(&service.announcer, reply).await,
        Request::Upload(upload) => {
            reply.fail_by_message();
            let origin = Origin { token: outcome.token.as_deref(), reads: reads_too, stall: service.deadlines().stall };
            handler::upload(service, &view, share, reply, upload, origin, rest()).await
        }
        Request::UploadMany(many) => {
            let (stall, ledger) = (service.deadlines().stall, &mut outcome.uploaded);
            handler::upload_many(service, &view, share, reply, many, stall, rest(), ledger).await
        }
        Request::Copy(copy) => handler::copy(service, &view, reply, copy).await,
        Request::Remove(remove) => handler::remove(&view, reply, remove).await,
        Request::MakeDirectory(make) => handler::make_directory(&view, reply, make).await,
        Request::MakeLink(make) => handler::make_link(&view, reply, make).await,
        Request::SetMetadata(set) => handler::set_metadata(&view, reply, set).await,
        Request::ChunkMap(map) => handler::chunk_map(service, &view, share, reply, map).await,
        Request::DownloadRanges(ranges) => {
            handler::download_ranges(service, &view, share, reply, ranges, &mut outcome.handed_out).await
        }
        Request::Measure(_) => handler::measure(reply, rest(), service.deadlines().stall).await,
        other => Err(DecodeError::UnknownCommand(other.command().to_owned()).into()),
    }
}

/// Whether it is read that is asked for.
fn reads(request: &Request) -> bool {
    matches!(
        request,
        Request::GetFilesList(_)
            | Request::Download(_)
            | Request::DownloadMany(_)
            | Request::ChunkMap(_)
            | Request::DownloadRanges(_)
    )
}

/// One of `permits`, unless the client gives up or `patience` ends first.
async fn wait_for<'a, K: ByteSink>(
    permits: &'a Semaphore,
    sink: &mut K,
    patience: Option<Duration>,
) -> Result<SemaphorePermit<'a>, HandlerError> {
    if let Ok(permit) = permits.try_acquire() {
        return Ok(permit);
    }
    let permit = async {
        match patience {
            Some(patience) => timeout(patience, permits.acquire()).await.map_err(|_| HandlerError::Busy)?,
            None => permits.acquire().await,
        }
        .map_err(|_| HandlerError::ShuttingDown)
    };
    tokio::select! {
        permit = permit => permit,
        () = sink.stopped() => Err(StreamError::Stopped(StatusCode::CANCELLED).into()),
    }
}
