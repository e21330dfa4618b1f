//! The server: binds its end points, runs them over one store, and ends in good order.

use std::net::SocketAddr;
use std::sync::Arc;

use qfs_core::model::Fingerprint;
use qfs_core::store::WriteStore;
use qfs_core::wire::ALPN;
use qfs_transport::{BoundEndpoint, BoundTcp, Identity, Listener, SocketBuffers, TcpAcceptor, TransportError};

use crate::config::ServerConfig;
use crate::door::qfs::end_point::{EndPoint, Others};
use crate::door::qfs::tcp::TcpEndPoint;
use crate::door::{Drained, ServeError};
use crate::gate::access::Gate;
use crate::service::Service;

/// A bound server; [`Server::serve`] makes it serve.
pub struct Server<S> {
    service: Arc<Service<S>>,
    /// Driven by whoever serves.
    end_point: EndPoint<S>,
    /// Driven by threads of their own.
    others: Others<S>,
    /// Where the port is open for TCP as well.
    tcp: Option<TcpEndPoint<S>>,
    buffers: SocketBuffers,
    address: SocketAddr,
    fingerprint: Fingerprint,
}

impl<S: WriteStore> Server<S> {
    /// Binds the address of `config` to hand out `store` under `identity`. Inside a tokio runtime, best one with a single
    /// thread: handlers wait for the network there, and for disks on its blocking threads. End points beyond the first bring
    /// their own.
    ///
    /// # Errors
    /// [`TransportError::Bind`] when the port is taken or not allowed.
    pub fn bind(config: ServerConfig, identity: &Identity, store: S) -> Result<Self, TransportError> {
        let (listener, others, acceptor) = bind_ways(&config, identity)?;
        let tuning = config.tuning.clone();
        let service = Arc::new(Service::new(config, identity.fingerprint(), store));
        Ok(Self {
            tcp: acceptor.map(|acceptor| TcpEndPoint::new(Arc::clone(&service), acceptor, tuning)),
            address: listener.local_addr()?,
            buffers: listener.buffers(),
            end_point: EndPoint::new(Arc::clone(&service), listener),
            others: Others::bind(&service, others)?,
            service,
            fingerprint: identity.fingerprint(),
        })
    }

    /// The address really bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The name clients know this server by.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Who may read.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.service.gate
    }

    /// What the kernel granted for socket buffers.
    #[must_use]
    pub fn buffers(&self) -> SocketBuffers {
        self.buffers
    }

    /// How many end points share the port.
    #[must_use]
    pub fn end_points(&self) -> usize {
        1 + self.others.count()
    }

    /// Serves until `shutdown` resolves, then lets running answers finish for [`Deadlines::drain`] (PROTOCOL §1.6). Dropping
    /// the future ends everything at once.
    ///
    /// # Errors
    /// [`ServeError::SocketDied`] when a socket fails before `shutdown`.
    pub async fn serve(mut self, shutdown: impl Future<Output = ()>) -> Result<Drained, ServeError> {
        self.service.load_digests().await;
        let mut others = std::mem::take(&mut self.others).start()?;
        let drained = {
            let over_tcp = async {
                match &self.tcp {
                    Some(tcp) => tcp.serve().await,
                    None => Ok(Drained { cut: 0 }),
                }
            };
            let serving = async { tokio::try_join!(self.end_point.serve(), others.ended(), over_tcp) };
            let asked = async {
                shutdown.await;
                self.service.drain.send_replace(true);
                std::future::pending::<std::convert::Infallible>().await
            };
            tokio::select! {
                result = serving => result.map(|(first, others, tcp)| Drained { cut: first.cut + others.cut + tcp.cut }),
                never = asked => match never {},
                never = self.service.keep_house() => match never {},
            }
        };
        drop(others);
        self.service.refusals.tell();
        self.service.save_digests().await;
        drained
    }
}

/// Tries to find a port that is free for UDP and for TCP, where any will do.
const PORT_TRIES: usize = 16;

/// Binds the port of `config` for UDP and, where it says so, for TCP: the end point to be driven here, the others, and who accepts.
fn bind_ways(
    config: &ServerConfig,
    identity: &Identity,
) -> Result<(Listener, Vec<BoundEndpoint>, Option<TcpAcceptor>), TransportError> {
    let clients = config.clients.as_ref();
    for attempt in 1.. {
        let (first, others) =
            Listener::bind_several(config.address, identity, clients, &config.tuning, config.endpoints)?;
        let listener = first.start()?;
        if !config.tcp {
            return Ok((listener, others, None));
        }
        let address = listener.local_addr()?;
        let bound = BoundTcp::bind_several(address, identity, clients, &[ALPN], 1);
        match bound.map(|mut bound| bound.pop()) {
            Ok(Some(bound)) => return Ok((listener, others, Some(bound.start()?))),
            Ok(None) => return Ok((listener, others, None)),
            // Another program has the number that the system chose for UDP: it chooses another one.
            Err(TransportError::Bind { .. }) if config.address.port() == 0 && attempt < PORT_TRIES => {}
            Err(error) => return Err(error),
        }
    }
    unreachable!("the last attempt returns")
}
