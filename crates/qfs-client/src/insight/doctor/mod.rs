//! What stands between this machine and a server: measured by `measure`, judged by `judge`, which is pure.

mod disk;
mod judge;
mod measure;

use std::time::Duration;

use qfs_core::model::Fingerprint;
use qfs_transport::SocketBuffers;

use crate::config::ServerAddress;

pub use judge::{Ending, ending, findings};
pub use measure::examine;

/// Everything that was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Examination {
    /// Whom it was about.
    pub server: ServerAddress,
    /// The addresses of the host, or what the resolver said.
    pub addresses: Result<Vec<std::net::IpAddr>, String>,
    /// The way over UDP; None where there was no address to try.
    pub udp: Option<Reach>,
    /// The way over TCP.
    pub tcp: Option<Reach>,
    /// What the server let this client see; None where it was not reached.
    pub access: Option<Access>,
    /// The path over UDP, where that was reached.
    pub path: Option<Path>,
    /// Bytes a second that came, or why that is not known.
    pub down: Result<Rate, String>,
    /// Bytes a second that the server took, or why that is not known.
    pub up: Result<Rate, String>,
    /// The directory that files are saved in.
    pub disk: Result<Disk, DiskTrouble>,
    /// Packets that the kernel takes in one call (UDP_SEGMENT); 1 where it takes no more.
    pub segments: Option<usize>,
}

/// How an attempt to reach the server ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Connected, and the server is the right one.
    Reached {
        /// How long it took, the handshake included.
        took: Duration,
    },
    /// Nothing answered in time.
    Silent,
    /// The host says that nothing listens there.
    Refused,
    /// The server has another key than it must have.
    WrongKey {
        /// The key it must have.
        expected: Fingerprint,
        /// The key it has.
        presented: Fingerprint,
        /// Whether it must have it because it is on record.
        from_store: bool,
    },
    /// Nobody has said yet that the server is to be trusted.
    Unknown {
        /// The key it has.
        presented: Fingerprint,
    },
    /// The server shows something that it cannot prove, or that does not hold: a sentence.
    Distrusted(String),
    /// The server wants a certificate of this client, or another one.
    CertificateRefused(String),
    /// Something else answers there.
    OtherProtocol,
    /// Anything else: a sentence.
    Failed(String),
}

/// What the server let this client see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Its listing.
    Listed {
        /// How many files.
        files: u64,
    },
    /// Nothing without a token that counts: a sentence.
    Denied(String),
    /// Nothing for another reason.
    Failed(String),
}

/// A path over UDP.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Path {
    /// The shortest round trip while nothing else was under way.
    pub round_trip: Duration,
    /// Packets sent to find out about loss.
    pub probes: u64,
    /// How many of them were lost.
    pub lost: u64,
    /// Bytes of UDP payload that a packet carries.
    pub payload: u16,
    /// The kernel's socket buffers.
    pub buffers: Option<SocketBuffers>,
}

/// What was moved, and in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bytes.
    pub bytes: u64,
    /// From the first to the last.
    pub elapsed: Duration,
}

impl Rate {
    /// Bytes a second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.bytes as f64 / self.elapsed.as_secs_f64().max(1e-6)
    }
}

/// A disk, as far as it was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// What was written and made durable.
    pub rate: Rate,
    /// Bytes that are free.
    pub free: u64,
}

/// Why a disk could not be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskTrouble {
    /// There is no room.
    Full,
    /// Nothing may be written there: a sentence.
    Unwritable(String),
    /// It cannot be told without leaving something behind: a sentence.
    Untold(String),
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and might work better.
    Warning,
    /// It does not work.
    Error,
}

impl Level {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: a word that does not change.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub advice: Option<String>,
}
