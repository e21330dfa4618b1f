//! The server: binds its end points, runs them over one store, and ends in good order.

use std::net::SocketAddr;
use std::sync::Arc;

use qfs_core::model::Fingerprint;
use qfs_core::store::WriteStore;
use qfs_transport::{BoundTcp, Identity, Listener, ServerTuning, SocketBuffers, TransportError};

use crate::config::{PassedSockets, ServerConfig};
use crate::controls::Controls;
#[cfg(feature = "http")]
use crate::door::http;
#[cfg(feature = "metrics")]
use crate::door::metrics::BoundPage;
use crate::door::qfs::end_point::{EndPoint, Others, Sockets};
use crate::door::tcp::Spoken;
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
    #[cfg(feature = "metrics")]
    metrics: Option<BoundPage>,
    buffers: SocketBuffers,
    is_on_tcp: bool,
    address: SocketAddr,
    fingerprint: Fingerprint,
}

impl<S: WriteStore> Server<S> {
    /// Binds the address of `config`, or takes the sockets that it brings, to hand out `store` under `identity`. Inside a tokio runtime, best one with a single
    /// thread: handlers wait for the network there, and for disks on its blocking threads. End points beyond the first bring
    /// their own.
    ///
    /// # Errors
    /// [`TransportError::Bind`] when the port is taken or not allowed.
    pub fn bind(mut config: ServerConfig, identity: &Identity, store: S) -> Result<Self, TransportError> {
        let spoken = Spoken { qfs: config.tcp, http: config.tcp && config.http, tuning: config.tuning.clone() };
        let (first, others) = match config.passed.take() {
            Some(passed) => (on_passed(passed, &config, identity, &spoken)?, Vec::new()),
            None => bind_ports(&config, identity, &spoken)?,
        };
        #[cfg(feature = "metrics")]
        let metrics = match config.metrics {
            Some(address) => {
                Some(BoundPage::bind(address).map_err(|source| TransportError::BindTcp { address, source })?)
            }
            None => None,
        };
        let is_on_tcp = first.tcp.is_some();
        let service = Arc::new(Service::new(config, identity.fingerprint(), store));
        let end_point = EndPoint::start(Arc::clone(&service), first, &spoken)?;
        Ok(Self {
            address: end_point.listener().local_addr()?,
            buffers: end_point.listener().buffers(),
            is_on_tcp,
            end_point,
            #[cfg(feature = "metrics")]
            metrics,
            others: Others::bind(&service, others, &spoken)?,
            service,
            fingerprint: identity.fingerprint(),
        })
    }

    /// The address really bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Whether the TCP port of the same number is open.
    #[must_use]
    pub fn is_on_tcp(&self) -> bool {
        self.is_on_tcp
    }

    /// Where numbers and health are told.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref()?.local_addr().ok()
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

    /// What may be changed while it serves.
    #[must_use]
    pub fn controls(&self) -> Controls {
        self.service.controls()
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

    /// Serves until `shutdown` resolves, then lets running answers finish for [`Deadlines::drain`](crate::Deadlines::drain) (PROTOCOL §1.6). Dropping
    /// the future ends everything at once.
    ///
    /// # Errors
    /// [`ServeError::SocketDied`] when a socket fails before `shutdown`.
    pub async fn serve(mut self, shutdown: impl Future<Output = ()>) -> Result<Drained, ServeError> {
        self.service.load_digests().await;
        let mut others = std::mem::take(&mut self.others).start()?;
        #[cfg(feature = "metrics")]
        let page = self.metrics.take().map(|page| page.serve(Arc::clone(&self.service)));
        let metrics = async {
            #[cfg(feature = "metrics")]
            if let Some(page) = page {
                match page.await {}
            }
            std::future::pending::<std::convert::Infallible>().await
        };
        let drained = {
            let serving = async { tokio::try_join!(self.end_point.serve(), others.ended()) };
            let asked = async {
                shutdown.await;
                self.service.drain.send_replace(true);
                std::future::pending::<std::convert::Infallible>().await
            };
            tokio::select! {
                result = serving => result.map(|(first, others)| Drained { cut: first.cut + others.cut }),
                never = asked => match never {},
                never = self.service.keep_house() => match never {},
                never = metrics => match never {},
            }
        };
        drop(others);
        self.service.refusals.tell();
        self.service.save_digests().await;
        drained
    }
}

/// As often any free port is tried whose number may be taken for TCP.
const PORT_TRIES: usize = 32;

/// The sockets of the first end point, and those of the others: UDP, and TCP on the port of the same number where anything is
/// spoken there.
fn bind_ports(
    config: &ServerConfig,
    identity: &Identity,
    spoken: &Spoken,
) -> Result<(Sockets, Vec<Sockets>), TransportError> {
    let clients = config.clients.as_ref();
    let tuning = quic_tuning(config);
    let protocols = spoken.protocols();
    let mut tries = PORT_TRIES;
    loop {
        tries -= 1;
        let (first, others) = Listener::bind_several(config.address, identity, clients, &tuning, config.endpoints)?;
        if protocols.is_empty() {
            return Ok((
                Sockets { udp: first, tcp: None },
                others.into_iter().map(|udp| Sockets { udp, tcp: None }).collect(),
            ));
        }
        let address = first.local_addr()?;
        match BoundTcp::bind_several(address, identity, clients, &protocols, 1 + others.len()) {
            Ok(bound) => {
                let mut bound = bound.into_iter();
                let first = Sockets { udp: first, tcp: bound.next() };
                return Ok((first, others.into_iter().map(|udp| Sockets { udp, tcp: bound.next() }).collect()));
            }
            // Another program has this number for TCP; the next free one will do as well.
            Err(TransportError::BindTcp { .. }) if config.address.port() == 0 && tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// The sockets of a service manager, as those of the one end point.
fn on_passed(
    passed: PassedSockets,
    config: &ServerConfig,
    identity: &Identity,
    spoken: &Spoken,
) -> Result<Sockets, TransportError> {
    let clients = config.clients.as_ref();
    let udp = Listener::on_socket(passed.udp, identity, clients, &quic_tuning(config))?;
    let protocols = spoken.protocols();
    let tcp = passed.tcp.filter(|_| !protocols.is_empty());
    let tcp = tcp.map(|socket| BoundTcp::on_socket(socket, identity, clients, &protocols)).transpose()?;
    Ok(Sockets { udp, tcp })
}

/// With what else is spoken on the UDP port.
fn quic_tuning(config: &ServerConfig) -> ServerTuning {
    #[cfg_attr(not(feature = "http"), expect(unused_mut, reason = "there is no other protocol then"))]
    let mut tuning = config.tuning.clone();
    #[cfg(feature = "http")]
    {
        tuning.other_protocol = config.http.then_some(http::H3);
    }
    tuning
}
