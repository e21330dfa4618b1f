//! Several end points on one port: connection IDs that name their end point, and a socket that passes packets on to the
//! end point they belong to.
//!
//! The kernel distributes packets over the sockets of a port by their addresses. The packets of a client whose address
//! changes, perhaps through its NAT, arrive at a socket that does not know the client; the connection ID says where
//! they belong. This module reads only the version-independent part of a packet (RFC 8999), which holds the connection
//! ID.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use ring::aead::quic::{AES_128, HeaderProtectionKey};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::mpsc;

/// The most end points on one port. A connection ID has a byte for the number, and more than this would not help any
/// machine.
pub const MAX_ENDPOINTS: usize = 64;

/// Length of a server's connection IDs, in bytes: three random bytes, four that prove that the ID is one of ours, and
/// one with the number of the end point.
const CID_BYTES: usize = NONCE_BYTES + CHECK_BYTES + 1;
const NONCE_BYTES: usize = 3;
const CHECK_BYTES: usize = 4;

/// The most batches of datagrams, at most 64 KiB each, that wait for one end point after they arrived at another.
/// Further ones are dropped, as by a full socket. The worst case is 16 MiB per end point; a few acknowledgements are
/// usual.
const HANDED_OVER: usize = 256;

/// Makes and reads connection IDs. To anybody without the key they are random bytes: neither the end point nor that two of
/// them belong together can be seen (RFC 9000 §5.1).
pub(super) struct CidKey {
    /// A block cipher, which quinn's header protection uses too. It costs 20 ns per packet.
    cipher: HeaderProtectionKey,
    random: SystemRandom,
}

impl CidKey {
    /// `secret` must survive a restart; otherwise clients of the former process would not be told that it is gone.
    pub(super) fn new(secret: &[u8; 16]) -> io::Result<Arc<Self>> {
        let cipher = HeaderProtectionKey::new(&AES_128, secret).map_err(|e| io::Error::other(e.to_string()))?;
        Ok(Arc::new(Self { cipher, random: SystemRandom::new() }))
    }

    fn make(&self, end_point: u8) -> [u8; CID_BYTES] {
        let mut cid = [0; CID_BYTES];
        // Without random bytes the ID repeats. quinn notices that and asks again, and Linux always has random bytes.
        let _ = self.random.fill(&mut cid[..NONCE_BYTES]);
        let mask = self.mask(&cid[..NONCE_BYTES]);
        cid[NONCE_BYTES..].copy_from_slice(&mask);
        cid[CID_BYTES - 1] ^= end_point;
        cid
    }

    /// The end point that `cid` names; None when it is not one of ours.
    fn read(&self, cid: &[u8]) -> Option<u8> {
        let (nonce, sealed) = cid.split_at_checked(NONCE_BYTES)?;
        let mask = self.mask(nonce);
        let (check, number) = sealed.split_at_checked(CHECK_BYTES)?;
        match number {
            [number] if check == &mask[..CHECK_BYTES] => Some(number ^ mask[CHECK_BYTES]),
            _ => None,
        }
    }

    fn mask(&self, nonce: &[u8]) -> [u8; CHECK_BYTES + 1] {
        let mut block = [0; 16];
        block[..NONCE_BYTES].copy_from_slice(nonce);
        // Fails only for a block of another length.
        self.cipher.new_mask(&block).unwrap_or_default()
    }
}

impl fmt::Debug for CidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CidKey").finish_non_exhaustive()
    }
}

/// Makes the connection IDs of one end point and recognises those of all end points, so that any of them can answer a
/// packet of a former process with a stateless reset.
pub(super) struct Cids {
    pub(super) key: Arc<CidKey>,
    pub(super) end_point: u8,
}

impl ConnectionIdGenerator for Cids {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.key.make(self.end_point))
    }

    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        self.key.read(cid).map(drop).ok_or(InvalidCid)
    }

    fn cid_len(&self) -> usize {
        CID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Datagrams on their way from the socket where they arrived to their end point.
#[derive(Debug)]
struct HandedOver {
    bytes: Bytes,
    meta: RecvMeta,
}

/// The channel to one end point, and its receiving end.
#[derive(Debug)]
pub(super) struct Hatch {
    inbox: mpsc::Receiver<HandedOver>,
    outboxes: Arc<[mpsc::Sender<HandedOver>]>,
    number: u8,
}

/// The channels between `count` end points, one for each, in order.
pub(super) fn hatches(count: usize) -> Vec<Hatch> {
    let (outboxes, inboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(HANDED_OVER)).unzip();
    let outboxes: Arc<[_]> = outboxes.into();
    // The count is at most [`MAX_ENDPOINTS`].
    let numbered = (0..=u8::MAX).zip(inboxes);
    numbered.map(|(number, inbox)| Hatch { inbox, outboxes: Arc::clone(&outboxes), number }).collect()
}

/// The socket of one of several end points.
#[derive(Debug)]
pub(super) struct SteeredSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    key: Arc<CidKey>,
    inbox: Mutex<mpsc::Receiver<HandedOver>>,
    outboxes: Arc<[mpsc::Sender<HandedOver>]>,
    number: u8,
}

impl SteeredSocket {
    pub(super) fn new(socket: Arc<dyn AsyncUdpSocket>, key: Arc<CidKey>, hatch: Hatch) -> Self {
        let Hatch { inbox, outboxes, number } = hatch;
        Self { socket, key, inbox: Mutex::new(inbox), outboxes, number }
    }

    /// Takes what other end points have handed over, into at most half of `bufs`, so that the socket does not have to
    /// wait.
    fn take_inbox(&self, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let most = bufs.len().div_ceil(2);
        for (taken, (buf, meta)) in bufs.iter_mut().zip(meta).take(most).enumerate() {
            let Poll::Ready(Some(handed)) = inbox.poll_recv(cx) else { return taken };
            // Every end point has buffers of one size. If this one were smaller, the datagram would count as lost.
            let length = handed.bytes.len().min(buf.len());
            buf[..length].copy_from_slice(&handed.bytes[..length]);
            *meta = RecvMeta { len: length, ..handed.meta };
        }
        most
    }

    /// Passes on what in `buf` belongs to other end points and moves together what stays.
    fn sort_out(&self, buf: &mut [u8], meta: &mut RecvMeta) {
        let (mut kept, mut start) = (0, 0);
        while start < meta.len {
            let owner = self.owner(&buf[start..]);
            let mut end = start + meta.stride.max(1);
            // Datagrams that arrive together mostly belong together.
            while end < meta.len && self.owner(&buf[end..]) == owner {
                end += meta.stride.max(1);
            }
            let end_of_run = end.min(meta.len);
            if owner == self.number {
                buf.copy_within(start..end_of_run, kept);
                kept += end_of_run - start;
            } else {
                let bytes = Bytes::copy_from_slice(&buf[start..end_of_run]);
                // This fails when that end point is full or gone. The datagram then counts as lost on the network.
                let _ = self.outboxes[usize::from(owner)].try_send(HandedOver { bytes, meta: *meta });
            }
            start = end_of_run;
        }
        meta.len = kept;
    }

    /// The end point that a datagram belongs to; this one unless the datagram names another.
    fn owner(&self, datagram: &[u8]) -> u8 {
        let named = destination(datagram).and_then(|cid| self.key.read(cid));
        // After a restart with fewer end points, some connection IDs name end points that no longer exist.
        named.filter(|number| usize::from(*number) < self.outboxes.len()).unwrap_or(self.number)
    }
}

/// The destination connection ID of a datagram's first packet, if it can be one of ours (RFC 8999 §5).
fn destination(datagram: &[u8]) -> Option<&[u8]> {
    const LONG_HEADER: u8 = 0x80;
    /// The length follows the first byte and the version.
    const LENGTH_AT: usize = 5;
    if datagram.first()? & LONG_HEADER == 0 {
        return datagram.get(1..=CID_BYTES);
    }
    match datagram.get(LENGTH_AT) {
        Some(&length) if usize::from(length) == CID_BYTES => datagram.get(LENGTH_AT + 1..=LENGTH_AT + CID_BYTES),
        _ => None,
    }
}

impl AsyncUdpSocket for SteeredSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let handed = self.take_inbox(cx, bufs, meta);
        let (bufs, meta) = (&mut bufs[handed..], &mut meta[handed..]);
        match self.socket.poll_recv(cx, bufs, meta) {
            Poll::Ready(Ok(landed)) => {
                // A batch of which nothing belongs here is left with length 0, which quinn skips.
                bufs.iter_mut().zip(meta).take(landed).for_each(|(buf, meta)| self.sort_out(buf, meta));
                Poll::Ready(Ok(handed + landed))
            }
            Poll::Pending if handed == 0 => Poll::Pending,
            // The socket reports its error again when it is asked again after what was handed over.
            _ if handed > 0 => Poll::Ready(Ok(handed)),
            result => result,
        }
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

/// Takes any bytes as a datagram, and as the damage to a connection ID of one.
///
/// # Panics
/// When an ID that is none of ours names an end point, or one of ours does not name its own.
#[cfg(any(test, fuzzing))]
pub(crate) fn exercise(data: &[u8]) {
    let key = CidKey::new(&[7; 16]).expect("16 bytes are a key");
    assert!(destination(data).is_none_or(|cid| cid.len() == CID_BYTES));
    for cid in destination(data).into_iter().chain([data]) {
        let Some(end_point) = key.read(cid) else { continue };
        // A fuzzer that sees what is compared finds one; it is what is made of these random bytes for this end point.
        let mut made = key.mask(&cid[..NONCE_BYTES]);
        made[CHECK_BYTES] ^= end_point;
        assert_eq!(cid[NONCE_BYTES..], made, "nobody has made it");
    }
    let end_point = data.first().copied().unwrap_or_default();
    let mut cid = key.make(end_point);
    assert_eq!(key.read(&cid), Some(end_point));
    let mut short = vec![0x40];
    short.extend_from_slice(&cid);
    assert_eq!(destination(&short), Some(&cid[..]));
    let check = NONCE_BYTES..NONCE_BYTES + CHECK_BYTES;
    let damage = data.iter().take(CHECK_BYTES);
    cid[check].iter_mut().zip(damage.clone()).for_each(|(byte, damage)| *byte ^= damage);
    assert_eq!(key.read(&cid).is_some(), damage.clone().all(|damage| *damage == 0));
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use super::*;

    fn key() -> Arc<CidKey> {
        CidKey::new(&[7; 16]).unwrap()
    }

    /// A socket that holds these datagrams, each batch with its stride.
    #[derive(Debug)]
    struct Landed(Mutex<VecDeque<(Vec<u8>, usize)>>);

    impl UdpPoller for Landed {
        fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncUdpSocket for Landed {
        fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
            Box::pin(Self(Mutex::default()))
        }

        fn try_send(&self, _: &Transmit<'_>) -> io::Result<()> {
            Ok(())
        }

        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            bufs: &mut [IoSliceMut<'_>],
            meta: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            let Some((bytes, stride)) = self.0.lock().unwrap().pop_front() else { return Poll::Pending };
            bufs[0][..bytes.len()].copy_from_slice(&bytes);
            meta[0] = RecvMeta { len: bytes.len(), stride, ..RecvMeta::default() };
            Poll::Ready(Ok(1))
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(([127, 0, 0, 1], 1).into())
        }
    }

    fn sockets(count: usize, landed: Vec<(Vec<u8>, usize)>) -> Vec<SteeredSocket> {
        let mut landed = Some(landed.into());
        let socket = |hatch| {
            let socket = Arc::new(Landed(Mutex::new(landed.take().unwrap_or_default())));
            SteeredSocket::new(socket, key(), hatch)
        };
        hatches(count).into_iter().map(socket).collect()
    }

    /// Everything that `socket` has to give, datagram by datagram.
    fn take(socket: &SteeredSocket) -> Vec<Vec<u8>> {
        let mut taken = Vec::new();
        let (mut a, mut b) = (vec![0; 2000], vec![0; 2000]);
        let mut meta = [RecvMeta::default(); 2];
        loop {
            let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
            match socket.poll_recv(&mut Context::from_waker(Waker::noop()), &mut bufs, &mut meta) {
                Poll::Ready(count) => {
                    for (buf, meta) in bufs.iter().zip(meta).take(count.unwrap()) {
                        taken.extend(buf[..meta.len].chunks(meta.stride).map(<[u8]>::to_vec));
                    }
                }
                Poll::Pending => return taken,
            }
        }
    }

    /// A packet with a short header for `cid`, told apart by `mark`.
    fn short(cid: &[u8], mark: u8, length: usize) -> Vec<u8> {
        let mut packet = [&[0x40], cid].concat();
        packet.resize(length, mark);
        packet
    }

    #[test]
    fn a_connection_id_names_its_end_point_to_whoever_has_the_key() {
        let ours = key();
        let theirs = CidKey::new(&[8; 16]).unwrap();
        let mut known = 0;
        for number in [0, 1, 63] {
            for _ in 0..100 {
                let mut cids = Cids { key: Arc::clone(&ours), end_point: number };
                let cid = cids.generate_cid();
                assert_eq!((cid.len(), ours.read(&cid)), (cids.cid_len(), Some(number)));
                assert!(Cids { key: Arc::clone(&ours), end_point: 5 }.validate(&cid).is_ok());
                known += usize::from(theirs.read(&cid).is_some());
            }
        }
        assert_eq!(known, 0, "without the key they are noise");
        assert_eq!(ours.read(&[0; 7]), None);
        assert_eq!(ours.read(&[]), None);
    }

    /// Golden values (AES-128 of the nonce and zeros), so that a server of another build recognises them after a
    /// restart.
    #[test]
    fn connection_ids_outlive_the_program() {
        let made = key().mask(&GOLDEN[..NONCE_BYTES]);
        assert_eq!(made, GOLDEN[NONCE_BYTES..]);
        assert_eq!(key().read(&GOLDEN), Some(0));
    }

    const GOLDEN: [u8; CID_BYTES] = [1, 2, 3, 172, 45, 91, 131, 171];

    #[test]
    fn each_datagram_of_a_batch_gets_where_it_belongs() {
        let (first, second) = (key().make(0), key().make(1));
        let long = [&[0xe0, 0, 0, 0, 1, CID_BYTES as u8], &second[..], &[9; 20]].concat();
        let strange = [&[0xc0, 0, 0, 0, 1, 20], &[3; 40][..]].concat();
        let batch = [short(&first, 1, 50), short(&second, 2, 50), short(&second, 3, 50), short(&first, 4, 30)];
        let gone = short(&key().make(9), 5, 50);
        let sockets = sockets(
            2,
            vec![
                (batch.concat(), 50),
                (long.clone(), long.len()),
                (strange.clone(), strange.len()),
                (gone.clone(), 50),
            ],
        );
        let stays = vec![batch[0].clone(), batch[3].clone(), strange, gone];
        assert_eq!(take(&sockets[0]), stays);
        assert_eq!(take(&sockets[1]), [batch[1].clone(), batch[2].clone(), long]);
        assert_eq!(take(&sockets[0]), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn what_waits_for_an_end_point_is_bounded() {
        let second = key().make(1);
        let landed = (0..HANDED_OVER + 10).map(|i| (short(&second, i as u8, 50), 50)).collect();
        let sockets = sockets(2, landed);
        assert!(take(&sockets[0]).is_empty());
        assert_eq!(take(&sockets[1]).len(), HANDED_OVER);
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_can_arrive_upsets_it(bytes: [u8; 32], length in 0..32usize, stride in 1..40usize) {
            let sockets = sockets(3, vec![(bytes[..length].to_vec(), stride)]);
            take(&sockets[0]);
        }
    }
}
