//! One client: accepts its streams, cuts it off when it says nothing, lets it finish when the server ends.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qfs_core::model::{PathNote, escape_untrusted};
use qfs_core::store::WriteStore;
use qfs_core::wire::StatusCode;
use qfs_transport::{Connection, Incoming, Listener, RequestReader, Sink};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{debug, error};

use super::dispatch::{self, Quota};
use super::handler::{Path, Reply};
#[cfg(feature = "http")]
use crate::door::http;
use crate::error::HandlerError;
use crate::gate::abandoned::Abandoned;
use crate::gate::admission::Admitted;
use crate::gate::audit::{self, Refusal, Refusals, Visit};
use crate::gate::patience::{Patience, Progress, Taken};
use crate::metrics;
use crate::pace::{Lane, Paced};
use crate::service::Service;

/// What the audit trail calls this door.
const DOOR: &str = "qfs";

/// What the streams of a connection share.
struct Client {
    connection: Connection,
    peer: SocketAddr,
    quota: Quota,
    lane: Lane,
    /// Whether a whole request has come.
    heard: AtomicBool,
    abandoned: Mutex<Abandoned>,
    /// Requests denied for want of a good token.
    denied: AtomicU32,
    visit: Mutex<Visit>,
    _open: metrics::Open,
}

/// Completes the handshake of `incoming` and serves the client until it is gone.
pub(crate) async fn serve<S: WriteStore>(
    service: Arc<Service<S>>,
    listener: Arc<Listener>,
    incoming: Incoming,
    mut admitted: Admitted,
) {
    let peer = incoming.remote_address();
    let deadline = Instant::now() + service.deadlines().first_request;
    let connection = match timeout_at(deadline, listener.handshake(incoming)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(lost)) => {
            debug!(%peer, lost = escape_untrusted(&lost.to_string()), "handshake failed");
            return service.refusals.note(Refusal::Handshake, peer);
        }
        Err(_) => return service.refusals.note(Refusal::Handshake, peer),
    };
    admitted.established();
    #[cfg(feature = "http")]
    if connection.protocol() == http::H3 {
        let port = listener.local_addr().map_or(0, |address| address.port());
        return http::serve_h3(service, connection, port, deadline).await;
    }
    serve_connection(&service, connection, deadline).await;
}

/// Serves the client at the other end of `connection` until it is gone, over whichever way it came. It owes its first request until
/// `deadline`.
pub(crate) async fn serve_connection<S: WriteStore>(
    service: &Arc<Service<S>>,
    connection: Connection,
    deadline: Instant,
) {
    let peer = connection.remote_address();
    let certificate = connection.peer_certificate().map(|certificate| certificate.to_string());
    let visit = Visit::begin(DOOR, connection.way().name(), peer, certificate);
    let client = Arc::new(Client {
        connection,
        peer,
        quota: Quota::new(&service.limits, service.budget.share()),
        lane: service.lane(peer),
        heard: AtomicBool::new(false),
        abandoned: Mutex::new(Abandoned::new(&service.limits, Instant::now())),
        denied: AtomicU32::new(0),
        visit: Mutex::new(visit),
        _open: service.metrics.opened(DOOR),
    });
    let reason = serve_streams(service, &client, deadline).await;
    client.visit().end(&reason);
    client.connection.gone().await;
}

/// Serves streams until the connection is gone, or everything is answered and the server ends; returns which.
async fn serve_streams<S: WriteStore>(service: &Arc<Service<S>>, client: &Arc<Client>, deadline: Instant) -> String {
    // Dropped with the connection, and with it whatever is still under way.
    let mut streams = JoinSet::new();
    let mut drain = service.drain.subscribe();
    let mut draining = false;
    let silence = sleep_until(deadline);
    tokio::pin!(silence);
    let mut heard = false;
    let reason = loop {
        tokio::select! {
            stream = client.connection.accept_stream() => match stream {
                Ok((sink, source)) => {
                    streams.spawn(serve_stream(Arc::clone(service), Arc::clone(client), sink, source));
                }
                Err(lost) => break lost.to_string(),
            },
            Some(ended) = streams.join_next() => note_panic(ended),
            () = client.connection.uni_stream_opened() => {
                // There may be credit for one, for the sake of other protocols on this port.
                if client.connection.close_reason().is_none() {
                    service.refusals.note(Refusal::NoRequest, client.peer);
                    client.connection.close(StatusCode::BAD_REQUEST);
                }
            }
            () = &mut silence, if !heard => {
                // Asked now, not when the wait began: a first download may outlast the deadline for its request.
                heard = client.heard.load(Ordering::Relaxed);
                if !heard {
                    service.refusals.note(Refusal::Silence, client.peer);
                    client.connection.close(StatusCode::TIMEOUT);
                    return "no request in time".to_owned();
                }
            }
            _ = drain.wait_for(|draining| *draining), if !draining => draining = true,
        }
        if draining && streams.is_empty() {
            client.connection.close(StatusCode::SHUTTING_DOWN);
            return "shutting down".to_owned();
        }
    };
    settle(&mut streams).await;
    reason
}

async fn serve_stream<S: WriteStore>(service: Arc<Service<S>>, client: Arc<Client>, sink: Sink, source: RequestReader) {
    let start = Instant::now();
    let patience = Patience::new(service.deadlines().stall, Arc::clone(&service.budget));
    let mut reply = Reply::new(sink, client.connection.clone(), patience, client.lane.clone());
    let heard = || client.heard.store(true, Ordering::Relaxed);
    let outcome =
        dispatch::serve(&service, &client.quota, &mut reply, Paced::new(source, client.lane.clone()), heard).await;
    let (peer, bytes) = (client.peer, reply.sent());
    client.visit().count(bytes);
    let told = outcome.error.as_ref().map(HandlerError::told);
    service.metrics.answered(&metrics::Answered {
        door: DOOR,
        command: outcome.describe().0,
        status: told.as_ref().map_or("ok", |(status, _)| status.as_str()),
        token: outcome.token.as_deref(),
        bytes,
        took: start.elapsed(),
    });
    if let Some(deliveries) = &service.deliveries {
        outcome.delivered().for_each(|delivery| deliveries.tell(delivery));
    }
    if outcome.error.as_ref().is_some_and(HandlerError::is_abandoned) {
        client.note_abandoned(&service.refusals);
        if bytes == 0 {
            return service.refusals.note(Refusal::Abandoned, peer);
        }
    } else if matches!(outcome.error, Some(HandlerError::Denied)) {
        return client.note_denied(&service);
    } else if outcome.request.is_none() {
        return service.refusals.note(Refusal::NoRequest, peer);
    }
    if audit::hears_commands() {
        let who = client.visit().client();
        let (command, name) = outcome.describe();
        let seconds = start.elapsed().as_secs_f64();
        let (client, token) = (who.as_deref(), outcome.token.as_deref());
        let record = audit::Command { door: DOOR, peer, client, token, command, name, failure: told, bytes, seconds };
        record.tell(outcome.many());
    }
}

impl Progress for Connection {
    fn taken(&self) -> Taken {
        let path = self.path_report();
        Taken { pieces: path.pieces, bytes: path.sent }
    }
}

impl Path for Connection {
    fn recall(&self, note: &PathNote) {
        self.recall_path(note);
    }

    fn note(&self) -> Option<(PathNote, u64)> {
        self.path_note()
    }
}

impl Client {
    fn visit(&self) -> MutexGuard<'_, Visit> {
        self.visit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns the client out when it goes on asking without a good token. Nobody guesses one in any number of tries; this bounds what
    /// trying costs the server and its log.
    fn note_denied<S>(&self, service: &Service<S>) {
        service.refusals.note(Refusal::NoToken, self.peer);
        let denied = self.denied.fetch_add(1, Ordering::Relaxed) + 1;
        if denied > service.limits.denials_per_connection && self.connection.close_reason().is_none() {
            service.refusals.note(Refusal::Guessing, self.peer);
            self.connection.close(StatusCode::DENIED);
        }
    }

    /// Turns the client out when it abandons streams faster than anybody with a purpose does.
    fn note_abandoned(&self, refusals: &Refusals) {
        let fair = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).note(Instant::now());
        if !fair && self.connection.close_reason().is_none() {
            refusals.note(Refusal::Flood, self.peer);
            self.connection.close(StatusCode::BUSY);
        }
    }
}

/// Lets answers find out that their client is gone, so that each has its line in the audit trail: one who has all he came for may
/// leave without acknowledging it.
async fn settle(streams: &mut JoinSet<()>) {
    let all = async {
        while let Some(ended) = streams.join_next().await {
            note_panic(ended);
        }
    };
    // What waits for something else than the client is cut off.
    let _ = timeout(SETTLE, all).await;
}

/// How long [`settle`] may take.
const SETTLE: Duration = Duration::from_secs(1);

fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!("the task of a command failed: {error}");
    }
}
