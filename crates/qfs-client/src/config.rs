//! What a run is asked to do.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use qfs_core::model::{Fingerprint, HashKind, Ticket, Token};
use qfs_core::store::{CommitSpec, Condition};
use qfs_transport::{ClientTuning, Identity, Way};

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    /// IPv4 or IPv6 address (without brackets), or host name.
    pub host: String,
    /// UDP port, and TCP port of the same number.
    pub port: u16,
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What makes a server the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Vouching {
    /// Its key: pinned, or known (PROTOCOL §1.3).
    #[default]
    Key,
    /// A certificate for its name from an authority that this machine believes. A pin must be met besides.
    Certificate,
}

/// Which way is taken to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// QUIC over UDP, and TLS over TCP where that does not get through (PROTOCOL §9).
    #[default]
    Auto,
    /// This one or none.
    Only(Way),
}

/// How to connect, and how long to try.
#[derive(Debug, Clone)]
pub struct ConnectConfig {
    /// Where.
    pub server: ServerAddress,
    /// The key the server must have; nothing else counts then.
    pub pin: Option<Fingerprint>,
    /// What is shown with every request, and so to nobody whose key is not trusted.
    pub token: Option<Token>,
    /// Whom to believe.
    pub vouching: Vouching,
    /// The certificate to show to a server that asks for one.
    pub identity: Option<Arc<Identity>>,
    /// Which way to take.
    pub transport: Transport,
    /// The file in which it is remembered which servers are not reached over UDP; None: that is found out each time.
    pub without_udp: Option<PathBuf>,
    /// What digests are asked for. A server that does not know them gives SHA-256.
    pub hash: HashKind,
    /// The file in which it is kept what servers have written down about the path; None: nothing is kept, and nothing shown.
    pub path_notes: Option<PathBuf>,
    /// Transport numbers.
    pub tuning: ClientTuning,
    /// How long the first connection may take.
    pub patience: Duration,
    /// How long a lost connection is sought again without a byte of progress.
    pub retry_timeout: Duration,
}

impl ConnectConfig {
    /// The defaults, for the server at this address.
    #[must_use]
    pub fn new(server: ServerAddress) -> Self {
        Self {
            server,
            pin: None,
            token: None,
            vouching: Vouching::default(),
            identity: None,
            transport: Transport::default(),
            without_udp: None,
            hash: HashKind::default(),
            path_notes: None,
            tuning: ClientTuning::default(),
            patience: DEFAULT_PATIENCE,
            retry_timeout: DEFAULT_RETRY_TIMEOUT,
        }
    }
}

impl From<Ticket> for ConnectConfig {
    /// The defaults, for the server of this ticket, with its fingerprint as the pin and its token.
    fn from(ticket: Ticket) -> Self {
        let Ticket { host, port, fingerprint, token } = ticket;
        Self { pin: fingerprint, token, ..Self::new(ServerAddress { host, port }) }
    }
}

/// Default of [`ConnectConfig::patience`]: a person is told within 5 s that nobody answers.
pub const DEFAULT_PATIENCE: Duration = Duration::from_millis(4500);

/// Default of [`ConnectConfig::retry_timeout`].
pub const DEFAULT_RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Files under way at once with a bare `--parallel`: enough to hide the round trip of small files, few enough to keep
/// memory small (see `qfs_core::body::FLUSH_BUDGET_BYTES`).
pub const DEFAULT_PARALLEL: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");

/// Most files under way at once. The server allows 448 streams on a connection; whoever is beyond that waits for one that ends.
pub const MAX_PARALLEL: usize = 512;

/// Most connections of one client: each has its own socket, windows and keys.
pub const MAX_CONNECTIONS: usize = 16;

/// How files are fetched.
#[derive(Debug, Clone, Copy, Default)]
pub struct FetchConfig {
    /// Files at once; None: one after another in the order named.
    pub parallel: Option<NonZeroUsize>,
    /// Connections, over which files take turns and large ones are striped; None: one.
    pub connections: Option<NonZeroUsize>,
    /// Whether existing files with other content are replaced.
    pub overwrite: bool,
    /// Whether existing files are compared by content even where size and time agree.
    pub checksum: bool,
    /// Whether a file counts only once it is on stable storage.
    pub durable: bool,
    /// Whether holes are fetched and stored as the zeros that they read as.
    pub dense: bool,
    /// Whether a file may be executed where it may be on the server, as far as the umask lets.
    pub perms: bool,
    /// Whether files that are being appended to are fetched as long as they are when they are opened.
    pub live: bool,
    /// Whether files are fetched whole, whatever of them is here already.
    pub whole: bool,
    /// Whether it is measured what limits the run.
    pub measured: bool,
}

impl FetchConfig {
    /// How a file that was modified at `modified`, and may be `executable` on the server, becomes its target.
    pub(crate) fn commit_spec(&self, modified: Timestamp, executable: bool) -> CommitSpec {
        let condition = if self.overwrite { Condition::Any } else { Condition::Absent };
        // A server that does not tell says of none that it may be; what is fetched anew may not be then.
        CommitSpec { modified, executable: self.perms.then_some(executable), condition, durable: self.durable }
    }
}
