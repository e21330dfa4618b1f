//! The doors: each turns what its protocol asks into calls on the service, and nothing else.
//!
//! A door cannot open a file, skip the gate or forget a limit: it has the [`Service`](crate::service::Service), and files only
//! through a [`View`](crate::view::View).

#[cfg(feature = "http")]
pub(crate) mod http;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
mod newcomer;
pub(crate) mod qfs;
pub(crate) mod tcp;

/// Threads of an end point for disks and hashing. More than two on a small machine only wait for each other; a few more keep
/// short reads going while long passes for digests run.
pub const BLOCKING_THREADS: usize = 8;

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
    /// Connections with answers under way that [`Deadlines::drain`](crate::Deadlines::drain) cut off.
    pub cut: usize,
}
