//! A socket that sends together what quinn hands over in batches of ten datagrams.
//!
//! The kernel cuts a buffer into datagrams (`UDP_SEGMENT`, udp(7)), and a call with 44 datagrams costs little more than
//! one with ten. The socket holds a full batch back until the next one comes, or until the drivers have had a turn and
//! none came.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// The most datagrams in one of quinn's transmits while more are to come.
const BATCH: usize = 10;

/// The most bytes in one call: the payload of a UDP datagram over IPv4, to which the kernel limits the whole buffer.
const MAX_BYTES: usize = 65_507;

/// A socket that sends several batches in one call; see the module.
pub(super) struct BundlingSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    held: Mutex<Held>,
}

/// Datagrams that were taken over and not yet sent; at most [`MAX_BYTES`].
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    /// Length of each datagram but the last.
    segment: usize,
    to: Option<Way>,
    /// Whether something was added since [`BundlingSocket::poll_flush`] looked.
    has_grown: bool,
    /// Wakes the task that flushes.
    waker: Option<Waker>,
}

/// What datagrams of one call have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Way {
    destination: SocketAddr,
    ecn: Option<EcnCodepoint>,
    source: Option<IpAddr>,
}

impl Way {
    fn of(transmit: &Transmit<'_>) -> Self {
        Self { destination: transmit.destination, ecn: transmit.ecn, source: transmit.src_ip }
    }
}

/// The length of the datagrams of a full batch, after which another may be expected.
fn full_batch(transmit: &Transmit<'_>) -> Option<usize> {
    transmit.segment_size.filter(|segment| transmit.contents.len() == segment * BATCH)
}

impl BundlingSocket {
    /// Wraps `socket`, inside the tokio runtime that drives it.
    pub(super) fn new(socket: Arc<dyn AsyncUdpSocket>) -> Arc<Self> {
        let this = Arc::new(Self { socket, held: Mutex::default() });
        tokio::spawn(flush(Arc::downgrade(&this), Arc::clone(&this.socket).create_io_poller()));
        this
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `length` more bytes, in datagrams of `segment` bytes, still fit into the same call.
    fn fits(&self, length: usize, segment: usize) -> bool {
        length <= MAX_BYTES && length.div_ceil(segment) <= self.socket.max_transmit_segments()
    }

    fn send(&self, held: &mut Held) -> io::Result<()> {
        let Some(way) = held.to else { return Ok(()) };
        let result = self.socket.try_send(&Transmit {
            destination: way.destination,
            ecn: way.ecn,
            contents: &held.bytes,
            segment_size: (held.bytes.len() > held.segment).then_some(held.segment),
            src_ip: way.source,
        });
        // After any other failure the datagrams are lost, as on the network.
        if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            held.bytes.clear();
            held.to = None;
        }
        result
    }

    /// Sends what is held once nothing was added for a turn. Pending while nothing is held.
    fn poll_flush(&self, cx: &mut Context<'_>, poller: Pin<&mut dyn UdpPoller>) -> Poll<()> {
        let mut held = self.lock();
        held.waker = Some(cx.waker().clone());
        if held.to.is_none() {
            return Poll::Pending;
        }
        if std::mem::take(&mut held.has_grown) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.send(&mut held) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // An error of the poller is an error of the socket, which is also reported to whoever drives the
                // socket.
                poller.poll_writable(cx).map(drop)
            }
            _ => Poll::Pending,
        }
    }
}

/// Flushes until the socket is gone.
async fn flush(socket: Weak<BundlingSocket>, poller: Pin<Box<dyn UdpPoller>>) {
    let mut poller = poller;
    std::future::poll_fn(|cx| {
        loop {
            let Some(socket) = socket.upgrade() else { return Poll::Ready(()) };
            if socket.poll_flush(cx, poller.as_mut()).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

impl AsyncUdpSocket for BundlingSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut held = self.lock();
        let before = held.bytes.len();
        let fits = held.to == Some(Way::of(transmit))
            && transmit.segment_size.unwrap_or(held.segment) == held.segment
            && (transmit.segment_size.is_some() || transmit.contents.len() <= held.segment)
            && self.fits(before + transmit.contents.len(), held.segment);
        if !fits {
            self.send(&mut held)?;
        }
        let batch = full_batch(transmit);
        if !fits && batch.is_none_or(|segment| !self.fits(2 * segment * BATCH, segment)) {
            return self.socket.try_send(transmit);
        }
        held.bytes.extend_from_slice(transmit.contents);
        held.has_grown = true;
        if !fits {
            held.segment = batch.unwrap_or_default();
            held.to = Some(Way::of(transmit));
            if let Some(waker) = held.waker.take() {
                waker.wake();
            }
            return Ok(());
        }
        let length = held.bytes.len();
        if batch.is_some() && self.fits(length + held.segment * BATCH, held.segment) {
            return Ok(());
        }
        self.send(&mut held).inspect_err(|error| {
            // quinn then keeps this transmit and tries it again.
            if error.kind() == io::ErrorKind::WouldBlock {
                held.bytes.truncate(before);
            }
        })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

impl Drop for BundlingSocket {
    fn drop(&mut self) {
        // The task that flushes sees that it is over.
        if let Some(waker) = self.lock().waker.take() {
            waker.wake();
        }
    }
}

impl fmt::Debug for BundlingSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundlingSocket").field("socket", &self.socket).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// A socket that keeps what it is given, and is full when it is told to be.
    #[derive(Debug, Default)]
    struct Recorder {
        /// For each call, the port and the datagrams.
        sent: Mutex<Vec<(u16, Vec<Vec<u8>>)>>,
        /// How the next calls end; true means that the socket is full.
        full: Mutex<VecDeque<bool>>,
    }

    impl AsyncUdpSocket for Recorder {
        fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
            Box::pin(Writable)
        }

        fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
            if self.full.lock().unwrap().pop_front() == Some(true) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let segment = transmit.segment_size.unwrap_or(transmit.contents.len().max(1));
            let datagrams: Vec<_> = transmit.contents.chunks(segment).map(<[u8]>::to_vec).collect();
            assert!(transmit.contents.len() <= MAX_BYTES && datagrams.len() <= self.max_transmit_segments());
            self.sent.lock().unwrap().push((transmit.destination.port(), datagrams));
            Ok(())
        }

        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            _: &mut [IoSliceMut<'_>],
            _: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn max_transmit_segments(&self) -> usize {
            64
        }
    }

    #[derive(Debug)]
    struct Writable;

    impl UdpPoller for Writable {
        fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn transmit(port: u16, contents: &[u8], segment: usize) -> Transmit<'_> {
        Transmit {
            destination: ([127, 0, 0, 1], port).into(),
            ecn: None,
            contents,
            segment_size: (contents.len() > segment).then_some(segment),
            src_ip: None,
        }
    }

    /// Gives the task that flushes its turns.
    async fn turns() {
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }

    /// Fails when full batches are sent one by one, or held back when nothing follows.
    #[tokio::test]
    async fn batches_that_follow_each_other_go_out_together() {
        let recorder = Arc::new(Recorder::default());
        let socket = BundlingSocket::new(Arc::clone(&recorder) as _);
        let batch = vec![7; 1452 * BATCH];
        for _ in 0..5 {
            socket.try_send(&transmit(1, &batch, 1452)).unwrap();
        }
        let calls = || recorder.sent.lock().unwrap().iter().map(|(_, sent)| sent.len()).collect::<Vec<_>>();
        assert_eq!(calls(), [40]);
        turns().await;
        assert_eq!(calls(), [40, 10], "the rest goes out by itself");
        socket.try_send(&transmit(1, &batch[..1452 * 3 + 5], 1452)).unwrap();
        assert_eq!(calls(), [40, 10, 4], "what is no full batch waits for nothing");
        // This one fills a call by itself.
        socket.try_send(&transmit(1, &vec![7; 6500 * BATCH], 6500)).unwrap();
        assert_eq!(calls(), [40, 10, 4, 10]);
    }

    proptest! {
        /// Fails when a datagram is lost, sent twice, overtaken, cut elsewhere or sent to somebody else, whatever is handed over
        /// in which order and however often the socket is full (`held.bytes.truncate` left out; `Way` not compared).
        #[test]
        fn every_datagram_goes_out_once_and_in_order(
            script in proptest::collection::vec((1..3u16, prop::sample::select(vec![100usize, 1200, 1452]), 1..=BATCH, 0..3usize), 1..40),
            full in proptest::collection::vec(any::<bool>(), 0..60),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let recorder = Arc::new(Recorder { full: Mutex::new(full.into()), ..Recorder::default() });
            let mut wanted = Vec::new();
            runtime.block_on(async {
                let socket = BundlingSocket::new(Arc::clone(&recorder) as _);
                for (number, (port, segment, count, less)) in script.into_iter().enumerate() {
                    let mut contents = Vec::new();
                    for datagram in 0..count {
                        let length = if datagram + 1 == count { segment - less } else { segment };
                        let bytes = vec![(number * BATCH + datagram) as u8; length];
                        contents.extend_from_slice(&bytes);
                        wanted.push((port, bytes));
                    }
                    // Like quinn, try again until the socket takes it.
                    while socket.try_send(&transmit(port, &contents, segment)).is_err() {}
                    if number % 3 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                while socket.lock().to.is_some() {
                    turns().await;
                }
            });
            let sent = recorder.sent.lock().unwrap().clone();
            let sent: Vec<_> = sent.into_iter().flat_map(|(port, all)| all.into_iter().map(move |one| (port, one))).collect();
            prop_assert_eq!(sent, wanted);
        }
    }
}
