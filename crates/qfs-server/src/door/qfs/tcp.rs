//! Clients whose network carries no UDP: lets them in over TLS and TCP, and serves them as any other (PROTOCOL §9).
//!
//! Owns the accept loop; what a client may ask and what it is answered is `connection`'s and `dispatch`'s affair.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use qfs_core::model::escape_untrusted;
use qfs_core::store::WriteStore;
use qfs_core::wire::{ALPN, StatusCode};
use qfs_transport::{Connection, ServerTuning, TcpAcceptor, TlsStream};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, error, warn};

use super::connection;
use crate::door::{Drained, ServeError};
use crate::gate::admission::{Admitted, Verdict};
use crate::gate::audit::Refusal;
use crate::service::Service;

/// Wait before the next attempt at a client that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long those that are cut off are given to be told so.
const CUT_PATIENCE: Duration = Duration::from_millis(500);

/// The TCP port of a server.
pub(crate) struct TcpEndPoint<S> {
    service: Arc<Service<S>>,
    acceptor: Arc<TcpAcceptor>,
    tuning: ServerTuning,
}

impl<S: WriteStore> TcpEndPoint<S> {
    pub(crate) fn new(service: Arc<Service<S>>, acceptor: TcpAcceptor, tuning: ServerTuning) -> Self {
        Self { service, acceptor: Arc::new(acceptor), tuning }
    }

    /// Serves until the server drains, then lets running answers finish.
    pub(crate) async fn serve(&self) -> Result<Drained, ServeError> {
        let mut connections = JoinSet::new();
        let cut = watch::Sender::new(false);
        self.accept_until_drained(&mut connections, &cut).await;
        let finish = async {
            loop {
                tokio::select! {
                    ended = connections.join_next() => if ended.is_none() { return },
                    // Newcomers are hung up on.
                    _ = self.accept() => {}
                }
            }
        };
        // What did not finish is counted from what is left.
        let _ = timeout(self.service.deadlines.drain, finish).await;
        let drained = Drained { cut: connections.len() };
        cut.send_replace(true);
        let _ = timeout(CUT_PATIENCE, async { while connections.join_next().await.is_some() {} }).await;
        Ok(drained)
    }

    async fn accept_until_drained(&self, connections: &mut JoinSet<()>, cut: &watch::Sender<bool>) {
        let mut drain = self.service.drain.subscribe();
        loop {
            tokio::select! {
                _ = drain.wait_for(|draining| *draining) => return,
                (stream, peer) = self.accept() => self.admit(stream, peer, connections, cut),
                Some(ended) = connections.join_next() => if let Err(error) = ended {
                    error!(%error, "a connection's task failed");
                },
            }
        }
    }

    /// The next client. When the system has no descriptor left for it, it waits in the kernel's queue.
    async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.acceptor.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => warn!(%error, "a client cannot be accepted over TCP"),
            }
            sleep(ACCEPT_PAUSE).await;
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>, cut: &watch::Sender<bool>) {
        // Whoever completes TCP's handshake has shown its address. Who is refused is hung up on.
        match self.service.admission.judge(peer, true) {
            Verdict::Admit(admitted) => {
                let (service, acceptor) = (Arc::clone(&self.service), Arc::clone(&self.acceptor));
                let (tuning, cut) = (self.tuning.clone(), cut.subscribe());
                connections.spawn(async move {
                    let deadline = Instant::now() + service.deadlines.first_request;
                    let Ok(Ok(stream)) = timeout_at(deadline, acceptor.handshake(stream)).await else {
                        return service.refusals.note(Refusal::Handshake, peer);
                    };
                    serve_tls_stream(&service, stream, peer, &tuning, deadline, admitted, cut).await;
                });
            }
            Verdict::Retry => self.service.refusals.note(Refusal::Address, peer),
            Verdict::Refuse(reason) => self.service.refusals.note(reason, peer),
        }
    }
}

/// Serves the client at the other end of `stream`, whose handshake is done, until it is gone or `cut` says that the server does not
/// wait for it any longer. It owes its first request until `deadline`.
pub(crate) async fn serve_tls_stream<S: WriteStore>(
    service: &Arc<Service<S>>,
    stream: TlsStream,
    peer: SocketAddr,
    tuning: &ServerTuning,
    deadline: Instant,
    _admitted: Admitted,
    mut cut: watch::Receiver<bool>,
) {
    if stream.protocol() != Some(ALPN) {
        debug!(%peer, protocol = ?stream.protocol().map(|name| escape_untrusted(&String::from_utf8_lossy(name))), "not qfs");
        return service.refusals.note(Refusal::Handshake, peer);
    }
    let connection = Connection::over_tls(stream, peer, tuning);
    tokio::select! {
        () = connection::serve_connection(service, connection.clone(), deadline) => {}
        () = async { drop(cut.wait_for(|cut| *cut).await) } => {
            connection.close(StatusCode::SHUTTING_DOWN);
            connection.told().await;
        }
    }
}
