//! The server: binds its end points, runs them over one store, and ends in good order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use qfs_core::body::Budget;
use qfs_core::model::Fingerprint;
use qfs_core::store::{DigestCache, Store, Versions};
use qfs_transport::{Identity, Listener, SocketBuffers, TransportError};
use tokio::sync::{Semaphore, watch};
use tracing::{error, warn};

use crate::access::{Access, Gate, View};
use crate::admission::Admission;
use crate::audit::{self, Refusals};
use crate::config::{Deadlines, Limits, ServerConfig};
use crate::digest_file::DigestFile;
use crate::end_point::{EndPoint, Others};
use crate::handler::Announcer;

/// How often digests learnt are written to their file.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);

/// Threads of an end point for disks and hashing. More than two on a small machine only wait for each other; a few more keep
/// short reads going while long passes for digests run.
pub const BLOCKING_THREADS: usize = 8;

/// A bound server; [`Server::serve`] makes it serve.
pub struct Server<S> {
    shared: Arc<Shared<S>>,
    /// Driven by whoever serves.
    end_point: EndPoint<S>,
    /// Driven by threads of their own.
    others: Others<S>,
    buffers: SocketBuffers,
    digest_file: Option<DigestFile>,
    address: SocketAddr,
    fingerprint: Fingerprint,
}

/// What all connections of a server share, whichever end point they are at.
pub(crate) struct Shared<S> {
    /// Seen through a [`View`] only.
    versions: Arc<Versions<S>>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) limits: Limits,
    pub(crate) deadlines: Deadlines,
    pub(crate) budget: Arc<Budget>,
    pub(crate) commands: Semaphore,
    /// For requests longer than most while they arrive.
    pub(crate) long_requests: Semaphore,
    pub(crate) listings: Arc<Semaphore>,
    /// For digests of files that were not streamed.
    pub(crate) digest_passes: Semaphore,
    /// For digests of files that were just streamed: little is missing of them.
    pub(crate) digest_tails: Semaphore,
    /// For steps over small files.
    pub(crate) batch_steps: Arc<Semaphore>,
    /// Which key clients are told of.
    pub(crate) announcer: Announcer,
    /// Who was turned away, and why.
    pub(crate) refusals: Refusals,
    /// True once the server ends.
    pub(crate) drain: watch::Sender<bool>,
}

impl<S: Store> Shared<S> {
    /// The published files, as far as `access` reaches.
    pub(crate) fn view(&self, access: Access) -> View<S> {
        View::new(&self.versions, access)
    }
}

impl<S> Shared<S> {
    pub(crate) fn is_draining(&self) -> bool {
        *self.drain.borrow()
    }
}

/// Why a server stopped serving by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The socket can no longer be read or written.
    #[error("the network socket died")]
    SocketDied,
    /// An end point's thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// How a server ended that was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections with answers under way that [`Deadlines::drain`] cut off.
    pub cut: usize,
}

impl<S: Store> Server<S> {
    /// Binds the address of `config` to hand out `store` under `identity`. Inside a tokio runtime, best one with a single
    /// thread: handlers wait for the network there, and for disks on its blocking threads. End points beyond the first bring
    /// their own.
    ///
    /// # Errors
    /// [`TransportError::Bind`] when the port is taken or not allowed.
    pub fn bind(config: ServerConfig, identity: &Identity, store: S) -> Result<Self, TransportError> {
        let clients = config.clients.as_ref();
        let (first, others) =
            Listener::bind_several(config.address, identity, clients, &config.tuning, config.endpoints)?;
        let limits = config.limits;
        let shared = Arc::new(Shared {
            versions: Arc::new(Versions::new(store, Arc::new(DigestCache::default()), qfs_store::blocking_threads())),
            gate: Arc::new(config.gate),
            admission: Arc::new(Admission::new(limits)),
            limits,
            deadlines: config.deadlines,
            budget: Budget::new(limits.buffer_bytes),
            commands: Semaphore::new(limits.commands),
            long_requests: Semaphore::new(limits.long_requests),
            listings: Arc::new(Semaphore::new(limits.listings)),
            digest_passes: Semaphore::new(limits.digest_passes),
            digest_tails: Semaphore::new(limits.digest_passes),
            batch_steps: Arc::new(Semaphore::new(limits.batch_steps)),
            announcer: Announcer { current: identity.fingerprint(), directory: config.renewal },
            refusals: Refusals::default(),
            drain: watch::Sender::new(false),
        });
        let listener = first.start()?;
        Ok(Self {
            address: listener.local_addr()?,
            buffers: listener.buffers(),
            end_point: EndPoint::new(Arc::clone(&shared), listener),
            others: Others::bind(&shared, others)?,
            shared,
            digest_file: config.digest_file,
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
        &self.shared.gate
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
        self.load_digests().await;
        let mut others = std::mem::take(&mut self.others).start()?;
        let drained = {
            let serving = async { tokio::try_join!(self.end_point.serve(), others.ended()) };
            let asked = async {
                shutdown.await;
                self.shared.drain.send_replace(true);
                std::future::pending::<std::convert::Infallible>().await
            };
            tokio::select! {
                result = serving => result.map(|(first, others)| Drained { cut: first.cut + others.cut }),
                never = asked => match never {},
                never = self.save_digests_for_ever() => match never {},
                never = self.shared.gate.follow() => match never {},
                never = self.tell_refusals_for_ever() => match never {},
            }
        };
        drop(others);
        self.shared.refusals.tell();
        self.save_digests().await;
        drained
    }

    async fn load_digests(&self) {
        let Some(file) = self.digest_file.clone() else { return };
        let digests = Arc::clone(self.shared.versions.digests());
        on_blocking_thread("read", move || file.load(&digests)).await;
    }

    async fn save_digests_for_ever(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(SAVE_INTERVAL).await;
            self.save_digests().await;
        }
    }

    async fn tell_refusals_for_ever(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(audit::INTERVAL).await;
            self.shared.refusals.tell();
        }
    }

    async fn save_digests(&self) {
        let Some(file) = self.digest_file.clone() else { return };
        let digests = Arc::clone(self.shared.versions.digests());
        if digests.is_unsaved() {
            on_blocking_thread("written", move || file.save(&digests)).await;
        }
    }
}

/// Runs `work` on the digest file; what fails costs another pass over some files and nothing else.
async fn on_blocking_thread(what: &str, work: impl FnOnce() -> std::io::Result<()> + Send + 'static) {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "remembered digests cannot be {what}"),
        Err(error) => error!(%error, "the task for remembered digests failed"),
    }
}
