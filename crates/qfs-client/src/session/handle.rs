//! The connection, and making it anew when it is lost.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use qfs_core::model::{Fingerprint, HashKind, Token};
use qfs_core::observe::{Event, Observer};
use qfs_core::stream::Lost;
use qfs_core::wire::StatusCode;
use qfs_transport::{ConnectError, Connection, PathReport, SocketBuffers, Trust, Way};
use tokio::runtime::Handle;

use super::dial::{Link, connect, remember};
use super::lane::run_on;
use super::renewal::Renewal;
use super::stay::{Stay, Staying, Stays};
use super::watch::{self, Move, Watched};
use crate::config::{ConnectConfig, Transport};
use crate::error::{Failure, FailureClass, SessionError};
use crate::sync::lock;

/// Wait before the first attempt to reconnect; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// Longest wait between two attempts to reconnect.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Longest single attempt to reconnect. A server that is back answers within a round trip; waiting long for an answer to a
/// packet sent into a dead network only delays the next attempt.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(4);

/// A connection to one server, kept alive across losses; cheap to clone.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
    /// Who is told of what is done by way of this handle.
    observer: Arc<dyn Observer>,
}

struct Inner {
    config: ConnectConfig,
    /// Who is told of what the connection does by itself.
    observer: Arc<dyn Observer>,
    /// Whom further connections may meet.
    whom: Whom,
    live: Mutex<Live>,
    /// What drives the connections; None where the program runs.
    lane: Option<Handle>,
    /// Held by whoever reconnects; the others wait for it.
    reconnecting: tokio::sync::Mutex<()>,
    progress: Mutex<Instant>,
    /// Answers that are waited for.
    waiting: AtomicUsize,
    /// Exchanges under which the connection is not given up for another way.
    stays: Arc<Stays>,
    /// Whether it was told that the server gives other digests than were asked for; of all connections of a run.
    other_hash: Arc<AtomicBool>,
    /// The progress behind which a reconnect was granted although the time was up; there is one for each.
    granted: Mutex<Option<Instant>>,
}

/// Whom connections may meet.
#[derive(Clone)]
pub(super) enum Whom {
    /// As it was said.
    Told(Trust),
    /// As it is on record.
    Known(Arc<Renewal>),
}

#[derive(Clone)]
struct Live {
    link: Link,
    /// Which connection this is, counted from 0.
    generation: u64,
}

/// A connection to use, and to name when it turns out to be lost.
#[derive(Clone)]
pub struct Lease {
    /// The connection.
    pub connection: Connection,
    generation: u64,
}

impl Session {
    /// A further session to the same server, driven by `lane`. It must show the key this one has.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be made.
    pub(super) async fn further(&self, lane: &Handle) -> Result<Self, Failure> {
        let config = self.inner.config.clone();
        let link = self.another_by(config.transport, config.patience, Some(lane)).await;
        let link = link.map_err(|error| final_failure(&error).unwrap_or(Failure::ConnectionLost(error.to_string())))?;
        let (observer, told) = (Arc::clone(&self.observer), Arc::clone(&self.inner.other_hash));
        Ok(Self::over(link, config, observer, self.inner.whom.clone(), told, Some(lane.clone())))
    }

    /// The runtime that drives the connection, where it has one of its own.
    pub(crate) fn lane(&self) -> Option<&Handle> {
        self.inner.lane.as_ref()
    }

    /// Does `work` where the connection is driven. It is dropped there when this is dropped.
    pub(crate) async fn alongside<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        match self.lane() {
            Some(lane) => run_on(lane, work).await,
            None => work.await,
        }
    }

    /// One more connection to the same server, driven where those before were.
    async fn another(&self, patience: Duration) -> Result<Link, SessionError> {
        self.another_by(self.inner.config.transport, patience, self.lane()).await
    }

    async fn another_by(
        &self,
        transport: Transport,
        patience: Duration,
        lane: Option<&Handle>,
    ) -> Result<Link, SessionError> {
        let trust = match &self.inner.whom {
            Whom::Told(trust) => trust.clone(),
            Whom::Known(renewal) => renewal.trust(),
        };
        let link = match lane {
            None => connect(&self.inner.config, transport, &trust, patience).await?,
            Some(lane) => {
                let config = self.inner.config.clone();
                run_on(lane, async move { connect(&config, transport, &trust, patience).await }).await?
            }
        };
        if let Whom::Known(renewal) = &self.inner.whom {
            renewal.met(link.connection.peer_fingerprint(), &*self.inner.observer).await;
        }
        Ok(link)
    }

    /// Waits, not for long, until it is known and recorded whether the server announces another key.
    pub async fn settled(&self) {
        if let Whom::Known(renewal) = &self.inner.whom {
            renewal.settled().await;
        }
    }

    pub(super) fn over(
        link: Link,
        config: ConnectConfig,
        observer: Arc<dyn Observer>,
        whom: Whom,
        other_hash: Arc<AtomicBool>,
        lane: Option<Handle>,
    ) -> Self {
        let may_be_late = link.is_other_way && link.connection.way() == Way::Tcp;
        let inner = Inner {
            config,
            observer: Arc::clone(&observer),
            whom,
            live: Mutex::new(Live { link, generation: 0 }),
            lane,
            reconnecting: tokio::sync::Mutex::default(),
            progress: Mutex::new(Instant::now()),
            waiting: AtomicUsize::new(0),
            stays: Arc::default(),
            other_hash,
            granted: Mutex::default(),
        };
        let session = Self { inner: Arc::new(inner), observer };
        if session.inner.config.transport == Transport::Auto {
            let watched = Arc::downgrade(&session.inner);
            watch::begin(may_be_late, move || {
                watched.upgrade().map(|inner| Session { observer: Arc::clone(&inner.observer), inner })
            });
        }
        session
    }

    /// The same connection, of whose transfers `observer` is told, and not whoever was so far. So each of several pieces of work on one
    /// connection has its own progress.
    #[must_use]
    pub fn observed_by(&self, observer: Arc<dyn Observer>) -> Self {
        Self { inner: Arc::clone(&self.inner), observer }
    }

    /// The server's key.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.inner.live().link.connection.peer_fingerprint()
    }

    /// What is shown with every request.
    pub(crate) fn token(&self) -> Option<&Token> {
        self.inner.config.token.as_ref()
    }

    /// What digests are asked for.
    pub(crate) fn hash(&self) -> HashKind {
        self.inner.config.hash
    }

    /// What the server's digests are: what is asked for, until it has answered with others. What is hashed here to be compared with
    /// them is hashed so.
    #[must_use]
    pub fn digest_kind(&self) -> HashKind {
        if self.inner.other_hash.load(Ordering::Relaxed) { HashKind::default() } else { self.inner.config.hash }
    }

    /// The server gives digests of `kind`: tells, once, when that is not what was asked for.
    pub(crate) fn note_hash(&self, kind: HashKind) {
        let asked = self.inner.config.hash;
        if kind != asked && !self.inner.other_hash.swap(true, Ordering::Relaxed) {
            self.observer.event(Event::OtherHash { asked, given: kind });
        }
    }

    /// Where the server is now.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.inner.live().link.connection.remote_address()
    }

    /// What is known of the path.
    #[must_use]
    pub fn path_report(&self) -> PathReport {
        self.inner.live().link.connection.path_report()
    }

    /// How the connection in use travels.
    #[must_use]
    pub fn way(&self) -> Way {
        self.inner.live().link.connection.way()
    }

    /// What the kernel granted for socket buffers; None over TCP, where it sees to them by itself.
    #[must_use]
    pub fn socket_buffers(&self) -> Option<SocketBuffers> {
        Some(self.inner.live().link.endpoint?.buffers())
    }

    /// The UDP port that the connection in use has here, if it has one.
    #[must_use]
    pub fn local_port(&self) -> Option<u16> {
        self.inner.live().link.endpoint?.local_addr().ok().map(|address| address.port())
    }

    /// The connection in use.
    #[must_use]
    pub fn lease(&self) -> Lease {
        let live = self.inner.live();
        Lease { connection: live.link.connection, generation: live.generation }
    }

    /// Whether `lease` is of the connection in use.
    pub(crate) fn is_current(&self, lease: &Lease) -> bool {
        self.inner.live().generation == lease.generation
    }

    /// Has an exchange on `lease` stay there until what is returned is dropped, whatever other way opens meanwhile.
    ///
    /// # Errors
    /// [`Lost::ClosedHere`] when the session has gone over to another connection already: nothing is lost then but what was asked so far.
    pub(crate) fn stay(&self, lease: &Lease, stay: Stay) -> Result<Staying, Lost> {
        // Counted first: whoever goes over behind this look sees it.
        let staying = self.inner.stays.begin(stay);
        if self.is_current(lease) { Ok(staying) } else { Err(Lost::ClosedHere) }
    }

    /// A connection after `lost` failed: another one if somebody has made it already, else a new one, tried again and again
    /// until nothing has made progress for the retry time-out.
    ///
    /// # Errors
    /// [`Failure::ConnectionLost`] when the time is up, [`Failure::Untrusted`] when the server came back with another key.
    pub async fn renew(&self, lost: &Lease, why: &Lost) -> Result<Lease, Failure> {
        if let Lost::CertificateRefused(_) = why {
            return Err(Failure::CertificateRefused(why.clone()));
        }
        let _turn = self.inner.reconnecting.lock().await;
        let current = self.lease();
        if current.generation != lost.generation {
            return Ok(current);
        }
        let mut reason = why.to_string();
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            let left = self.time_left();
            // Noticing the loss may have taken longer than the whole time-out: one attempt is owed all the same, but a server
            // that lets everybody in and serves nobody gets no second one.
            if left.is_zero() && (attempt > 1 || !self.grant_one()) {
                break;
            }
            self.observer.event(Event::Reconnecting { attempt, wait, reason: &reason });
            tokio::time::sleep(wait.min(left)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
            let left = if attempt > 1 { self.time_left().max(FIRST_WAIT) } else { RECONNECT_PATIENCE };
            let patience = RECONNECT_PATIENCE.min(left);
            match self.another(patience).await {
                Ok(link) => return Ok(self.install(link, lost.generation + 1)),
                Err(error) => match final_failure(&error) {
                    Some(failure) => return Err(failure),
                    None => reason = error.to_string(),
                },
            }
        }
        Err(Failure::ConnectionLost(reason))
    }

    fn install(&self, link: Link, generation: u64) -> Lease {
        let connection = link.connection.clone();
        *lock(&self.inner.live) = Live { link, generation };
        Lease { connection, generation }
    }

    /// Whether this is the first attempt beyond the time-out since the last progress.
    fn grant_one(&self) -> bool {
        let progress = Some(*lock(&self.inner.progress));
        std::mem::replace(&mut *lock(&self.inner.granted), progress) != progress
    }

    /// Something arrived that will not have to be fetched again: the retry time-out starts anew.
    pub fn note_progress(&self) {
        *lock(&self.inner.progress) = Instant::now();
    }

    /// How long ago something last arrived.
    pub(crate) fn silent_for(&self) -> Duration {
        lock(&self.inner.progress).elapsed()
    }

    /// The retry time-out.
    pub(crate) fn retry_timeout(&self) -> Duration {
        self.inner.config.retry_timeout
    }

    /// What is left of the retry time-out.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.inner.config.retry_timeout.saturating_sub(lock(&self.inner.progress).elapsed())
    }

    /// Ends the connection and tells the server, without sitting out the closing period (RFC 9000 §10.2).
    pub async fn close(self) {
        let link = self.inner.live().link;
        self.alongside(async move {
            link.connection.close(StatusCode::OK);
            link.flush().await;
        })
        .await;
    }

    /// An answer is waited for, or no longer is.
    pub(super) fn note_waiting(&self, begins: bool) {
        if begins {
            self.inner.waiting.fetch_add(1, Ordering::Relaxed);
        } else {
            self.inner.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn observer(&self) -> &Arc<dyn Observer> {
        &self.observer
    }
}

impl Watched for Session {
    fn awaited(&self) -> Option<Connection> {
        (self.inner.waiting.load(Ordering::Relaxed) > 0).then(|| self.lease().connection)
    }

    fn current(&self) -> Connection {
        self.lease().connection
    }

    async fn connect_by(&self, way: Way) -> Result<Link, SessionError> {
        self.another_by(Transport::Only(way), RECONNECT_PATIENCE, self.lane()).await
    }

    fn must_stay(&self, works: bool) -> bool {
        self.inner.stays.forbid_leaving(works)
    }

    /// The exchanges on `old` find out that it is closed, and go on over `link`.
    async fn go_over(&self, old: &Connection, link: &Link, is_late: bool) -> Move {
        let (from, to) = (old.way(), link.connection.way());
        {
            // Whoever holds this is making a connection already.
            let Ok(_turn) = self.inner.reconnecting.try_lock() else { return Move::TooLate };
            let mut live = lock(&self.inner.live);
            let current = &live.link.connection;
            let is_gone = |connection: &Connection| connection.close_reason().is_some();
            if current.id() != old.id() || current.way() != from || is_gone(old) || is_gone(&link.connection) {
                return Move::TooLate;
            }
            // Under the lock: see `stay`.
            if self.must_stay(is_late) {
                return Move::NotYet;
            }
            *live = Live { link: link.clone(), generation: live.generation + 1 };
        }
        old.close(StatusCode::CANCELLED);
        self.inner.observer.event(Event::WayChanged { from: from.name(), to: to.name(), is_late });
        remember(&self.inner.config, to).await;
        Move::Done
    }
}

impl Inner {
    fn live(&self) -> Live {
        lock(&self.live).clone()
    }
}

/// What a connection that was not made is reported as, when another attempt would end alike.
fn final_failure(error: &SessionError) -> Option<Failure> {
    match (error, error.class()) {
        (_, FailureClass::Trust) => Some(Failure::Untrusted(error.to_string())),
        (SessionError::Connect { source: ConnectError::Lost(lost @ Lost::CertificateRefused(_)), .. }, _) => {
            Some(Failure::CertificateRefused(lost.clone()))
        }
        _ => None,
    }
}
