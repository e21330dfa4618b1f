//! The TCP half of a network on loopback: [`TcpProxy`] relays connections to a server, at a rate, and swallows what it carries from
//! one moment on, in either direction or both.
//!
//! Knows nothing of TLS or qfs. It runs on a thread of its own, as [`crate::udp_proxy`] does, and can have the port of the same
//! number as one of those: a network whose UDP can be harmed while its TCP goes on, and the other way round.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::udp_proxy::{Faults, UdpProxy};

/// Bytes that are carried at once: at a rate, the pieces in which they come.
const PIECE_BYTES: usize = 16 << 10;

/// Tries to find a number that is free for UDP and for TCP.
const PORT_TRIES: usize = 32;

/// What is swallowed, of both directions.
#[derive(Debug, Default)]
struct Cuts {
    to_server: AtomicBool,
    to_client: AtomicBool,
    /// Bytes passed on so far.
    bytes: AtomicU64,
}

/// A relay for TCP on loopback. Stops when dropped, and its connections with it.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    cuts: Arc<Cuts>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A relay for UDP and one for TCP on ports of the same number, both towards `server`; TCP carries `bytes_per_second` at most.
///
/// # Errors
/// When no sockets or threads can be had.
pub fn both(server: SocketAddr, faults: &Faults, bytes_per_second: Option<u64>) -> io::Result<(UdpProxy, TcpProxy)> {
    for attempt in 1.. {
        let udp = UdpProxy::start(server, faults.clone())?;
        match TcpProxy::start(udp.addr(), server, bytes_per_second) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempt < PORT_TRIES => {}
            tcp => return Ok((udp, tcp?)),
        }
    }
    unreachable!("the last attempt returns")
}

impl TcpProxy {
    /// Starts a relay at `address` towards `server`, which need not be there yet.
    ///
    /// # Errors
    /// When no socket or thread can be had.
    pub fn start(address: SocketAddr, server: SocketAddr, bytes_per_second: Option<u64>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let listener = runtime.block_on(TcpListener::bind(address))?;
        let address = listener.local_addr()?;
        let cuts = Arc::new(Cuts::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let shared = Arc::clone(&cuts);
        let thread = std::thread::Builder::new().name("tcp-proxy".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, server, bytes_per_second, shared) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, cuts, stop: Some(stop), thread: Some(thread) })
    }

    /// Where clients connect to instead.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Swallows what is carried in these directions from now on, on connections that are there and on new ones; their ends stay
    /// open.
    pub fn cut(&self, to_server: bool, to_client: bool) {
        self.cuts.to_server.store(to_server, Ordering::Relaxed);
        self.cuts.to_client.store(to_client, Ordering::Relaxed);
    }

    /// Bytes passed on so far, both directions together.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.cuts.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic over there was printed over there.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, rate: Option<u64>, cuts: Arc<Cuts>) {
    while let Ok((client, _)) = listener.accept().await {
        let cuts = Arc::clone(&cuts);
        tokio::spawn(async move {
            let Ok(upstream) = TcpStream::connect(server).await else { return };
            let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), upstream.into_split());
            tokio::join!(
                carry(from_client, to_server, rate, &cuts.to_server, &cuts.bytes),
                carry(from_server, to_client, rate, &cuts.to_client, &cuts.bytes),
            );
        });
    }
}

/// Carries one direction to its end.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    rate: Option<u64>,
    is_cut: &AtomicBool,
    bytes: &AtomicU64,
) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = match from.read(&mut piece).await {
            Ok(length @ 1..) => length,
            // The end is news that a cut network does not carry either.
            _ if is_cut.load(Ordering::Relaxed) => return std::future::pending().await,
            _ => return,
        };
        if is_cut.load(Ordering::Relaxed) {
            continue;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
        bytes.fetch_add(length as u64, Ordering::Relaxed);
        if let Some(rate) = rate {
            tokio::time::sleep(Duration::from_secs_f64(length as f64 / rate as f64)).await;
        }
    }
}
