//! One client over HTTP/3 (RFC 9114), on the very port of `qfs/1`: its requests, its deadlines, its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use h3::error::Code as H3Code;
use h3::server::{RequestResolver, RequestStream};
use h3_quinn::quinn::Connection as Quic;
use http::header::TE;
use http::{HeaderMap, Response};
use qfs_core::store::WriteStore;
use qfs_core::stream::{Lost, StreamError};
use qfs_core::wire::StatusCode as Code;
use qfs_transport::Connection;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{debug, error};

use super::ask::RequestBody;
use super::client::Client;
use super::connection::MAX_HEADER_BYTES;
use super::reply::{Gone, Outlet, Reply};
use super::{exchange, fields};
use crate::gate::audit::Refusal;
use crate::gate::patience::Patience;
use crate::service::Service;

type Stream = h3_quinn::BidiStream<Bytes>;
type Sending = RequestStream<<Stream as h3::quic::BidiStream<Bytes>>::SendStream, Bytes>;
type Receiving = RequestStream<<Stream as h3::quic::BidiStream<Bytes>>::RecvStream, Bytes>;

/// What all HTTP/3 connections together may hold of what was sent and not acknowledged, in bytes. QUIC has a copy of it, which the
/// budget for file contents does not see.
const SEND_BYTES: usize = 64 << 20;

/// What each may hold in any case, in bytes.
const LEAST_SEND_BYTES: usize = 64 << 10;

/// How long a request may take to come, from the opening of its stream on, is [`Deadlines::request`](crate::Deadlines::request); how many
/// of a connection are read and answered at once is what QUIC grants in streams.
///
/// Serves the client at the other end of `connection`, which has until `deadline` to ask for something.
pub(crate) async fn serve<S: WriteStore>(
    service: Arc<Service<S>>,
    connection: Connection,
    port: u16,
    deadline: Instant,
) {
    let peer = connection.remote_address();
    let certificate = connection.peer_certificate().map(|certificate| certificate.to_string());
    let client = Client::new(&service, ("h3", "udp"), peer, port, certificate);
    // HTTP/3 is spoken over QUIC alone.
    let Some(quic) = connection.quic() else { return };
    let _counted = Counted::new(&service.h3_connections);
    let reason = match timeout_at(deadline, begin(quic)).await {
        Ok(Ok(h3)) => serve_requests(&service, &client, &connection, h3, deadline).await,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no request in time".to_owned(),
    };
    client.visit().end(&reason);
}

type H3 = h3::server::Connection<h3_quinn::Connection, Bytes>;

async fn begin(connection: Quic) -> Result<H3, h3::error::ConnectionError> {
    let mut builder = h3::server::builder();
    builder.max_field_section_size(MAX_HEADER_BYTES as u64);
    builder.build(h3_quinn::Connection::new(connection)).await
}

/// Counts a connection for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve_requests<S: WriteStore>(
    service: &Arc<Service<S>>,
    client: &Arc<Client>,
    connection: &Connection,
    mut h3: H3,
    deadline: Instant,
) -> String {
    // Dropped with the connection, and with it whatever is still under way.
    let mut requests = JoinSet::new();
    let mut drain = service.drain.subscribe();
    let mut draining = false;
    let silence = sleep_until(deadline);
    tokio::pin!(silence);
    let mut heard = false;
    loop {
        tokio::select! {
            next = h3.accept() => match next {
                Ok(Some(request)) => {
                    let (service, client, connection) = (Arc::clone(service), Arc::clone(client), connection.clone());
                    requests.spawn(serve_request(service, client, connection, request));
                }
                Ok(None) => {
                    let reason = settle(requests, "done").await;
                    taken(service, client, connection).await;
                    break reason;
                }
                Err(error) => break settle(requests, &error.to_string()).await,
            },
            Some(ended) = requests.join_next() => if let Err(error) = ended && error.is_panic() {
                error!(%error, "a request panicked");
            },
            () = client.is_turned_out() => {
                connection.close_with(H3Code::H3_EXCESSIVE_LOAD.value());
                break "turned out".to_owned();
            }
            () = &mut silence, if !heard => {
                heard = client.is_heard();
                if !heard {
                    service.refusals.note(Refusal::Silence, client.peer);
                    connection.close_with(H3Code::H3_NO_ERROR.value());
                    break "no request in time".to_owned();
                }
            }
            () = async { drop(drain.wait_for(|draining| *draining).await) }, if !draining => {
                draining = true;
                // What has been asked is answered, nothing more is taken.
                let _ = h3.shutdown(0).await;
            }
        }
        if draining && requests.is_empty() {
            taken(service, client, connection).await;
            connection.close_with(H3Code::H3_NO_ERROR.value());
            break "shutting down".to_owned();
        }
    }
}

/// Waits until the client has all that was sent, is gone, or takes nothing. A connection that is closed drops what it still holds.
async fn taken<S: WriteStore>(service: &Service<S>, client: &Client, connection: &Connection) {
    let patience = Patience::new(service.deadlines().stall, Arc::clone(&service.budget));
    tokio::select! {
        () = acknowledged(connection) => {}
        _ = connection.closed() => {}
        () = client.is_turned_out() => {}
        () = patience.ends(connection) => {}
    }
}

/// Resolves when everything that was sent has been acknowledged. QUIC tells that of a stream to whoever has it, and those of answers are
/// h3's own. So one more stream is opened, of a type that means nothing (RFC 9114 §6.2.3), and takes its first byte when the connection
/// holds no other.
async fn acknowledged(connection: &Connection) {
    const RESERVED_TYPE: u8 = 0x21;
    let Some(quic) = connection.quic() else { return };
    let Ok(mut stream) = quic.open_uni().await else { return };
    connection.bound_send_window(1);
    // Fails when the connection is gone.
    let _ = stream.write_all(&[RESERVED_TYPE]).await;
}

/// Lets answers find out that their client is gone, so that each has its line in the audit trail.
async fn settle(mut requests: JoinSet<()>, reason: &str) -> String {
    let _ = timeout(SETTLE, async { while requests.join_next().await.is_some() {} }).await;
    reason.to_owned()
}

/// How long [`settle`] may take.
const SETTLE: Duration = Duration::from_secs(1);

async fn serve_request<S: WriteStore>(
    service: Arc<Service<S>>,
    client: Arc<Client>,
    connection: Connection,
    request: RequestResolver<h3_quinn::Connection, Bytes>,
) {
    let peer = client.peer;
    let (request, mut stream) = match timeout(service.deadlines().request, request.resolve_request()).await {
        Ok(Ok(resolved)) => resolved,
        Ok(Err(error)) => {
            debug!(%peer, %error, "not a request");
            client.note_abandoned(&service);
            return service.refusals.note(Refusal::NoRequest, peer);
        }
        Err(_) => return service.refusals.note(Refusal::NoRequest, peer),
    };
    if has_forbidden_fields(request.headers()) {
        stream.stop_sending(H3Code::H3_MESSAGE_ERROR);
        stream.stop_stream(H3Code::H3_MESSAGE_ERROR);
        client.note_abandoned(&service);
        return service.refusals.note(Refusal::NoRequest, peer);
    }
    let (sending, receiving) = stream.split();
    let is_malformed = Arc::new(AtomicBool::new(false));
    let outlet = H3Outlet {
        sending,
        connection: connection.clone(),
        least: share_of(&service.h3_connections),
        is_settled: false,
        is_malformed: Arc::clone(&is_malformed),
    };
    let patience = Patience::new(service.deadlines().stall, Arc::clone(&service.budget));
    let (parts, ()) = request.into_parts();
    let head_only = parts.method == http::Method::HEAD;
    let reply = Reply::new(outlet, connection, patience, client.lane.clone(), None, head_only);
    let body = ReceivedBody { receiving, left: fields::content_length(&parts.headers), is_malformed };
    exchange::serve(service, client, parts, body, reply).await;
}

/// Whether there are fields among `headers` that only connections of HTTP/1.1 have: such a request is malformed (RFC 9114 §4.2), and
/// means something else to whoever hands it on.
fn has_forbidden_fields(headers: &HeaderMap) -> bool {
    const FORBIDDEN: [&str; 5] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
    FORBIDDEN.iter().any(|name| headers.contains_key(*name))
        || headers.get_all(TE).iter().any(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// What a connection may hold of what was sent, while there are so many.
fn share_of(connections: &AtomicUsize) -> usize {
    (SEND_BYTES / connections.load(Ordering::Relaxed).max(1)).max(LEAST_SEND_BYTES)
}

/// Carries an answer to h3.
struct H3Outlet {
    sending: Sending,
    connection: Connection,
    /// Most bytes that the connection may hold.
    least: usize,
    /// Whether the stream has its end, or was cut.
    is_settled: bool,
    /// Whether the request turned out to be malformed while its body came.
    is_malformed: Arc<AtomicBool>,
}

impl H3Outlet {
    fn reset(&mut self, code: H3Code) {
        let is_malformed = self.is_malformed.load(Ordering::Acquire);
        self.sending.stop_stream(if is_malformed { H3Code::H3_MESSAGE_ERROR } else { code });
        self.is_settled = true;
    }
}

impl Drop for H3Outlet {
    /// A stream that is dropped ends as if all had been sent, which no answer without an end may look like.
    fn drop(&mut self) {
        if !self.is_settled {
            self.reset(H3Code::H3_INTERNAL_ERROR);
        }
    }
}

/// Sent at once: QUIC copies it, so that a larger piece would wait twice.
const PIECE_BYTES: usize = 64 << 10;

impl Outlet for H3Outlet {
    async fn head(&mut self, head: Response<()>, _has_body: bool) -> Result<(), StreamError> {
        self.connection.bound_send_window(self.least as u64);
        self.sending.send_response(head).await.map_err(|error| lost(&error))
    }

    async fn interim(&mut self, head: Response<()>) -> Result<bool, StreamError> {
        self.sending.send_response(head).await.map_err(|error| lost(&error))?;
        Ok(true)
    }

    async fn data(&mut self, mut bytes: Bytes) -> Result<(), StreamError> {
        while bytes.has_remaining() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
            let length = piece.len();
            self.sending.send_data(piece).await.map_err(|error| lost(&error))?;
            self.connection.note_sent(length);
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), StreamError> {
        self.is_settled = true;
        self.sending.finish().await.map_err(|error| lost(&error))
    }

    fn cut(&mut self, code: Code) {
        let code = if code == Code::TIMEOUT { H3Code::H3_EXCESSIVE_LOAD } else { H3Code::H3_INTERNAL_ERROR };
        self.reset(code);
    }

    fn gone(&mut self) -> Gone {
        let connection = self.connection.clone();
        // A client that gives up one answer is noticed when the next part of it is sent.
        Box::pin(async move { drop(connection.closed().await) })
    }
}

fn lost(error: &h3::error::StreamError) -> StreamError {
    match error {
        h3::error::StreamError::RemoteTerminate { .. } => StreamError::Stopped(Code::CANCELLED),
        other => Lost::Transport(other.to_string()).into(),
    }
}

/// What a client sends behind the head of its request.
struct ReceivedBody {
    receiving: Receiving,
    /// Bytes still to come, where the head says how many they are.
    left: Option<u64>,
    is_malformed: Arc<AtomicBool>,
}

impl RequestBody for ReceivedBody {
    async fn chunk(&mut self) -> Option<Result<Bytes, ()>> {
        match self.receiving.recv_data().await {
            Ok(Some(mut data)) => {
                let length = data.remaining();
                self.left = self.left.map(|left| left.saturating_sub(length as u64));
                Some(Ok(data.copy_to_bytes(length)))
            }
            // It ended sooner than it said (RFC 9114 §4.1.2).
            Ok(None) if self.left.is_some_and(|left| left > 0) => {
                self.is_malformed.store(true, Ordering::Release);
                Some(Err(()))
            }
            Ok(None) => None,
            Err(_) => Some(Err(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_connections_are_forbidden() {
        let has = |name: &'static str, value| {
            has_forbidden_fields(&HeaderMap::from_iter([(http::HeaderName::from_static(name), value)]))
        };
        let value = http::HeaderValue::from_static;
        assert!(has("transfer-encoding", value("chunked")) && has("connection", value("close")));
        assert!(has("te", value("gzip")) && has("te", value("trailers, gzip")));
        assert!(!has("te", value("trailers")) && !has("te", value(" Trailers")) && !has("accept", value("*/*")));
    }
}
