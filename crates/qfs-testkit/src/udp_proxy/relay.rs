//! The sockets and tasks of the proxy: one task takes what clients send, and each client address has a task of its
//! own with its own socket towards the server, the two paths and their timers.

use super::{
    Faults, PathStats, Stats,
    path::{Packet, Path},
};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::UdpSocket,
    sync::{Semaphore, mpsc, watch},
    time::Instant,
};

/// Client addresses served at once; each has a socket, and a buffer of [`MAX_DATAGRAM`]: 256 MiB in all.
pub const MAX_CLIENTS: usize = 4096;

/// A client address that neither sends nor gets anything for this long is forgotten.
pub const CLIENT_IDLE: Duration = Duration::from_secs(120);

/// The largest UDP payload in bytes that there is, rounded up.
pub const MAX_DATAGRAM: usize = 64 << 10;

/// Receive buffer asked of the kernel for every socket, in bytes: a hundredth of a second at 3 Gbit/s.
const SOCKET_BUFFER: usize = 4 << 20;

/// What was asked of the proxy while it runs.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) faults: Faults,
    pub(super) blackhole: bool,
    /// How often a rebind was asked for.
    pub(super) rebinds: u64,
}

/// What all tasks of a proxy have in common.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) server: SocketAddr,
    pub(super) settings: watch::Receiver<Settings>,
    pub(super) stats: Arc<Mutex<Stats>>,
    /// Bytes that may still be held.
    pub(super) memory: Arc<Semaphore>,
    pub(super) start: Instant,
}

impl Shared {
    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket on a free port of the address beside which `peer` is reached: loopback for loopback.
pub(super) fn bind_beside(peer: SocketAddr) -> io::Result<StdSocket> {
    let ip: IpAddr = match peer.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = StdSocket::bind((ip, 0))?;
    socket.set_nonblocking(true)?;
    // The kernel may grant less: then a burst can overflow the socket, and that loss is not counted here.
    socket2::SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER)?;
    Ok(socket)
}

/// Takes what clients send until the proxy is shut down.
pub(super) async fn run(listen: StdSocket, mut shared: Shared, mut rng: fastrand::Rng) -> io::Result<()> {
    let listen = Arc::new(UdpSocket::from_std(listen)?);
    let mut clients: HashMap<SocketAddr, mpsc::UnboundedSender<Packet>> = HashMap::new();
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let received = tokio::select! {
            received = listen.recv_from(&mut buffer) => received,
            changed = shared.settings.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ok(()),
            },
        };
        // An error here is an ICMP message about a client that has gone: nothing to do about it.
        let Ok((len, from)) = received else { continue };
        {
            let stats = &mut shared.stats().to_server;
            stats.received += 1;
            stats.received_bytes += len as u64;
            stats.largest = stats.largest.max(len as u64);
        }
        let Some(mut packet) = Packet::new(&buffer[..len], &shared.memory) else {
            shared.stats().to_server.dropped += 1;
            continue;
        };
        if let Some(client) = clients.get(&from) {
            match client.send(packet) {
                Ok(()) => continue,
                Err(mpsc::error::SendError(back)) => packet = back,
            }
        }
        clients.retain(|_, client| !client.is_closed());
        let client = (clients.len() < MAX_CLIENTS).then(|| Client::start(from, &listen, &shared, rng.fork()));
        match client.and_then(Result::ok) {
            Some(client) => {
                let _ = client.send(packet);
                clients.insert(from, client);
            }
            None => shared.stats().to_server.dropped += 1,
        }
    }
}

/// One client address.
struct Client {
    address: SocketAddr,
    shared: Shared,
    /// The socket that clients send to, and get their answers from.
    listen: Arc<UdpSocket>,
    /// The socket that the server sees.
    upstream: UdpSocket,
    /// Unbounded, but each packet in it is charged to `Shared::memory`.
    inbox: mpsc::UnboundedReceiver<Packet>,
    to_server: Path,
    to_client: Path,
    /// How many rebinds of `Settings` were carried out.
    rebinds: u64,
    rebound_at: Instant,
    last_packet: Instant,
}

impl Client {
    fn start(
        address: SocketAddr,
        listen: &Arc<UdpSocket>,
        shared: &Shared,
        mut rng: fastrand::Rng,
    ) -> io::Result<mpsc::UnboundedSender<Packet>> {
        let upstream = connect(shared.server)?;
        let (sender, inbox) = mpsc::unbounded_channel();
        let now = Instant::now();
        let mut shared = shared.clone();
        let Settings { faults, rebinds, .. } = shared.settings.borrow_and_update().clone();
        shared.stats().clients += 1;
        let client = Self {
            address,
            listen: Arc::clone(listen),
            upstream,
            inbox,
            to_server: Path::new(faults.to_server, rng.fork()),
            to_client: Path::new(faults.to_client, rng.fork()),
            rebinds,
            rebound_at: now,
            last_packet: now,
            shared,
        };
        tokio::spawn(client.run());
        Ok(sender)
    }

    /// Carries packets both ways until the proxy is shut down or the client has been silent for long.
    async fn run(mut self) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let wake = self.send_due().await;
            if self.last_packet.elapsed() > CLIENT_IDLE {
                return;
            }
            tokio::select! {
                packet = self.inbox.recv() => match packet {
                    Some(packet) => self.take_from_client(packet),
                    None => return,
                },
                received = self.upstream.recv(&mut buffer) => self.take_from_server(&buffer, received),
                () = tokio::time::sleep_until(wake) => {}
                changed = self.shared.settings.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.apply_settings();
                }
            }
            self.rebind_when_due();
        }
    }

    /// Takes one packet, and all others that wait behind it.
    fn take_from_client(&mut self, packet: Packet) {
        self.notice_settings();
        let mut next = Some(packet);
        while let Some(packet) = next {
            let (now, outage) = self.moment();
            self.to_server.offer(packet, now, outage, &mut self.shared.stats().to_server);
            next = self.inbox.try_recv().ok();
        }
    }

    /// Takes the packet just received into `buffer`. An error here is an ICMP message, as when the server is down:
    /// the sender is not told, as it would not be across a real network.
    fn take_from_server(&mut self, buffer: &[u8], received: io::Result<usize>) {
        let Ok(len) = received else { return };
        self.notice_settings();
        let (now, outage) = self.moment();
        let packet = Packet::new(&buffer[..len], &self.shared.memory);
        let stats = &mut self.shared.stats().to_client;
        stats.received += 1;
        stats.received_bytes += len as u64;
        stats.largest = stats.largest.max(len as u64);
        match packet {
            Some(packet) => self.to_client.offer(packet, now, outage, stats),
            None => stats.dropped += 1,
        }
    }

    /// Sends on all that is due, and says when to look again.
    async fn send_due(&mut self) -> Instant {
        let now = self.shared.start.elapsed();
        loop {
            let packet = self.to_server.pop_due(now, &mut self.shared.stats().to_server);
            let Some(packet) = packet else { break };
            if self.upstream.send(&packet.bytes).await.is_err() {
                count_failed(&mut self.shared.stats().to_server, &packet);
            }
        }
        loop {
            let packet = self.to_client.pop_due(now, &mut self.shared.stats().to_client);
            let Some(packet) = packet else { break };
            if self.listen.send_to(&packet.bytes, self.address).await.is_err() {
                count_failed(&mut self.shared.stats().to_client, &packet);
            }
        }
        let due = [self.to_server.next_due(), self.to_client.next_due()].into_iter().flatten().min();
        let due = due.and_then(|due| self.shared.start.checked_add(due));
        let rebind = self.shared.settings.borrow().faults.rebind_every.and_then(|t| self.rebound_at.checked_add(t));
        [due, rebind].into_iter().flatten().fold(self.last_packet + CLIENT_IDLE + TICK, Instant::min)
    }

    /// Sees to it that what was asked for before a packet came holds for that packet.
    fn notice_settings(&mut self) {
        self.last_packet = Instant::now();
        if self.shared.settings.has_changed().unwrap_or(false) {
            self.apply_settings();
        }
    }

    fn apply_settings(&mut self) {
        let Settings { faults, rebinds, .. } = self.shared.settings.borrow_and_update().clone();
        self.to_server.set_faults(&faults.to_server);
        self.to_client.set_faults(&faults.to_client);
        if self.rebinds != rebinds {
            self.rebinds = rebinds;
            self.rebind();
        }
    }

    fn rebind_when_due(&mut self) {
        let every = self.shared.settings.borrow().faults.rebind_every;
        if every.is_some_and(|every| self.rebound_at.elapsed() >= every) {
            self.rebind();
        }
    }

    /// A new port towards the server; what the server still sends to the old one is gone, as with a real NAT.
    fn rebind(&mut self) {
        self.rebound_at = Instant::now();
        // With no socket to be had the old one stays.
        if let Ok(upstream) = connect(self.shared.server) {
            self.upstream = upstream;
            self.shared.stats().rebinds += 1;
        }
    }

    /// The time since the start, and whether the network is away.
    fn moment(&self) -> (Duration, bool) {
        let now = self.shared.start.elapsed();
        let settings = self.shared.settings.borrow();
        (now, settings.blackhole || settings.faults.outages.is_some_and(|outages| outages.is_down(now)))
    }
}

/// The resolution of tokio's timers.
const TICK: Duration = Duration::from_millis(1);

fn connect(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = bind_beside(server)?;
    socket.connect(server)?;
    UdpSocket::from_std(socket)
}

/// Takes back that `packet` was forwarded.
fn count_failed(stats: &mut PathStats, packet: &Packet) {
    stats.forwarded -= 1;
    stats.forwarded_bytes -= packet.bytes.len() as u64;
    stats.failed += 1;
}
