//! How much either end of a connection may send ahead: both windows follow the path.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use quinn::VarInt;

use crate::receive_window::ReceiveWindow;
use crate::tuning::{INITIAL_SEND_WINDOW, MAX_SEND_WINDOW};

/// The windows of one connection; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Windows {
    connection: quinn::Connection,
    send: Arc<SendWindow>,
    receive: Arc<Mutex<ReceiveWindow>>,
}

impl Windows {
    /// `receive_window` is what the transport configuration granted the peer, in bytes.
    pub(super) fn new(connection: quinn::Connection, receive_window: u64) -> Self {
        let receive = ReceiveWindow::new(receive_window, Instant::now());
        let send = SendWindow {
            bytes: AtomicU64::new(INITIAL_SEND_WINDOW),
            most: AtomicU64::new(MAX_SEND_WINDOW),
            unchecked: AtomicU64::new(0),
        };
        Self { connection, send: Arc::new(send), receive: Arc::new(Mutex::new(receive)) }
    }

    /// Has the peer acknowledge something, if it hears this end: its window grows by a byte, and the news of it is such a thing.
    /// quinn has no call for a PING.
    pub(super) fn nudge(&self) {
        let mut window = self.receive.lock().unwrap_or_else(PoisonError::into_inner);
        window.bytes += 1;
        if let Ok(wider) = VarInt::from_u64(window.bytes) {
            self.connection.set_receive_window(wider);
        }
    }

    /// Counts `bytes` as sent and, every [`WINDOW_CHECK_BYTES`], lets the send window follow the congestion window and the
    /// losses: a fixed one caps a long link or wastes memory on a slow reader.
    pub(super) fn note_sent(&self, bytes: usize) {
        let unchecked = self.send.unchecked.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if unchecked < WINDOW_CHECK_BYTES {
            return;
        }
        self.send.unchecked.store(0, Ordering::Relaxed);
        let wanted = send_window(&self.connection.stats().path).clamp(INITIAL_SEND_WINDOW, MAX_SEND_WINDOW);
        let wanted = wanted.min(self.send.most.load(Ordering::Relaxed));
        let current = self.send.bytes.load(Ordering::Relaxed);
        // The window moves in steps of a quarter, so that quinn is not told at every check.
        if wanted > current + current / 4 || wanted < current / 2 {
            self.send.bytes.store(wanted, Ordering::Relaxed);
            self.connection.set_send_window(wanted);
        }
    }

    /// Lets the send window hold what a path of `bytes` takes, before anything of it was sent: the congestion window is about to jump,
    /// and a sender that waits for room is not asked again before the next acknowledgement.
    pub(super) fn expect(&self, bytes: u64) {
        let wanted = bytes.saturating_mul(2).clamp(INITIAL_SEND_WINDOW, MAX_SEND_WINDOW);
        let wanted = wanted.min(self.send.most.load(Ordering::Relaxed));
        if self.send.bytes.fetch_max(wanted, Ordering::Relaxed) < wanted {
            self.connection.set_send_window(wanted);
        }
    }

    /// Lets the send window be at most `bytes`, for a sender whose data no budget counts.
    pub(super) fn bound_send_window(&self, bytes: u64) {
        self.send.most.store(bytes, Ordering::Relaxed);
        if self.send.bytes.fetch_min(bytes, Ordering::Relaxed) > bytes {
            self.connection.set_send_window(bytes);
        }
    }

    /// Counts `bytes` as taken by the application, and lets the receive window grow with what is taken.
    pub(super) fn note_taken(&self, bytes: usize) {
        let mut window = self.receive.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wider) = window.take(bytes as u64, || self.connection.rtt(), Instant::now())
            && let Ok(wider) = VarInt::from_u64(wider)
        {
            self.connection.set_receive_window(wider);
        }
    }
}

/// The send window, in bytes, that keeps a path busy.
///
/// quinn counts in it everything that was sent since the first byte that is still missing at the other end. Without
/// loss that is one congestion window, and another one holds what is sent next. A lost packet is missing until the
/// round trip after the one in which its loss was detected, and for one more round trip each time it is lost again.
/// With 1 % loss and 1,700 packets under way, a window of twice the congestion window would therefore stand still
/// several times a second.
fn send_window(path: &quinn::PathStats) -> u64 {
    let loss = path.lost_packets as f64 / path.sent_packets.max(1) as f64;
    // Packets under way that are expected to be lost this often; less than a tenth counts as none.
    let mut unlucky = path.cwnd as f64 / f64::from(path.current_mtu.max(1)) * loss;
    let mut round_trips = 2;
    while unlucky >= 0.1 && round_trips < MOST_ROUND_TRIPS {
        round_trips += 1;
        unlucky *= loss;
    }
    path.cwnd.saturating_mul(round_trips)
}

/// The most congestion windows in a send window: enough for 5 % loss on any path.
const MOST_ROUND_TRIPS: u64 = 6;

/// Bytes sent on a connection between two looks at its congestion window.
const WINDOW_CHECK_BYTES: u64 = 256 << 10;

#[derive(Debug)]
struct SendWindow {
    /// The window in force.
    bytes: AtomicU64,
    /// The window never grows beyond this.
    most: AtomicU64,
    /// Bytes sent since the last check.
    unchecked: AtomicU64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(cwnd: u64, sent: u64, lost: u64) -> quinn::PathStats {
        let mut path = quinn::PathStats::default();
        (path.cwnd, path.current_mtu, path.sent_packets, path.lost_packets) = (cwnd, 1452, sent, lost);
        path
    }

    #[test]
    fn the_send_window_holds_what_losses_keep_back() {
        // Fails if the window forgets that what was sent after a lost packet stays in it. A window of two congestion
        // windows caused 149 Mbit/s instead of 158 on 200 Mbit/s, 100 ms and 1 % loss.
        const BDP: u64 = 2_500_000;
        assert_eq!(send_window(&path(BDP, 0, 0)), 2 * BDP);
        assert_eq!(send_window(&path(BDP, 100_000, 0)), 2 * BDP);
        assert_eq!(send_window(&path(BDP, 100_000, 100)), 3 * BDP);
        assert_eq!(send_window(&path(BDP, 100_000, 1_000)), 4 * BDP);
        assert_eq!(send_window(&path(BDP, 100_000, 5_000)), 5 * BDP);
        assert_eq!(send_window(&path(BDP, 100_000, 100_000)), MOST_ROUND_TRIPS * BDP);
    }
}
