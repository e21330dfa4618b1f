//! One connection.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quinn::crypto::rustls::HandshakeData;
use quinn::{ConnectionError, VarInt};
use rustls::pki_types::CertificateDer;

use super::streams::{QuicRequestReader, QuicSink, QuicSource};
use crate::tls::PeerCertificate;
use crate::tls::fingerprint_of;
use crate::tuning::{INITIAL_SEND_WINDOW, MAX_RECEIVE_WINDOW, MAX_SEND_WINDOW};
use qfs_core::model::Fingerprint;
use qfs_core::stream::Lost;
use qfs_core::wire::StatusCode;

/// An established connection; cheap to clone.
#[derive(Debug, Clone)]
pub struct Connection {
    inner: quinn::Connection,
    send_window: Arc<SendWindow>,
    receive_window: Arc<Mutex<ReceiveWindow>>,
}

/// What quinn knows of a path.
#[derive(Debug, Clone)]
pub struct PathReport {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Congestion window in bytes.
    pub congestion_window: u64,
    /// Largest UDP payload in use, in bytes.
    pub payload: u16,
    /// Everything counted.
    pub stats: quinn::ConnectionStats,
}

impl Connection {
    /// `receive_window` is what the transport configuration granted the peer, in bytes.
    pub(super) fn new(inner: quinn::Connection, receive_window: u64) -> Self {
        let window = ReceiveWindow::new(receive_window, Instant::now());
        let send_window = Arc::new(SendWindow {
            bytes: AtomicU64::new(INITIAL_SEND_WINDOW),
            most: AtomicU64::new(MAX_SEND_WINDOW),
            unchecked: AtomicU64::new(0),
        });
        Self { inner, send_window, receive_window: Arc::new(Mutex::new(window)) }
    }

    /// Opens a stream for one command, waiting while the peer's limit is reached.
    ///
    /// # Errors
    /// [`Lost`] when the connection is gone.
    pub async fn open_stream(&self) -> Result<(QuicSink, QuicSource), Lost> {
        let (send, receive) = self.inner.open_bi().await.map_err(|e| lost(&e))?;
        Ok((QuicSink::new(send, self.clone()), QuicSource::new(receive, self.clone())))
    }

    /// The next stream that the peer opens.
    ///
    /// # Errors
    /// [`Lost`] when the connection is gone.
    pub async fn accept_stream(&self) -> Result<(QuicSink, QuicRequestReader), Lost> {
        let (send, receive) = self.inner.accept_bi().await.map_err(|e| lost(&e))?;
        Ok((QuicSink::new(send, self.clone()), QuicRequestReader::new(receive)))
    }

    /// Resolves when the peer opens a unidirectional stream, which `qfs/1` has none of (PROTOCOL §1.4), or the connection is gone.
    pub async fn uni_stream_opened(&self) {
        let _ = self.inner.accept_uni().await;
    }

    /// The protocol that was agreed on (RFC 7301); empty where none was.
    #[must_use]
    pub fn protocol(&self) -> Vec<u8> {
        let data = self.inner.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
        data.and_then(|data| data.protocol).unwrap_or_default()
    }

    /// The connection itself, for another protocol on the same port, which brings its own streams.
    #[must_use]
    pub fn quic(&self) -> quinn::Connection {
        self.inner.clone()
    }

    /// Closes the connection with a code of another protocol than `qfs/1`, at most 2^62 - 1.
    pub fn close_with(&self, code: u64) {
        self.inner.close(VarInt::from_u64(code).unwrap_or(VarInt::MAX), b"");
    }

    /// Closes the connection; every stream fails.
    pub fn close(&self, code: StatusCode) {
        self.inner.close(VarInt::from_u32(code.0), b"");
    }

    /// Resolves when the connection is gone, with the reason.
    pub async fn closed(&self) -> Lost {
        lost(&self.inner.closed().await)
    }

    /// Why the connection is gone, or None while it is not.
    #[must_use]
    pub fn close_reason(&self) -> Option<Lost> {
        self.inner.close_reason().map(|e| lost(&e))
    }

    /// Where the peer is now.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.inner.remote_address()
    }

    /// A number that no other connection of this process has.
    #[must_use]
    pub fn id(&self) -> usize {
        self.inner.stable_id()
    }

    /// The certificate that the client proved to hold; None when it was not asked for one.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<PeerCertificate> {
        let identity = self.inner.peer_identity()?;
        let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        PeerCertificate::of(chain.first()?)
    }

    /// The key that the peer proved to hold; None on the server, unless it asks clients for certificates.
    #[must_use]
    pub fn peer_fingerprint(&self) -> Option<Fingerprint> {
        let identity = self.inner.peer_identity()?;
        let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        fingerprint_of(chain.first()?).ok()
    }

    /// What is known of the path.
    #[must_use]
    pub fn path_report(&self) -> PathReport {
        let stats = self.inner.stats();
        PathReport { rtt: stats.path.rtt, congestion_window: stats.path.cwnd, payload: stats.path.current_mtu, stats }
    }

    /// Counts `bytes` as sent and, every [`WINDOW_CHECK_BYTES`], lets the send window follow the congestion window and the
    /// losses: a fixed one caps a long link or wastes memory on a slow reader.
    pub fn note_sent(&self, bytes: usize) {
        let unchecked = self.send_window.unchecked.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if unchecked < WINDOW_CHECK_BYTES {
            return;
        }
        self.send_window.unchecked.store(0, Ordering::Relaxed);
        let wanted = send_window(&self.inner.stats().path).clamp(INITIAL_SEND_WINDOW, MAX_SEND_WINDOW);
        let wanted = wanted.min(self.send_window.most.load(Ordering::Relaxed));
        let current = self.send_window.bytes.load(Ordering::Relaxed);
        // In steps of a quarter, so that quinn is not told at every look.
        if wanted > current + current / 4 || wanted < current / 2 {
            self.send_window.bytes.store(wanted, Ordering::Relaxed);
            self.inner.set_send_window(wanted);
        }
    }

    /// Lets the send window be at most `bytes`, for who sends what no budget counts.
    pub fn bound_send_window(&self, bytes: u64) {
        self.send_window.most.store(bytes, Ordering::Relaxed);
        if self.send_window.bytes.fetch_min(bytes, Ordering::Relaxed) > bytes {
            self.inner.set_send_window(bytes);
        }
    }

    /// Counts `bytes` as taken by the application, and lets the receive window grow with what is taken.
    pub(super) fn note_taken(&self, bytes: usize) {
        let mut window = self.receive_window.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wider) = window.take(bytes as u64, || self.inner.rtt(), Instant::now())
            && let Ok(wider) = VarInt::from_u64(wider)
        {
            self.inner.set_receive_window(wider);
        }
    }
}

/// The send window, in bytes, that keeps a path busy.
///
/// quinn counts in it whatever was sent since the first byte that is still missing at the other end. Without loss that is one
/// congestion window, and another holds what is sent next. A lost packet is missing until the round trip after the one in
/// which its loss showed, and for a round trip more each time it is lost again: so with 1 % lost of 1,700 packets under way, a
/// window of twice the congestion window stands still several times a second.
fn send_window(path: &quinn::PathStats) -> u64 {
    let loss = path.lost_packets as f64 / path.sent_packets.max(1) as f64;
    // Packets under way that this fate is expected to meet; a tenth of one is none.
    let mut unlucky = path.cwnd as f64 / f64::from(path.current_mtu.max(1)) * loss;
    let mut round_trips = 2;
    while unlucky >= 0.1 && round_trips < MOST_ROUND_TRIPS {
        round_trips += 1;
        unlucky *= loss;
    }
    path.cwnd.saturating_mul(round_trips)
}

/// Congestion windows in a send window, at most: enough for 5 % lost on any path.
const MOST_ROUND_TRIPS: u64 = 6;

/// How much the peer may send ahead.
#[derive(Debug)]
struct ReceiveWindow {
    /// The window in force.
    bytes: u64,
    /// Taken by the application since `since`.
    taken: u64,
    since: Instant,
    /// The shortest round trip lately.
    shortest: Duration,
}

impl ReceiveWindow {
    fn new(bytes: u64, now: Instant) -> Self {
        Self { bytes, taken: 0, since: now, shortest: Duration::MAX }
    }

    /// Counts `bytes` as taken; returns a new window. When half of it is taken in a round trip, the window is what holds the sender,
    /// and doubles; a slow disk takes less and leaves it small, so that little accumulates before the disk.
    ///
    /// The round trip is the shortest one lately. A disk that stands still makes the present one long, and all that waited is
    /// taken at once when it goes on: a window that grew then would be filled at the next stop.
    fn take(&mut self, bytes: u64, round_trip: impl FnOnce() -> Duration, now: Instant) -> Option<u64> {
        self.taken += bytes;
        if self.taken < self.bytes / 2 {
            return None;
        }
        // A path that became longer is believed after some dozen looks.
        self.shortest = round_trip().min(self.shortest.saturating_add(self.shortest / 16));
        let grows = now.duration_since(self.since) <= self.shortest && self.bytes < MAX_RECEIVE_WINDOW;
        self.taken = 0;
        self.since = now;
        if grows {
            self.bytes *= 2;
        }
        grows.then_some(self.bytes)
    }
}

/// Bytes sent on a connection between two looks at its congestion window.
const WINDOW_CHECK_BYTES: u64 = 256 << 10;

#[derive(Debug)]
struct SendWindow {
    /// The window in force.
    bytes: AtomicU64,
    /// It never grows beyond this.
    most: AtomicU64,
    /// Sent since the last look.
    unchecked: AtomicU64,
}

pub(super) fn lost(error: &ConnectionError) -> Lost {
    match error {
        ConnectionError::TimedOut => Lost::TimedOut,
        ConnectionError::Reset => Lost::Restarted,
        ConnectionError::LocallyClosed => Lost::ClosedHere,
        ConnectionError::ApplicationClosed(close) => Lost::Closed(StatusCode::from_quic(close.error_code.into_inner())),
        ConnectionError::ConnectionClosed(close) => match certificate_alert(u64::from(close.error_code)) {
            Some(why) => Lost::CertificateRefused(why),
            None => Lost::Transport(error.to_string()),
        },
        other => Lost::Transport(other.to_string()),
    }
}

/// What a server's TLS alert says of the client's certificate (RFC 8446 §6.2 as a QUIC error, RFC 9001 §4.8); None for others. A
/// client is told after its half of the handshake: the connection seems made, and ends.
fn certificate_alert(code: u64) -> Option<&'static str> {
    Some(match code.checked_sub(0x100)? {
        116 => "the server wants one, and none was shown",
        48 => "the server does not know who issued it",
        45 => "it has expired",
        44 => "it was revoked",
        42 | 43 | 46 | 49 | 51 => "the server does not accept it",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(cwnd: u64, sent: u64, lost: u64) -> quinn::PathStats {
        let mut path = quinn::PathStats::default();
        (path.cwnd, path.current_mtu, path.sent_packets, path.lost_packets) = (cwnd, 1452, sent, lost);
        path
    }

    /// Fails when a stop of the disk widens the window (the present round trip in place of the shortest), when a long path leaves
    /// it small, or when a path that became longer is not believed.
    #[test]
    fn the_receive_window_follows_the_path_and_not_the_disk() {
        const MIB: u64 = 1 << 20;
        let ms = Duration::from_millis;
        let now = std::cell::Cell::new(Instant::now());
        let mut window = ReceiveWindow::new(4 * MIB, now.get());
        let take = |window: &mut ReceiveWindow, after, rtt| {
            now.set(now.get() + after);
            window.take(window.bytes / 2, || rtt, now.get());
            window.bytes / MIB
        };
        // A fast path: 2 MiB in 4 ms, of which one takes 1 ms. Then the disk stands still.
        assert_eq!(take(&mut window, ms(4), ms(1)), 4);
        assert_eq!(take(&mut window, ms(900), ms(700)), 4);
        assert_eq!((0..8).map(|_| take(&mut window, ms(2), ms(600))).max(), Some(4));
        // A far path that brings 20 MiB in a round trip.
        let mut far = ReceiveWindow::new(4 * MIB, now.get());
        for width in [8, 16, 32, 64, 64, 64] {
            let after = ms(far.bytes / MIB * 5 / 2);
            assert_eq!(take(&mut far, after, ms(100)), width);
        }
        // The near one becomes far.
        let widths: Vec<_> = (0..200).map(|_| take(&mut window, ms(50), ms(100))).collect();
        assert!(widths.last() > Some(&4), "{widths:?}");
    }

    #[test]
    fn the_send_window_holds_what_losses_keep_back() {
        // Fails if the window forgets that what was sent behind a lost packet stays in it: two of them were the cause of
        // 149 Mbit/s in place of 158 on 200 Mbit/s, 100 ms and 1 % loss.
        const BDP: u64 = 2_500_000;
        assert_eq!(send_window(&path(BDP, 0, 0)), 2 * BDP);
        assert_eq!(send_window(&path(BDP, 100_000, 0)), 2 * BDP);
        assert_eq!(send_window(&path(BDP, 100_000, 100)), 3 * BDP);
        assert_eq!(send_window(&path(BDP, 100_000, 1_000)), 4 * BDP);
        assert_eq!(send_window(&path(BDP, 100_000, 5_000)), 5 * BDP);
        assert_eq!(send_window(&path(BDP, 100_000, 100_000)), MOST_ROUND_TRIPS * BDP);
    }
}
