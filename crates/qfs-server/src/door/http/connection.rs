//! One client over TCP: HTTP/1.1 or 2, its deadlines, and its end when the server drains.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use qfs_core::store::WriteStore;
use qfs_core::stream::StreamError;
use qfs_core::wire::StatusCode as Code;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::ask::RequestBody;
use super::client::Client;
use super::exchange;
use super::flow::{Counted, Flow, Unblocked};
use super::reply::{Gone, Outlet, Reply};
use crate::door::newcomer::Newcomer;
use crate::gate::audit::Refusal;
use crate::gate::patience::Patience;
use crate::service::Service;

/// Requests of one HTTP/2 connection under way at once. Browsers ask for some dozen.
const MAX_STREAMS: u32 = 128;

/// Most bytes of all the headers of a request, its target included. A name has up to 4 KiB, three times as much when it is encoded.
pub(super) const MAX_HEADER_BYTES: usize = 32 << 10;

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// Bytes that are taken from an answer before the client takes them, for each stream.
const SEND_BUFFER_BYTES: usize = 256 << 10;

/// Streams that a client reset before they were looked at; one more ends the connection (CVE-2023-44487).
const MAX_RESET_UNSEEN: usize = 20;

/// Streams of a client that were reset because they broke the protocol; one more ends the connection.
const MAX_RESET_HERE: usize = 64;

/// A connection on which nothing is under way ends after this time. A new one costs a client a round trip or two.
const IDLE: Duration = Duration::from_secs(60);

/// A client that is owed no answer has this long to take what it is told.
const FAREWELL: Duration = Duration::from_secs(5);

/// How many times as long as a client may take nothing its farewell may last: 256 KiB of an answer that it takes slowly.
const LONGEST_FAREWELL: u32 = 4;

/// How often a connection is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Serves a client that speaks HTTP/1.1.
pub(crate) async fn serve_h1<S: WriteStore>(service: Arc<Service<S>>, newcomer: Newcomer) {
    let builder = Builder::new(TokioExecutor::new()).http1_only();
    serve(service, newcomer, "http/1.1", builder).await;
}

/// Serves a client that speaks HTTP/2.
pub(crate) async fn serve_h2<S: WriteStore>(service: Arc<Service<S>>, newcomer: Newcomer) {
    let builder = Builder::new(TokioExecutor::new()).http2_only();
    serve(service, newcomer, "h2", builder).await;
}

async fn serve<S: WriteStore>(
    service: Arc<Service<S>>,
    newcomer: Newcomer,
    door: &'static str,
    mut builder: Builder<TokioExecutor>,
) {
    let Newcomer { peer, port, stream, deadline, admitted: _admitted } = newcomer;
    let certificate = stream.peer_certificate().map(|certificate| certificate.to_string());
    let client = Client::new(&service, (door, "tcp"), peer, port, certificate);
    let (stream, flow) = Counted::new(stream);
    builder
        .http1()
        .timer(TokioTimer::new())
        // Also the time that a connection is kept for a next request.
        .header_read_timeout(service.deadlines().request)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(MAX_RESET_UNSEEN)
        .max_local_error_reset_streams(MAX_RESET_HERE);
    let answer = service_fn(|request| answer(Arc::clone(&service), Arc::clone(&client), flow.clone(), request));
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), answer));
    let ended = {
        let mut watch = std::pin::pin!(watch(&service, &client, &flow, deadline));
        let mut drain = service.drain.subscribe();
        let mut draining = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => break Ok(ended),
                end = watch.as_mut() => break Err(end),
                _ = drain.wait_for(|draining| *draining), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    };
    let end = match ended {
        Ok(Ok(())) => return client.visit().end("done"),
        Ok(Err(error)) => return client.visit().end(&error.to_string()),
        Err(end) => end,
    };
    client.visit().end(end.reason());
    if !client.is_idle() {
        return;
    }
    // Tells the client, which goes on being answered until it has heard that.
    connection.as_mut().graceful_shutdown();
    if end != End::Idle || !client.is_heard() {
        let _ = timeout(FAREWELL, connection).await;
        return;
    }
    // Waits until it has taken what was handed over, or takes nothing. What is answered to its pings counts as taken, so that there is an
    // end to that.
    let stall = service.deadlines().stall;
    let patience = Patience::new(stall, Arc::clone(&service.budget));
    let taking = async {
        tokio::select! {
            _ = connection => {}
            () = patience.ends(&flow) => {}
            () = client.is_turned_out() => {}
        }
    };
    let _ = timeout(stall.saturating_mul(LONGEST_FAREWELL), taking).await;
}

/// Why a connection ends from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing was asked.
    NoRequest,
    /// Nothing is under way any more.
    Idle,
    /// It was misused.
    TurnedOut,
    /// Nothing is taken.
    TakesNothing,
}

impl End {
    /// For the audit trail.
    fn reason(self) -> &'static str {
        match self {
            Self::NoRequest => "no request in time",
            Self::Idle => "idle",
            Self::TurnedOut => "turned out",
            Self::TakesNothing => "the client takes nothing",
        }
    }
}

/// Resolves when the connection is to end.
async fn watch<S: WriteStore>(service: &Service<S>, client: &Client, flow: &Flow, deadline: Instant) -> End {
    let patience = Patience::new(service.deadlines().stall, Arc::clone(&service.budget));
    let unblocked = Unblocked::new(flow);
    let mut drain = service.drain.subscribe();
    let looks = async {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut idle_since = None;
        loop {
            let now = looks.tick().await;
            if !client.is_heard() && now >= deadline {
                service.refusals.note(Refusal::Silence, client.peer);
                return End::NoRequest;
            }
            if !client.is_idle() || flow.is_blocked() {
                idle_since = None;
                continue;
            }
            // Who keeps an idle connection open while the server ends has nothing to lose.
            let most = if *drain.borrow_and_update() { LOOK } else { IDLE };
            if now.duration_since(*idle_since.get_or_insert(now)) >= most {
                return End::Idle;
            }
        }
    };
    tokio::select! {
        end = looks => end,
        () = client.is_turned_out() => End::TurnedOut,
        () = patience.ends(&unblocked) => End::TakesNothing,
    }
}

/// Begins to answer `request`; the future ends when there is a head.
async fn answer<S: WriteStore>(
    service: Arc<Service<S>>,
    client: Arc<Client>,
    flow: Flow,
    request: Request<Incoming>,
) -> Result<Response<OutletBody>, CutOff> {
    // Until it has heard that the connection ends, it may go on asking.
    if client.is_misused() {
        return Err(CutOff);
    }
    let (parts, body) = request.into_parts();
    let (head, made) = oneshot::channel();
    let (sender, receiver) = mpsc::channel(1);
    let (wanted, gone) = oneshot::channel();
    let whole = Arc::new(AtomicBool::new(false));
    let outlet = HyperOutlet {
        client: Arc::clone(&client),
        head: Some(head),
        body: Some(sender),
        gone: Some(gone),
        whole: Arc::clone(&whole),
    };
    let patience = Patience::new(service.deadlines().stall, Arc::clone(&service.budget));
    let head_only = parts.method == http::Method::HEAD;
    let reply = Reply::new(outlet, flow, patience, client.lane.clone(), client.elsewhere.clone(), head_only);
    tokio::spawn(exchange::serve(service, client, parts, IncomingBody::new(body), reply));
    // When the client goes, this is dropped, and `wanted` with it.
    let (head, has_body) = made.await.map_err(|_| CutOff)?;
    Ok(head.map(|()| OutletBody { parts: has_body.then_some(receiver), _wanted: wanted, whole }))
}

/// The answer ended before it was whole.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut off")]
struct CutOff;

/// Carries an answer to hyper.
struct HyperOutlet {
    client: Arc<Client>,
    head: Option<oneshot::Sender<(Response<()>, bool)>>,
    body: Option<mpsc::Sender<Bytes>>,
    gone: Option<oneshot::Receiver<Infallible>>,
    whole: Arc<AtomicBool>,
}

const GONE: StreamError = StreamError::Stopped(Code::CANCELLED);

impl Outlet for HyperOutlet {
    async fn head(&mut self, head: Response<()>, has_body: bool) -> Result<(), StreamError> {
        let sender = self.head.take().ok_or(GONE)?;
        sender.send((head, has_body)).map_err(|_| GONE)
    }

    async fn interim(&mut self, _: Response<()>) -> Result<bool, StreamError> {
        // hyper sends none but 100 (Continue), which it does by itself.
        Ok(false)
    }

    async fn data(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        let body = self.body.as_ref().ok_or(GONE)?;
        body.send(bytes).await.map_err(|_| GONE)
    }

    async fn end(&mut self) -> Result<(), StreamError> {
        self.whole.store(true, Ordering::Release);
        self.body = None;
        Ok(())
    }

    fn cut(&mut self, code: Code) {
        self.head = None;
        self.body = None;
        // Whoever takes nothing does not see its answer end either.
        if code == Code::TIMEOUT {
            self.client.turn_out();
        }
    }

    fn gone(&mut self) -> Gone {
        let gone = self.gone.take();
        Box::pin(async move {
            match gone {
                // Nothing is ever sent: it ends when the other half is dropped.
                Some(gone) => drop(gone.await),
                None => std::future::pending().await,
            }
        })
    }
}

/// A body as hyper takes it.
struct OutletBody {
    /// None: there is none.
    parts: Option<mpsc::Receiver<Bytes>>,
    whole: Arc<AtomicBool>,
    /// Dropped with the body, by which the answer hears that nobody wants it any more.
    _wanted: oneshot::Sender<Infallible>,
}

impl Body for OutletBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let Some(parts) = &mut self.parts else { return Poll::Ready(None) };
        parts.poll_recv(cx).map(|part| match part {
            Some(bytes) => Some(Ok(Frame::data(bytes))),
            None if self.whole.load(Ordering::Acquire) => None,
            None => Some(Err(CutOff)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.parts.is_none() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

/// What a client sends behind the head of its request. Dropped before its end, it is still read for a moment: a client that goes on
/// sending would otherwise be cut off before it has seen the answer.
struct IncomingBody {
    /// None when it has ended.
    incoming: Option<Incoming>,
}

/// How long the rest of a body that nobody wants is read.
const LINGER: Duration = Duration::from_secs(2);

/// How much of it.
const LINGER_BYTES: usize = 4 << 20;

impl IncomingBody {
    fn new(incoming: Incoming) -> Self {
        Self { incoming: Some(incoming).filter(|incoming| !incoming.is_end_stream()) }
    }
}

impl RequestBody for IncomingBody {
    async fn chunk(&mut self) -> Option<Result<Bytes, ()>> {
        let next = next(self.incoming.as_mut()?).await;
        if !matches!(next, Some(Ok(_))) {
            self.incoming = None;
        }
        next
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        // There is no runtime any more when the server ends.
        if let (Some(mut rest), Ok(runtime)) = (self.incoming.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(timeout(LINGER, async move {
                let mut read = 0;
                while let Some(Ok(bytes)) = next(&mut rest).await
                    && read < LINGER_BYTES
                {
                    read += bytes.len();
                }
            }));
        }
    }
}

async fn next(incoming: &mut Incoming) -> Option<Result<Bytes, ()>> {
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx)).await?;
        match frame.map(Frame::into_data) {
            Ok(Ok(bytes)) => return Some(Ok(bytes)),
            // Trailers mean nothing here.
            Ok(Err(_)) => {}
            Err(_) => return Some(Err(())),
        }
    }
}

/// The first byte of a TLS handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Gives `stream` back if a TLS handshake has begun on it. Who seems to speak HTTP instead is told what is wrong; a browser shows
/// that to a person.
///
/// # Errors
/// When it is no TLS, or nothing comes.
pub(crate) async fn refuse_plain(mut stream: TcpStream) -> std::io::Result<TcpStream> {
    const ANSWER: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\
        Content-Length: 64\r\n\r\nThis port speaks HTTPS: write https:// in front of the address.\n";
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE {
        return Ok(stream);
    }
    if first[0].is_ascii_uppercase() {
        // A client that is gone, or does not read, loses nothing.
        let _ = timeout(FAREWELL, async {
            stream.write_all(ANSWER.as_bytes()).await?;
            stream.shutdown().await
        })
        .await;
    }
    Err(std::io::Error::other("it does not speak TLS"))
}
