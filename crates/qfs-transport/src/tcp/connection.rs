//! A connection of the TCP way, and the halves of its streams, as those above see them.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use qfs_core::model::Fingerprint;
use qfs_core::stream::Lost;
use qfs_core::wire::StatusCode;
use rustls::pki_types::CertificateDer;

use super::driver::{Carrier, drive};
use super::grants::Grants;
use super::handle::{Ending, Handle, Shared};
use super::mux::{Mux, Side};
use super::streams::{TcpSink, TcpSource};
use crate::path_report::PathReport;
use crate::tls::{PeerCertificate, fingerprint_of};

/// An established connection; cheap to clone. When nobody holds it or one of its streams any more, it is closed.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    handle: Arc<Handle>,
}

/// Where a stream comes from, and what is known of its other end.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) peer: SocketAddr,
    pub(super) certificate: Option<CertificateDer<'static>>,
    /// What making the connection took, where this end made it: a round trip.
    pub(super) round_trip: Option<Duration>,
}

impl Connection {
    /// Starts the connection over `stream`, whose handshake is done, in the tokio runtime that is to drive it.
    pub(super) fn start(stream: impl Carrier, origin: Origin, side: Side, grants: Grants) -> Self {
        let mut mux = Mux::new(side, grants, Instant::now());
        if let Some(round_trip) = origin.round_trip {
            mux.assume_round_trip(round_trip);
        }
        let shared = Arc::new(Shared::new(mux, origin.peer, origin.certificate));
        tokio::spawn(drive(stream, Arc::clone(&shared)));
        Self { handle: Arc::new(Handle(shared)) }
    }

    fn mux(&self) -> MutexGuard<'_, Mux> {
        self.handle.0.mux()
    }

    pub(crate) async fn open_stream(&self) -> Result<(TcpSink, TcpSource), Lost> {
        let id = poll_fn(|cx| self.mux().poll_open(cx)).await?;
        Ok(self.halves(id))
    }

    pub(crate) async fn accept_stream(&self) -> Result<(TcpSink, TcpSource), Lost> {
        let id = poll_fn(|cx| self.mux().poll_accept(cx)).await?;
        Ok(self.halves(id))
    }

    fn halves(&self, id: u64) -> (TcpSink, TcpSource) {
        (TcpSink::new(Arc::clone(&self.handle), id), TcpSource::new(Arc::clone(&self.handle), id))
    }

    pub(crate) fn close(&self, code: StatusCode) {
        self.mux().close(code);
    }

    pub(crate) async fn closed(&self) -> Lost {
        poll_fn(|cx| self.mux().await_end(cx)).await
    }

    /// Resolves when the peer was told of the end, or cannot be.
    pub(crate) async fn told(&self) {
        self.ended(Ending::Told).await;
    }

    /// Resolves when the peer has everything, or is not waited for any longer.
    pub(crate) async fn gone(&self) {
        self.ended(Ending::Gone).await;
    }

    async fn ended(&self, step: Ending) {
        // The sender lives as long as this handle.
        let _ = self.handle.0.ending().wait_for(|ending| *ending >= step).await;
    }

    pub(crate) fn close_reason(&self) -> Option<Lost> {
        self.mux().end().cloned()
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        self.handle.0.peer()
    }

    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.handle).addr()
    }

    pub(crate) fn peer_certificate(&self) -> Option<PeerCertificate> {
        PeerCertificate::of(self.handle.0.certificate()?)
    }

    pub(crate) fn peer_fingerprint(&self) -> Option<Fingerprint> {
        fingerprint_of(self.handle.0.certificate()?).ok()
    }

    pub(crate) fn path_report(&self) -> PathReport {
        let mux = self.mux();
        let vitals = &mux.vitals;
        PathReport {
            rtt: vitals.round_trip(),
            min_rtt: vitals.shortest_round_trip(),
            payload: RECORD_BYTES,
            lost_packets: 0,
            received: vitals.received,
            signs: vitals.received,
            sent: vitals.sent,
            pieces: vitals.pieces,
            blocked: vitals.blocked,
        }
    }
}

/// What a TLS record carries (RFC 8446 §5.1), in bytes: the packets below it are the kernel's affair.
const RECORD_BYTES: u16 = 16 << 10;
