//! What a connection, its streams and the task that drives it share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qfs_core::wire::StatusCode;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

use super::mux::Mux;

/// What ends the connection when it is dropped.
#[derive(Debug)]
pub(super) struct Handle(pub(super) Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.mux().close(StatusCode::OK);
    }
}

/// What the connection shares with the task that drives it.
#[derive(Debug)]
pub(super) struct Shared {
    mux: Mutex<Mux>,
    /// How far it has come with its end.
    ending: watch::Sender<Ending>,
    peer: SocketAddr,
    certificate: Option<CertificateDer<'static>>,
}

impl Shared {
    pub(super) fn new(mux: Mux, peer: SocketAddr, certificate: Option<CertificateDer<'static>>) -> Self {
        Self { mux: Mutex::new(mux), ending: watch::Sender::new(Ending::Open), peer, certificate }
    }

    /// Follows the steps of the end.
    pub(super) fn ending(&self) -> watch::Receiver<Ending> {
        self.ending.subscribe()
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.certificate.as_ref()
    }

    pub(super) fn mux(&self) -> MutexGuard<'_, Mux> {
        self.mux.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, ending: Ending) {
        self.ending.send_replace(ending);
    }
}

/// The steps in which a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// It has not.
    Open,
    /// The peer was told, or cannot be.
    Told,
    /// The peer has ended its half as well, or was not waited for any longer.
    Gone,
}
