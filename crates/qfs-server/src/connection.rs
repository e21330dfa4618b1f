//! One client: accepts its streams, cuts it off when it says nothing, lets it finish when the server ends.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use qfs_core::store::Store;
use qfs_core::transport::{Connection, Incoming, Listener, PeerCertificate, QuicRequestReader, QuicSink};
use qfs_core::wire::StatusCode;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, error, info, warn};

use crate::admission::Admitted;
use crate::config::Limits;
use crate::dispatch::{self, Quota};
use crate::error::HandlerError;
use crate::handler::Reply;
use crate::patience::Patience;
use crate::server::Shared;

/// What the streams of a connection share.
struct Client {
    connection: Connection,
    peer: SocketAddr,
    /// Who it is, where clients must show a certificate.
    certificate: Option<PeerCertificate>,
    quota: Quota,
    /// Whether a whole request has come.
    heard: AtomicBool,
    abandoned: Mutex<Abandoned>,
    /// Requests denied for want of a good token.
    denied: AtomicU32,
}

/// Completes the handshake of `incoming` and serves the client until it is gone.
pub(crate) async fn serve<S: Store>(
    shared: Arc<Shared<S>>,
    listener: Arc<Listener>,
    incoming: Incoming,
    mut admitted: Admitted,
) {
    let peer = incoming.remote_address();
    let deadline = Instant::now() + shared.deadlines.first_request;
    let connection = match timeout_at(deadline, listener.handshake(incoming)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(lost)) => return debug!(%peer, %lost, "handshake failed"),
        Err(_) => return debug!(%peer, "handshake timed out"),
    };
    admitted.established();
    let certificate = connection.peer_certificate();
    info!(%peer, client = certificate.as_ref().map(tracing::field::display), "connected");
    let client = Arc::new(Client {
        connection,
        peer,
        certificate,
        quota: Quota::new(&shared.limits, shared.budget.share()),
        heard: AtomicBool::new(false),
        abandoned: Mutex::new(Abandoned::new(&shared.limits, Instant::now())),
        denied: AtomicU32::new(0),
    });
    serve_streams(&shared, &client, deadline).await;
    info!(%peer, "disconnected");
}

/// Serves streams until the connection is gone, or everything is answered and the server ends.
async fn serve_streams<S: Store>(shared: &Arc<Shared<S>>, client: &Arc<Client>, deadline: Instant) {
    // Dropped with the connection, and with it whatever is still under way.
    let mut streams = JoinSet::new();
    let mut drain = shared.drain.subscribe();
    let mut draining = false;
    let silence = sleep_until(deadline);
    tokio::pin!(silence);
    let mut heard = false;
    loop {
        tokio::select! {
            stream = client.connection.accept_stream() => match stream {
                Ok((sink, source)) => {
                    streams.spawn(serve_stream(Arc::clone(shared), Arc::clone(client), sink, source));
                }
                Err(lost) => return debug!(peer = %client.peer, %lost, "connection ended"),
            },
            Some(ended) = streams.join_next() => note_panic(ended),
            () = &mut silence, if !heard => {
                // Asked now, not when the wait began: a first download may outlast the deadline for its request.
                heard = client.heard.load(Ordering::Relaxed);
                if !heard {
                    info!(peer = %client.peer, "no request in time");
                    return client.connection.close(StatusCode::TIMEOUT);
                }
            }
            _ = drain.wait_for(|draining| *draining), if !draining => draining = true,
        }
        if draining && streams.is_empty() {
            return client.connection.close(StatusCode::SHUTTING_DOWN);
        }
    }
}

async fn serve_stream<S: Store>(
    shared: Arc<Shared<S>>,
    client: Arc<Client>,
    sink: QuicSink,
    mut source: QuicRequestReader,
) {
    let start = Instant::now();
    let patience = Patience::new(shared.deadlines.stall, Arc::clone(&shared.budget));
    let mut reply = Reply::new(sink, client.connection.clone(), patience);
    let heard = || client.heard.store(true, Ordering::Relaxed);
    let outcome = dispatch::serve(&shared, &client.quota, &mut reply, &mut source, heard).await;
    if outcome.error.as_ref().is_some_and(HandlerError::is_abandoned) {
        client.note_abandoned();
    }
    if matches!(outcome.error, Some(HandlerError::Denied)) {
        return client.note_denied(&shared);
    }
    if !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let (command, name) = outcome.describe();
    let (peer, bytes, seconds) = (client.peer, reply.sent(), start.elapsed().as_secs_f64());
    let who = client.certificate.as_ref().map(tracing::field::display);
    match outcome.error {
        None => info!(%peer, client = who, command, name, token = outcome.token, bytes, seconds, "answered"),
        Some(error) => {
            let code = error.status().map(tracing::field::display);
            info!(%peer, client = who, command, name, token = outcome.token, bytes, seconds, code, error = %error, "failed");
        }
    }
}

impl Client {
    /// Turns the client out when it goes on asking without a good token. Nobody guesses one in any number of tries; this bounds what
    /// trying costs the server and its log.
    fn note_denied<S>(&self, shared: &Shared<S>) {
        let denied = self.denied.fetch_add(1, Ordering::Relaxed) + 1;
        let note = shared.denials.lock().unwrap_or_else(PoisonError::into_inner).note(Instant::now().into_std());
        if let Some(requests) = note {
            warn!(peer = %self.peer, requests, "denied: no valid token");
        }
        if denied > shared.limits.denials_per_connection && self.connection.close_reason().is_none() {
            debug!(peer = %self.peer, "turned out: it goes on without a valid token");
            self.connection.close(StatusCode::DENIED);
        }
    }

    /// Turns the client out when it abandons streams faster than anybody with a purpose does.
    fn note_abandoned(&self) {
        let fair = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).note(Instant::now());
        if !fair && self.connection.close_reason().is_none() {
            warn!(peer = %self.peer, "turned out: it opens and abandons streams");
            self.connection.close(StatusCode::BUSY);
        }
    }
}

/// A token bucket for streams that the client gave up.
#[derive(Debug)]
struct Abandoned {
    tokens: f64,
    most: f64,
    refilled: Instant,
}

impl Abandoned {
    /// Tokens a second.
    const REFILL: f64 = 200.0;

    fn new(limits: &Limits, now: Instant) -> Self {
        let most = f64::from(limits.abandoned_streams);
        Self { tokens: most, most, refilled: now }
    }

    /// Takes a token; false when there is none.
    fn note(&mut self, now: Instant) -> bool {
        let refill = now.duration_since(self.refilled).as_secs_f64() * Self::REFILL;
        self.refilled = now;
        self.tokens = (self.tokens + refill).min(self.most) - 1.0;
        self.tokens >= 0.0
    }
}

fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "a command panicked");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn abandoning_is_free_up_to_a_point() {
        let start = Instant::now();
        let limits = Limits { abandoned_streams: 10, ..Limits::default() };
        let mut abandoned = Abandoned::new(&limits, start);
        assert!((0..10).all(|_| abandoned.note(start)));
        assert!(!abandoned.note(start));
        let later = start + Duration::from_secs(1);
        assert!((0..10).all(|_| abandoned.note(later)));
        assert!(!abandoned.note(later));
    }
}
