//! The TCP port: lets clients in, completes their handshakes, and hands each to the door whose protocol it speaks.
//!
//! Knows the names of protocols and nothing of what they say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use qfs_core::model::escape_untrusted;
use qfs_core::store::WriteStore;
use qfs_core::wire::ALPN;
use qfs_transport::{ServerTuning, TcpAcceptor};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, error, warn};

use super::Drained;
#[cfg(feature = "http")]
use super::http;
use super::newcomer::Newcomer;
use super::qfs::tcp::serve_tls_stream;
use crate::gate::admission::{Admitted, Verdict};
use crate::gate::audit::Refusal;
use crate::service::Service;

/// What is spoken on the port.
#[derive(Debug, Clone)]
pub(crate) struct Spoken {
    /// Whether qfs is (PROTOCOL §9).
    pub(crate) qfs: bool,
    /// Whether HTTP is.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "there is no such door then"))]
    pub(crate) http: bool,
    /// What a connection that speaks qfs may cost.
    pub(crate) tuning: ServerTuning,
}

impl Spoken {
    /// What is offered in the handshake (RFC 7301), the best first. A client that names none speaks HTTP/1.1.
    pub(crate) fn protocols(&self) -> Vec<&'static [u8]> {
        let mut protocols = Vec::new();
        if self.qfs {
            protocols.push(ALPN);
        }
        #[cfg(feature = "http")]
        if self.http {
            protocols.extend([http::H2, http::HTTP_1_1]);
        }
        protocols
    }
}

/// How long accepting rests when descriptors ran out: some may be free again by then.
const REST: Duration = Duration::from_millis(50);

/// How long those that are cut off are given to be told so.
const CUT_PATIENCE: Duration = Duration::from_millis(500);

/// Hands `newcomer` to the door that speaks its protocol. This is the one place where the protocols meet.
async fn hand_over<S: WriteStore>(
    service: Arc<Service<S>>,
    newcomer: Newcomer,
    spoken: &Spoken,
    cut: watch::Receiver<bool>,
) {
    match newcomer.stream.protocol() {
        Some(ALPN) if spoken.qfs => {
            let Newcomer { peer, stream, deadline, admitted, .. } = newcomer;
            serve_tls_stream(&service, stream, peer, &spoken.tuning, deadline, admitted, cut).await;
        }
        #[cfg(feature = "http")]
        Some(http::H2) if spoken.http => http::serve_h2(service, newcomer).await,
        #[cfg(feature = "http")]
        _ if spoken.http => http::serve_h1(service, newcomer).await,
        other => {
            let other = other.map(|name| escape_untrusted(&String::from_utf8_lossy(name))).unwrap_or_default();
            debug!("{} speaks a protocol that is not spoken here: {other}", newcomer.peer);
            service.refusals.note(Refusal::Handshake, newcomer.peer);
        }
    }
}

/// The TCP port in the runtime that drives it.
pub(crate) struct TcpPort<S> {
    service: Arc<Service<S>>,
    acceptor: Arc<TcpAcceptor>,
    spoken: Arc<Spoken>,
}

impl<S: WriteStore> TcpPort<S> {
    pub(crate) fn new(service: Arc<Service<S>>, acceptor: TcpAcceptor, spoken: Spoken) -> Self {
        Self { service, acceptor: Arc::new(acceptor), spoken: Arc::new(spoken) }
    }

    /// Serves until the server drains, then lets running answers finish.
    pub(crate) async fn serve(&self) -> Drained {
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
        let _ = timeout(self.service.deadlines().drain, finish).await;
        let drained = Drained { cut: connections.len() };
        cut.send_replace(true);
        let _ = timeout(CUT_PATIENCE, async { while connections.join_next().await.is_some() {} }).await;
        drained
    }

    async fn accept_until_drained(&self, connections: &mut JoinSet<()>, cut: &watch::Sender<bool>) {
        let mut drain = self.service.drain.subscribe();
        loop {
            tokio::select! {
                // The value is a lock's guard, which must not be held while accepting rests.
                () = async { drop(drain.wait_for(|draining| *draining).await) } => return,
                (stream, peer) = self.accept() => self.admit(stream, peer, connections, cut),
                Some(ended) = connections.join_next() => if let Err(error) = ended {
                    error!("the task of a connection failed: {error}");
                },
            }
        }
    }

    /// The next client. When the system has no descriptor left for it, it waits in the kernel's queue.
    async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.acceptor.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => warn!("no client can be accepted over TCP: {error}"),
            }
            sleep(REST).await;
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>, cut: &watch::Sender<bool>) {
        // Whoever completes a TCP handshake has shown its address. Who is refused is hung up on.
        match self.service.admission.judge(peer, true) {
            Verdict::Admit(admitted) => {
                let arriving = Arriving {
                    service: Arc::clone(&self.service),
                    acceptor: Arc::clone(&self.acceptor),
                    spoken: Arc::clone(&self.spoken),
                    peer,
                    admitted,
                    cut: cut.subscribe(),
                };
                connections.spawn(arriving.begin(stream));
            }
            Verdict::Retry => {}
            Verdict::Refuse(reason) => self.service.refusals.note(reason, peer),
        }
    }
}

/// A client that was let in and has to show what it speaks.
struct Arriving<S> {
    service: Arc<Service<S>>,
    acceptor: Arc<TcpAcceptor>,
    spoken: Arc<Spoken>,
    peer: SocketAddr,
    admitted: Admitted,
    cut: watch::Receiver<bool>,
}

impl<S: WriteStore> Arriving<S> {
    /// Completes the handshake and hands the client over, within the deadline for a first request.
    async fn begin(self, stream: TcpStream) {
        let Self { service, acceptor, spoken, peer, admitted, cut } = self;
        let deadline = Instant::now() + service.deadlines().first_request;
        let handshake = async {
            #[cfg(feature = "http")]
            let stream = if spoken.http { http::refuse_plain(stream).await? } else { stream };
            acceptor.handshake(stream).await
        };
        match timeout_at(deadline, handshake).await {
            Ok(Ok(stream)) => {
                let newcomer = Newcomer { peer, port: acceptor.port(), stream, deadline, admitted };
                hand_over(service, newcomer, &spoken, cut).await;
            }
            Ok(Err(lost)) => {
                debug!("the handshake of {peer} failed: {}", escape_untrusted(&lost.to_string()));
                service.refusals.note(Refusal::Handshake, peer);
            }
            Err(_) => service.refusals.note(Refusal::Handshake, peer),
        }
    }
}
