//! One end point: lets clients in, and ends in good order. Several share a port and everything but their threads.

use std::convert::Infallible;
use std::sync::Arc;

use qfs_core::store::WriteStore;
use qfs_core::wire::StatusCode;
use qfs_transport::{BoundEndpoint, BoundTcp, Incoming, Listener, TransportError};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info};

use super::connection;
use crate::door::tcp::{Spoken, TcpPort};
use crate::door::{Drained, ServeError};
use crate::gate::admission::Verdict;
use crate::gate::audit::Refusal;
use crate::service::Service;

/// An end point in the runtime that drives it.
pub(crate) struct EndPoint<S> {
    service: Arc<Service<S>>,
    listener: Arc<Listener>,
    /// Served beside it, in the same runtime.
    tcp: Option<TcpPort<S>>,
}

/// The sockets of an end point that nobody drives yet.
pub(crate) struct Sockets {
    pub(crate) udp: BoundEndpoint,
    pub(crate) tcp: Option<BoundTcp>,
}

impl<S: WriteStore> EndPoint<S> {
    /// Starts an end point, inside the tokio runtime that is to drive it.
    ///
    /// # Errors
    /// When the runtime cannot take its sockets.
    pub(crate) fn start(service: Arc<Service<S>>, sockets: Sockets, spoken: &Spoken) -> Result<Self, TransportError> {
        let tcp = match sockets.tcp {
            Some(bound) => Some(TcpPort::new(Arc::clone(&service), bound.start()?, spoken.clone())),
            None => None,
        };
        Ok(Self { service, listener: Arc::new(sockets.udp.start()?), tcp })
    }

    /// The socket of its UDP port.
    pub(crate) fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Serves until the server drains, then lets running answers finish.
    pub(crate) async fn serve(&self) -> Result<Drained, ServeError> {
        if let Some(tcp) = &self.tcp {
            let tcp = async { Ok(tcp.serve().await) };
            let (quic, tcp) = tokio::try_join!(self.serve_quic(), tcp)?;
            return Ok(Drained { cut: quic.cut + tcp.cut });
        }
        self.serve_quic().await
    }

    async fn serve_quic(&self) -> Result<Drained, ServeError> {
        let mut connections = JoinSet::new();
        let drained = match self.accept_until_drained(&mut connections).await {
            Ok(()) => Ok(self.drain(&mut connections).await),
            Err(error) => Err(error),
        };
        drop(connections);
        self.listener.close(StatusCode::SHUTTING_DOWN).await;
        drained
    }

    async fn accept_until_drained(&self, connections: &mut JoinSet<()>) -> Result<(), ServeError> {
        let mut drain = self.service.drain.subscribe();
        loop {
            tokio::select! {
                _ = drain.wait_for(|draining| *draining) => return Ok(()),
                incoming = self.listener.accept() => match incoming {
                    Some(incoming) => self.admit(incoming, connections),
                    None => return Err(ServeError::SocketDied),
                },
                Some(ended) = connections.join_next() => if let Err(error) = ended {
                    error!("the task of a connection failed: {error}");
                },
            }
        }
    }

    fn admit(&self, incoming: Incoming, connections: &mut JoinSet<()>) {
        let peer = incoming.remote_address();
        // A client that has shown its address cannot be asked again.
        let validated = incoming.remote_address_validated() || !incoming.may_retry();
        match self.service.admission.judge(peer, validated) {
            Verdict::Admit(admitted) => {
                let (service, listener) = (Arc::clone(&self.service), Arc::clone(&self.listener));
                connections.spawn(connection::serve(service, listener, incoming, admitted));
            }
            Verdict::Retry => {
                self.service.refusals.note(Refusal::Address, peer);
                if let Err(error) = incoming.retry() {
                    error.into_incoming().refuse();
                }
            }
            Verdict::Refuse(reason) => {
                incoming.refuse();
                self.service.refusals.note(reason, peer);
            }
        }
    }

    /// Turns newcomers away while the connections finish what they have begun.
    async fn drain(&self, connections: &mut JoinSet<()>) -> Drained {
        info!("shutting down; connections that are open: {}", connections.len());
        let finish = async {
            loop {
                tokio::select! {
                    ended = connections.join_next() => if ended.is_none() { return },
                    Some(incoming) = self.listener.accept() => incoming.refuse(),
                }
            }
        };
        // What did not finish is counted from what is left.
        let _ = timeout(self.service.deadlines().drain, finish).await;
        Drained { cut: connections.len() }
    }
}

/// The end points beside the first, each with a runtime of its own.
pub(crate) struct Others<S>(Vec<(Driver, EndPoint<S>)>);

impl<S> Default for Others<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S> Others<S> {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl<S: WriteStore> Others<S> {
    pub(crate) fn bind(
        service: &Arc<Service<S>>,
        bound: Vec<Sockets>,
        spoken: &Spoken,
    ) -> Result<Self, TransportError> {
        let start = |sockets: Sockets| {
            let driver = Driver::new(service.limits.blocking_threads)?;
            let end_point = driver.enter(|| EndPoint::start(Arc::clone(service), sockets, spoken))?;
            Ok((driver, end_point))
        };
        bound.into_iter().map(start).collect::<Result<_, _>>().map(Self)
    }

    /// Has each served by a thread.
    pub(crate) fn start(self) -> Result<Running, ServeError> {
        let (ended, endings) = mpsc::channel(self.0.len().max(1));
        let mut running = Running { endings, left: self.0.len(), wanted: Vec::new() };
        for (number, (driver, end_point)) in (2..).zip(self.0) {
            let (wanted, unwanted) = oneshot::channel::<Infallible>();
            running.wanted.push(wanted);
            let ended = ended.clone();
            let serve = move || {
                let served = driver.drive(async {
                    tokio::select! {
                        drained = end_point.serve() => Some(drained),
                        _ = unwanted => None,
                    }
                });
                if let Some(drained) = served {
                    // Has room for one of each.
                    let _ = ended.try_send(drained);
                }
            };
            std::thread::Builder::new()
                .name(format!("qfs-endpoint-{number}"))
                .spawn(serve)
                .map_err(ServeError::Thread)?;
        }
        Ok(running)
    }
}

/// End points that their threads serve; dropped, they end at once.
pub(crate) struct Running {
    endings: mpsc::Receiver<Result<Drained, ServeError>>,
    left: usize,
    wanted: Vec<oneshot::Sender<Infallible>>,
}

impl Running {
    /// Waits until all have ended in good order, or one has not.
    pub(crate) async fn ended(&mut self) -> Result<Drained, ServeError> {
        let mut cut = 0;
        while self.left > 0 {
            // A thread that ends without a word has panicked.
            cut += self.endings.recv().await.unwrap_or(Err(ServeError::SocketDied))?.cut;
            self.left -= 1;
        }
        Ok(Drained { cut })
    }
}

/// A runtime with one thread for the network, which may be dropped anywhere.
struct Driver(Option<Runtime>);

impl Driver {
    fn new(blocking_threads: usize) -> Result<Self, TransportError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(blocking_threads)
            .build()?;
        Ok(Self(Some(runtime)))
    }

    fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let _inside = self.0.as_ref().map(Runtime::enter);
        work()
    }

    fn drive<T>(&self, work: impl Future<Output = Option<T>>) -> Option<T> {
        self.0.as_ref().and_then(|runtime| runtime.block_on(work))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // A long read may still be under way; nothing of it is wanted.
            runtime.shutdown_background();
        }
    }
}
