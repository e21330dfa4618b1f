//! The TCP port: lets clients in, completes their handshakes, and hands each to the door whose protocol it speaks.
//!
//! Knows the names of protocols and nothing of what they say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use qfs_core::model::escape_untrusted;
use qfs_core::store::Store;
use qfs_transport::{TcpAcceptor, TlsStream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, error, warn};

use super::{Drained, http};
use crate::gate::admission::{Admitted, Verdict};
use crate::gate::audit::Refusal;
use crate::service::Service;

/// What is offered in the handshake (RFC 7301), the best first. A client that names none speaks HTTP/1.1.
pub(crate) const PROTOCOLS: &[&[u8]] = &[http::H2, http::HTTP_1_1];

/// How long accepting rests when descriptors ran out: some may be free again by then.
const REST: Duration = Duration::from_millis(50);

/// A client whose handshake is done.
pub(crate) struct Newcomer {
    pub(crate) peer: SocketAddr,
    /// The port it came to.
    pub(crate) port: u16,
    pub(crate) stream: TlsStream,
    /// Until when it must have asked for something.
    pub(crate) deadline: Instant,
    /// Counts it among the connections until it is dropped.
    pub(crate) admitted: Admitted,
}

/// Hands `newcomer` to the door that speaks its protocol. This is the one place where the protocols meet.
async fn hand_over<S: Store>(service: Arc<Service<S>>, newcomer: Newcomer) {
    match newcomer.stream.protocol() {
        Some(http::H2) => http::serve_h2(service, newcomer).await,
        _ => http::serve_h1(service, newcomer).await,
    }
}

/// The TCP port in the runtime that drives it.
pub(crate) struct TcpPort<S> {
    service: Arc<Service<S>>,
    acceptor: Arc<TcpAcceptor>,
}

impl<S: Store> TcpPort<S> {
    pub(crate) fn new(service: Arc<Service<S>>, acceptor: TcpAcceptor) -> Self {
        Self { service, acceptor: Arc::new(acceptor) }
    }

    /// Serves until the server drains, then lets running answers finish.
    pub(crate) async fn serve(&self) -> Drained {
        let mut connections = JoinSet::new();
        let mut drain = self.service.drain.subscribe();
        loop {
            tokio::select! {
                // The value is a lock's guard, which must not be held while accepting rests.
                () = async { drop(drain.wait_for(|draining| *draining).await) } => break,
                accepted = self.acceptor.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer, &mut connections),
                    Err(error) => {
                        warn!(%error, "no TCP connection can be accepted");
                        sleep(REST).await;
                    }
                },
                Some(ended) = connections.join_next() => if let Err(error) = ended {
                    error!(%error, "a connection's task failed");
                },
            }
        }
        let finish = async { while connections.join_next().await.is_some() {} };
        // What did not finish is counted from what is left.
        let _ = timeout(self.service.deadlines.drain, finish).await;
        Drained { cut: connections.len() }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>) {
        // Whoever completes a TCP handshake has shown its address.
        match self.service.admission.judge(peer, true) {
            Verdict::Admit(admitted) => {
                let (service, acceptor) = (Arc::clone(&self.service), Arc::clone(&self.acceptor));
                connections.spawn(begin(service, acceptor, stream, peer, admitted));
            }
            Verdict::Retry => {}
            Verdict::Refuse(reason) => self.service.refusals.note(reason, peer),
        }
    }
}

/// The first byte of a TLS handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Completes the handshake and hands the client over, within the deadline for a first request.
async fn begin<S: Store>(
    service: Arc<Service<S>>,
    acceptor: Arc<TcpAcceptor>,
    stream: TcpStream,
    peer: SocketAddr,
    admitted: Admitted,
) {
    let deadline = Instant::now() + service.deadlines.first_request;
    let handshake = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != TLS_HANDSHAKE {
            http::answer_plain(stream, first[0]).await;
            return Err(std::io::Error::other("it does not speak TLS"));
        }
        acceptor.handshake(stream).await
    };
    match timeout_at(deadline, handshake).await {
        Ok(Ok(stream)) => {
            hand_over(service, Newcomer { peer, port: acceptor.port(), stream, deadline, admitted }).await
        }
        Ok(Err(lost)) => {
            debug!(%peer, lost = escape_untrusted(&lost.to_string()), "handshake failed");
            service.refusals.note(Refusal::Handshake, peer);
        }
        Err(_) => service.refusals.note(Refusal::Handshake, peer),
    }
}
