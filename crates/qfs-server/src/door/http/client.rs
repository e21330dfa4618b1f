//! What the requests of one connection share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use qfs_core::body::Share;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::gate::abandoned::Abandoned;
use crate::gate::audit::{Refusal, Visit};
use crate::metrics;
use crate::pace::Lane;
use crate::service::Service;

/// Archives that one connection is sent at once. Those that are read one after the other are as quick.
const ARCHIVES: usize = 4;

/// One connection, whichever way it came.
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    /// What the audit trail calls the way it came.
    pub(super) door: &'static str,
    /// The port of this server, by which its cookie is told from those of others on the same host.
    pub(super) port: u16,
    /// Where else this server is to be had (RFC 7838).
    pub(super) elsewhere: Option<HeaderValue>,
    pub(super) share: Share,
    pub(super) lane: Lane,
    pub(super) commands: Semaphore,
    /// For archives, which are few in all.
    pub(super) archives: Arc<Semaphore>,
    visit: Mutex<Visit>,
    abandoned: Mutex<Abandoned>,
    denied: AtomicU32,
    heard: AtomicBool,
    active: AtomicUsize,
    turned_out: Notify,
    misused: AtomicBool,
    _open: metrics::Open,
}

/// Counts a request as under way until it is dropped.
pub(super) struct Active(Arc<Client>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Client {
    /// A client at `peer`; `certificate`: who it is by it, escaped, where one was asked for.
    pub(super) fn new<S>(
        service: &Service<S>,
        (door, way): (&'static str, &'static str),
        peer: SocketAddr,
        port: u16,
        certificate: Option<String>,
    ) -> Arc<Self> {
        Arc::new(Self {
            peer,
            door,
            port,
            elsewhere: HeaderValue::from_str(&format!("h3=\":{port}\"; ma=86400")).ok(),
            share: service.budget.share(),
            lane: service.lane(peer),
            commands: Semaphore::new(service.limits.commands_per_connection),
            archives: Arc::new(Semaphore::new(ARCHIVES)),
            visit: Mutex::new(Visit::begin(door, way, peer, certificate)),
            abandoned: Mutex::new(Abandoned::new(&service.limits, Instant::now())),
            denied: AtomicU32::new(0),
            heard: AtomicBool::new(false),
            active: AtomicUsize::new(0),
            turned_out: Notify::new(),
            misused: AtomicBool::new(false),
            _open: service.metrics.opened(door),
        })
    }

    pub(super) fn visit(&self) -> MutexGuard<'_, Visit> {
        self.visit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>) -> Active {
        self.heard.store(true, Ordering::Relaxed);
        self.active.fetch_add(1, Ordering::Relaxed);
        Active(Arc::clone(self))
    }

    /// Whether it has ever asked for anything.
    pub(super) fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.active.load(Ordering::Relaxed) == 0
    }

    /// Ends the connection at once.
    pub(super) fn turn_out(&self) {
        self.misused.store(true, Ordering::Relaxed);
        self.turned_out.notify_one();
    }

    /// Whether the client was turned out: nothing that it asks is answered any more.
    pub(super) fn is_misused(&self) -> bool {
        self.misused.load(Ordering::Relaxed)
    }

    /// Resolves when the connection is to end at once.
    pub(super) async fn is_turned_out(&self) {
        self.turned_out.notified().await;
    }

    /// Turns the client out when it goes on asking without a good token.
    pub(super) fn note_denied<S>(&self, service: &Service<S>) {
        service.refusals.note(Refusal::NoToken, self.peer);
        if self.denied.fetch_add(1, Ordering::Relaxed) + 1 > service.limits.denials_per_connection {
            service.refusals.note(Refusal::Guessing, self.peer);
            self.turn_out();
        }
    }

    /// Turns the client out when it abandons requests faster than anybody with a purpose does.
    pub(super) fn note_abandoned<S>(&self, service: &Service<S>) {
        if !self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).note(Instant::now()) {
            service.refusals.note(Refusal::Flood, self.peer);
            self.turn_out();
        }
    }
}
