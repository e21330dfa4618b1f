//! What can be set, with the worst case of every bound. Knows nothing of flags.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use qfs_transport::{Roots, ServerTuning};

use crate::deliveries::Deliveries;
use crate::digest_file::DigestFile;
use crate::door::BLOCKING_THREADS;
use crate::gate::access::Gate;
use crate::gate::rights::Rights;
use crate::identity::IdentityDir;
use crate::pace::Pacing;

/// Everything a [`crate::Server`] is told.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where to listen; port 0: any free one.
    pub address: SocketAddr,
    /// Sockets to serve on that somebody else has bound; None: `address` is bound. With them there is one end point.
    pub passed: Option<PassedSockets>,
    /// Whether HTTP is served: HTTPS on the TCP port, where that is open, and HTTP/3 on the UDP port.
    pub http: bool,
    /// Where numbers and health are told over plain HTTP; None: nowhere.
    #[cfg(feature = "metrics")]
    pub metrics: Option<SocketAddr>,
    /// Who vouches for clients; None: everybody may read.
    pub clients: Option<Roots>,
    /// End points on that port, 1 to [`qfs_transport::MAX_ENDPOINTS`]; each beyond the first is a thread of its own.
    pub endpoints: usize,
    /// Whether the TCP port of the same number is open, for clients whose network carries no UDP (PROTOCOL §9) and for HTTPS.
    pub tcp: bool,
    /// What a connection may cost QUIC.
    pub tuning: ServerTuning,
    /// How much at once.
    pub limits: Limits,
    /// How long for each step.
    pub deadlines: Deadlines,
    /// How fast.
    pub pacing: Pacing,
    /// Where digests are remembered between runs; None to forget them.
    pub digest_file: Option<DigestFile>,
    /// Who is told what was handed out.
    pub deliveries: Option<Deliveries>,
    /// Who may do what.
    pub gate: Gate,
    /// Where the key is kept that comes after this one; None: no change of the key is ever announced.
    pub renewal: Option<IdentityDir>,
}

impl ServerConfig {
    /// The defaults, on this address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            passed: None,
            http: cfg!(feature = "http"),
            #[cfg(feature = "metrics")]
            metrics: None,
            clients: None,
            endpoints: 1,
            tcp: true,
            tuning: ServerTuning::default(),
            limits: Limits::default(),
            deadlines: Deadlines::default(),
            pacing: Pacing::default(),
            digest_file: None,
            deliveries: None,
            gate: Gate::open(Rights::READ),
            renewal: None,
        }
    }
}

/// Sockets that a service manager has bound and keeps, so that clients can come before the server is there, and while it is restarted.
#[derive(Debug)]
pub struct PassedSockets {
    /// For QUIC.
    pub udp: UdpSocket,
    /// For everything over TCP, listening on the port of the same number; None: nothing is served over TCP.
    pub tcp: Option<TcpListener>,
}

/// How much may go on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all, handshakes included. An idle one costs about 50 KiB: worst case 200 MiB.
    pub connections: usize,
    /// Connections from one address, an IPv6 one counted by its /64. Loopback is exempt: it stands for many users.
    pub connections_per_ip: usize,
    /// Handshakes under way with clients that have not shown that their address is theirs. Beyond it each must, by
    /// answering a Retry (RFC 9000 §8.1.2), which costs this server no memory.
    pub unvalidated_handshakes: usize,
    /// Requests of one connection read at once; more wait unread. Each holds up to 4 KiB of one that is not whole yet.
    pub requests_per_connection: usize,
    /// Requests of more than 4 KiB read at once. Each holds up to 64 KiB: worst case 16 MiB.
    pub long_requests: usize,
    /// Streams that a client may give up unanswered, in a row; 200 a second more are let pass. Opening and abandoning streams
    /// costs a client nothing, so one that does so faster is turned out.
    pub abandoned_streams: u32,
    /// Requests of one connection that may be denied for want of a good token; with the next it is closed.
    pub denials_per_connection: u32,
    /// Commands worked on at once. Each costs a task of a few KiB and one open file; what it reads counts against
    /// `buffer_bytes`. Worst case 4096 × 8 KiB = 32 MiB.
    pub commands: usize,
    /// Commands of one connection worked on at once; more wait their turn.
    pub commands_per_connection: usize,
    /// Listings being made at once. Each costs a thread, which waits for its client: worst case 64 × 64 KiB = 4 MiB. Its
    /// pages count against `buffer_bytes`.
    pub listings: usize,
    /// Passes over files at once that do nothing but compute a digest. Each occupies a blocking thread.
    pub digest_passes: usize,
    /// Passes over files at once that make a chunk map. Each occupies two blocking threads and up to 46 MiB: worst case 92 MiB.
    pub map_passes: usize,
    /// Chunk maps in memory, in bytes: kept, and being sent. The longest has 21 MiB, that of a file of 1 GiB 1.2 MiB.
    pub map_bytes: usize,
    /// Steps over small files at once, each of up to 256 files or 512 KiB. Each occupies a blocking thread; what it reads counts
    /// against `buffer_bytes`.
    pub batch_steps: usize,
    /// Space that uploads leave free, in bytes; None: 1 GiB, or a twentieth of a smaller disk.
    pub keep_free: Option<u64>,
    /// Largest file that is taken, in bytes; None: as large as there is room for.
    pub max_upload: Option<u64>,
    /// Threads of an end point that wait for the store: [`BLOCKING_THREADS`] for disks, more where each step is a round trip.
    pub blocking_threads: usize,
    /// File contents in memory, in bytes: being read, waiting to be sent, or sent and not yet acknowledged.
    pub buffer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_ip: 1024,
            unvalidated_handshakes: 64,
            requests_per_connection: 64,
            long_requests: 256,
            abandoned_streams: 2000,
            denials_per_connection: 16,
            commands: 4096,
            commands_per_connection: 256,
            listings: 64,
            digest_passes: 3,
            map_passes: 2,
            map_bytes: 64 << 20,
            batch_steps: 4,
            keep_free: None,
            max_upload: None,
            blocking_threads: BLOCKING_THREADS,
            buffer_bytes: 256 << 20,
        }
    }
}

/// How long each step may take. None of them is extended by the arrival of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From a client's first packet to its first whole request. Handshake and silence behind it count together.
    pub first_request: Duration,
    /// From the opening of a stream to its whole request (PROTOCOL §1.5).
    pub request: Duration,
    /// From a request's first byte to its last (PROTOCOL §1.5).
    pub request_begun: Duration,
    /// Longest wait for one of [`Limits::commands`] before the answer is `busy`.
    pub queue: Duration,
    /// A client that takes nothing of its answers for this long loses them (PROTOCOL §1.5).
    pub stall: Duration,
    /// Time for running answers to finish after the server was told to stop.
    pub drain: Duration,
    /// How long an upload that was cut off is kept for its client.
    pub partial_age: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            first_request: Duration::from_secs(10),
            request: Duration::from_secs(10),
            request_begun: Duration::from_secs(5),
            queue: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            partial_age: Duration::from_secs(7 * 24 * 3600),
        }
    }
}
