//! The end point: binds, lets clients in, and ends in good order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use qfs_core::body::Budget;
use qfs_core::model::Fingerprint;
use qfs_core::store::{DigestCache, Store, Versions};
use qfs_core::transport::{Identity, Incoming, Listener, SocketBuffers, TransportError};
use qfs_core::wire::StatusCode;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use crate::admission::{Admission, Verdict};
use crate::config::{Deadlines, Limits, ServerConfig};
use crate::connection;
use crate::digest_file::DigestFile;

/// How often digests learnt are written to their file.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);

/// A bound server; [`Server::serve`] makes it serve.
pub struct Server<S> {
    shared: Arc<Shared<S>>,
    digest_file: Option<DigestFile>,
    address: SocketAddr,
    fingerprint: Fingerprint,
}

/// What all connections of a server share.
pub(crate) struct Shared<S> {
    pub(crate) versions: Arc<Versions<S>>,
    pub(crate) listener: Listener,
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
    /// True once the server ends.
    pub(crate) drain: watch::Sender<bool>,
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
}

/// How a server ended that was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections with answers under way that [`Deadlines::drain`] cut off.
    pub cut: usize,
}

impl<S: Store> Server<S> {
    /// Binds the address of `config` to hand out `store` under `identity`. Inside a tokio runtime, best one with a single
    /// thread: handlers wait for the network there, and for disks on its blocking threads.
    ///
    /// # Errors
    /// [`TransportError::Bind`] when the port is taken or not allowed.
    pub fn bind(config: ServerConfig, identity: &Identity, store: S) -> Result<Self, TransportError> {
        let listener = Listener::bind(config.address, identity, config.tuning)?;
        let address = listener.local_addr()?;
        let limits = config.limits;
        let shared = Shared {
            versions: Arc::new(Versions::new(store, Arc::new(DigestCache::default()))),
            listener,
            limits,
            deadlines: config.deadlines,
            budget: Budget::new(limits.buffer_bytes),
            commands: Semaphore::new(limits.commands),
            long_requests: Semaphore::new(limits.long_requests),
            listings: Arc::new(Semaphore::new(limits.listings)),
            digest_passes: Semaphore::new(limits.digest_passes),
            digest_tails: Semaphore::new(limits.digest_passes),
            batch_steps: Arc::new(Semaphore::new(limits.batch_steps)),
            drain: watch::Sender::new(false),
        };
        Ok(Self {
            shared: Arc::new(shared),
            digest_file: config.digest_file,
            address,
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

    /// What the kernel granted for socket buffers.
    #[must_use]
    pub fn buffers(&self) -> SocketBuffers {
        self.shared.listener.buffers()
    }

    /// Serves until `shutdown` resolves, then lets running answers finish for [`Deadlines::drain`] (PROTOCOL §1.6). Dropping
    /// the future ends everything at once.
    ///
    /// # Errors
    /// [`ServeError::SocketDied`] when the socket fails before `shutdown`.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<Drained, ServeError> {
        self.load_digests().await;
        let mut connections = JoinSet::new();
        let result = tokio::select! {
            result = self.accept_until(shutdown, &mut connections) => result,
            never = self.save_digests_for_ever() => match never {},
        };
        let drained = match result {
            Ok(()) => Ok(self.drain(&mut connections).await),
            Err(error) => Err(error),
        };
        drop(connections);
        self.shared.listener.close(StatusCode::SHUTTING_DOWN).await;
        self.save_digests().await;
        drained
    }

    async fn accept_until(
        &self,
        shutdown: impl Future<Output = ()>,
        connections: &mut JoinSet<()>,
    ) -> Result<(), ServeError> {
        let admission = Arc::new(Admission::new(self.shared.limits));
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return Ok(()),
                incoming = self.shared.listener.accept() => match incoming {
                    Some(incoming) => self.admit(&admission, incoming, connections),
                    None => return Err(ServeError::SocketDied),
                },
                Some(ended) = connections.join_next() => if let Err(error) = ended {
                    error!(%error, "a connection's task failed");
                },
            }
        }
    }

    fn admit(&self, admission: &Arc<Admission>, incoming: Incoming, connections: &mut JoinSet<()>) {
        let peer = incoming.remote_address();
        // A client that has shown its address cannot be asked again.
        let validated = incoming.remote_address_validated() || !incoming.may_retry();
        match admission.judge(peer, validated) {
            Verdict::Admit(admitted) => {
                connections.spawn(connection::serve(Arc::clone(&self.shared), incoming, admitted));
            }
            Verdict::Retry => {
                debug!(%peer, "asked to show its address");
                if let Err(error) = incoming.retry() {
                    error.into_incoming().refuse();
                }
            }
            Verdict::Refuse(reason) => {
                incoming.refuse();
                if let Some(refused) = admission.note_refusal() {
                    warn!(%peer, reason, refused, "refused");
                }
            }
        }
    }

    /// Turns newcomers away while the connections finish what they have begun.
    async fn drain(&self, connections: &mut JoinSet<()>) -> Drained {
        info!(connections = connections.len(), "shutting down");
        self.shared.drain.send_replace(true);
        let finish = async {
            loop {
                tokio::select! {
                    ended = connections.join_next() => if ended.is_none() { return },
                    Some(incoming) = self.shared.listener.accept() => incoming.refuse(),
                }
            }
        };
        // What did not finish is counted from what is left.
        let _ = timeout(self.shared.deadlines.drain, finish).await;
        Drained { cut: connections.len() }
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
