//! The audit trail: who connected, what was asked and what came of it, who was turned away. Everything here carries [`TARGET`], so
//! that whoever runs a server can keep it apart from the rest of the log.
//!
//! Text from outside is escaped before it gets here or on the way; kinds that a stranger can cause at will are counted and told
//! once an interval, not once a packet.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use qfs_core::model::{MAX_PATH_BYTES, escape_untrusted};
use qfs_core::wire::StatusCode;
use tracing::{Level, info, warn};

/// The `tracing` target of every event of the trail. Warnings: a limit was reached. Information: everything else.
pub const TARGET: &str = "qfs_server::audit";

/// How often a kind of refusal is told: the first at once, what follows as a count.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

/// Why a client, or what it sent, was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// [`crate::Limits::connections`] is reached.
    Connections,
    /// [`crate::Limits::connections_per_ip`] is reached.
    ConnectionsOfAddress,
    /// It was asked to show its address first (RFC 9000 §8.1.2).
    Address,
    /// Its handshake failed, or was not done in time.
    Handshake,
    /// It connected and asked nothing.
    Silence,
    /// What it sent is no request, or not a whole one.
    NoRequest,
    /// It gave up a stream before anything was sent on it.
    Abandoned,
    /// It gave up too many.
    Flood,
    /// It asked without a good token (PROTOCOL §2.7).
    NoToken,
    /// It went on doing so.
    Guessing,
}

impl Refusal {
    const ALL: [Self; 10] = [
        Self::Connections,
        Self::ConnectionsOfAddress,
        Self::Address,
        Self::Handshake,
        Self::Silence,
        Self::NoRequest,
        Self::Abandoned,
        Self::Flood,
        Self::NoToken,
        Self::Guessing,
    ];

    /// The reason as the trail has it.
    fn reason(self) -> &'static str {
        match self {
            Self::Connections => "too many connections",
            Self::ConnectionsOfAddress => "too many connections from this address",
            Self::Address => "address not shown yet",
            Self::Handshake => "handshake failed",
            Self::Silence => "no request in time",
            Self::NoRequest => "not a request",
            Self::Abandoned => "stream abandoned",
            Self::Flood => "it opens and abandons streams",
            Self::NoToken => "no valid token",
            Self::Guessing => "it goes on without a valid token",
        }
    }

    /// Whether a limit was reached, which whoever runs the server should know unasked.
    fn is_limit(self) -> bool {
        matches!(self, Self::Connections | Self::ConnectionsOfAddress | Self::Flood | Self::NoToken | Self::Guessing)
    }

    fn tell(self, peer: SocketAddr, count: u64) {
        let reason = self.reason();
        if self.is_limit() {
            warn!(target: TARGET, %peer, reason, count, "refused");
        } else {
            info!(target: TARGET, %peer, reason, count, "refused");
        }
    }
}

/// Counts refusals, all connections together.
#[derive(Debug, Default)]
pub(crate) struct Refusals([Mutex<Sum>; Refusal::ALL.len()]);

/// What there is to tell of one kind.
#[derive(Debug, Default)]
struct Sum {
    told: Option<Instant>,
    /// Since then, and who was the last.
    silent: u64,
    last: Option<SocketAddr>,
}

impl Refusals {
    /// Tells of a refusal of `peer`, or counts it for later.
    pub(crate) fn note(&self, kind: Refusal, peer: SocketAddr) {
        if let Some(count) = self.sum(kind, |sum| sum.note(peer, Instant::now())) {
            kind.tell(peer, count);
        }
    }

    /// Tells what was only counted so far. To be called every [`INTERVAL`], and at the end.
    pub(crate) fn tell(&self) {
        for kind in Refusal::ALL {
            if let Some((peer, count)) = self.sum(kind, |sum| sum.take(Instant::now())) {
                kind.tell(peer, count);
            }
        }
    }

    fn sum<T>(&self, kind: Refusal, act: impl FnOnce(&mut Sum) -> T) -> T {
        act(&mut self.0[kind as usize].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sum {
    fn note(&mut self, peer: SocketAddr, now: Instant) -> Option<u64> {
        self.silent += 1;
        self.last = Some(peer);
        if self.told.is_some_and(|told| now.duration_since(told) < INTERVAL) {
            return None;
        }
        self.take(now).map(|(_, count)| count)
    }

    fn take(&mut self, now: Instant) -> Option<(SocketAddr, u64)> {
        let peer = self.last.take()?;
        self.told = Some(now);
        Some((peer, std::mem::take(&mut self.silent)))
    }
}

/// A connection, from its handshake on; its end is told when this is dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    door: &'static str,
    peer: SocketAddr,
    way: &'static str,
    client: Option<String>,
    begun: Instant,
    commands: u64,
    bytes: u64,
    reason: String,
}

impl Visit {
    /// Tells of the connection, which came through `door`. `way`: what it travels over; `client`: who it is by its certificate,
    /// escaped, where one was asked for.
    pub(crate) fn begin(door: &'static str, way: &'static str, peer: SocketAddr, client: Option<String>) -> Self {
        info!(target: TARGET, door, %peer, way, client, "opened");
        Self { door, peer, way, client, begun: Instant::now(), commands: 0, bytes: 0, reason: "cut off".to_owned() }
    }

    /// Who the client is, by its certificate.
    pub(crate) fn client(&self) -> Option<String> {
        self.client.clone()
    }

    /// One command more, answered with so many bytes.
    pub(crate) fn count(&mut self, bytes: u64) {
        self.commands += 1;
        self.bytes += bytes;
    }

    /// Why it ends; text from outside is escaped.
    pub(crate) fn end(&mut self, reason: &str) {
        self.reason = escape_untrusted(reason);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let (peer, commands, bytes, reason) = (self.peer, self.commands, self.bytes, self.reason.as_str());
        let seconds = self.begun.elapsed().as_secs_f64();
        info!(target: TARGET, door = self.door, %peer, way = self.way, client = self.client, seconds, commands, bytes, reason, "closed");
    }
}

/// Whether anybody listens to commands.
pub(crate) fn hears_commands() -> bool {
    tracing::enabled!(target: TARGET, Level::INFO)
}

/// A command as the trail has it. Text of the client is escaped here.
pub(crate) struct Command<'a> {
    /// Which door it came through.
    pub(crate) door: &'a str,
    /// Who asked.
    pub(crate) peer: SocketAddr,
    /// Who that is by its certificate, escaped.
    pub(crate) client: Option<&'a str>,
    /// The id of the token that let it in.
    pub(crate) token: Option<&'a str>,
    /// What was asked.
    pub(crate) command: &'a str,
    /// The name it is about; empty where it is about none, or about many.
    pub(crate) name: &'a str,
    /// Why it failed: the status that was told, and the reason.
    pub(crate) failure: Option<(String, String)>,
    /// Bytes of the answer.
    pub(crate) bytes: u64,
    /// How long it took.
    pub(crate) seconds: f64,
}

/// What became of one file of many that a command is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    /// Bytes of its body.
    pub(crate) bytes: u64,
    /// How it ended.
    pub(crate) code: StatusCode,
}

impl Command<'_> {
    /// Tells of the command, after each of `files` where it is about many.
    pub(crate) fn tell<'a>(&self, files: impl Iterator<Item = (&'a str, Answered)>) {
        let &Command { door, peer, client, token, command, bytes, seconds, .. } = self;
        for (name, Answered { bytes, code }) in files {
            let (name, status) = (escape_untrusted(shortened(name)), code.to_string());
            info!(target: TARGET, door, %peer, client, token, command, name, bytes, status, "file");
        }
        let name = escape_untrusted(shortened(self.name));
        let Some((status, error)) = &self.failure else {
            return info!(target: TARGET, door, %peer, client, token, command, name, bytes, seconds, status = "ok", "command");
        };
        // Parsers quote what they read.
        let error = escape_untrusted(shortened(error));
        info!(target: TARGET, door, %peer, client, token, command, name, bytes, seconds, status, error, "command");
    }
}

/// Longest text of a client in a line, in bytes before it is escaped: a request may be sixteen times as long.
const MAX_TEXT_BYTES: usize = MAX_PATH_BYTES;

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_fills_the_log() {
        let long = format!("x{}", "é".repeat(MAX_TEXT_BYTES));
        assert_eq!(shortened(&long).len(), MAX_TEXT_BYTES - 1);
        assert_eq!(shortened("short"), "short");
    }

    #[test]
    fn every_kind_has_its_own_sum() {
        for (index, kind) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }

    /// Fails when: each refusal is told, or what was counted is never told.
    #[test]
    fn refusals_are_summed_up() {
        let mut sum = Sum::default();
        let start = Instant::now();
        let peer = |n: u8| SocketAddr::from(([192, 0, 2, n], 1));
        assert_eq!(sum.take(start), None);
        assert_eq!(sum.note(peer(1), start), Some(1));
        assert_eq!(sum.note(peer(2), start), None);
        assert_eq!(sum.note(peer(3), start), None);
        assert_eq!(sum.take(start), Some((peer(3), 2)));
        assert_eq!(sum.take(start), None);
        assert_eq!(sum.note(peer(4), start), None);
        assert_eq!(sum.note(peer(5), start + INTERVAL), Some(2));
    }
}
