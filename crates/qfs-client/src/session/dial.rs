//! One connection to a server: its addresses, and the ways to each, tried beside one another (RFC 8305).
//!
//! Knows whom it may meet, and nothing of what becomes of the connection.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use qfs_core::stream::Lost;
use qfs_transport::{ClientEndpoint, ConnectError, Connection, Trust, Way, connect_tcp};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::schedule::{Attempt, schedule};
use super::ways::Ways;
use crate::config::{ConnectConfig, Transport};
use crate::error::SessionError;

/// Most addresses of a host that are tried.
const MAX_ADDRESSES: usize = 16;

/// Once an address shows a wrong key over TCP, how long its answer over UDP is waited for: another program may have the TCP port of
/// a server that has UDP's alone.
const DOUBT: Duration = Duration::from_secs(1);

/// Longest wait for the peer to be told of the end.
const FLUSH_PATIENCE: Duration = Duration::from_millis(250);

/// A connection with the socket below it.
#[derive(Clone)]
pub(crate) struct Link {
    /// None over TCP, where the connection has it.
    pub(crate) endpoint: Option<Arc<ClientEndpoint>>,
    pub(crate) connection: Connection,
    /// Whether the way that was tried first had only not answered yet. A lost packet can be the reason.
    pub(crate) is_other_way: bool,
}

impl Link {
    /// Lets the peer be told of the end.
    pub(crate) async fn flush(&self) {
        match &self.endpoint {
            Some(endpoint) => endpoint.flush().await,
            // Nothing depends on it.
            None => drop(timeout(FLUSH_PATIENCE, self.connection.told()).await),
        }
    }
}

/// Connects to whichever of the host's addresses answers first, by whichever way, starting one after another.
pub(crate) async fn connect(
    config: &ConnectConfig,
    transport: Transport,
    trust: &Trust,
    patience: Duration,
) -> Result<Link, SessionError> {
    let deadline = Instant::now() + patience;
    let addresses = resolve(config, deadline).await?;
    let first = first_way(config, transport).await;
    let mut dial = Dial { config, trust, deadline, running: Vec::new(), attempts: JoinSet::new(), failed: None };
    let mut link = dial.run(schedule(&addresses, transport, first)).await.map_err(|error| classify(config, error))?;
    link.is_other_way = link.connection.way() != first;
    if transport == Transport::Auto && link.is_other_way {
        // A few milliseconds, once a day.
        remember(config, link.connection.way()).await;
    }
    Ok(link)
}

/// Remembers by which way the server was reached.
pub(crate) async fn remember(config: &ConnectConfig, way: Way) {
    let (ways, server) = (Ways::at(config.without_udp.clone()), config.server.clone());
    // What is not remembered is found out again.
    let _ = tokio::task::spawn_blocking(move || ways.note(&server, way)).await;
}

async fn first_way(config: &ConnectConfig, transport: Transport) -> Way {
    match transport {
        Transport::Only(way) => way,
        Transport::Auto => {
            let (ways, server) = (Ways::at(config.without_udp.clone()), config.server.clone());
            tokio::task::spawn_blocking(move || ways.first(&server)).await.unwrap_or(Way::Udp)
        }
    }
}

type Ended = (Attempt, Result<Link, ConnectError>);

struct Dial<'a> {
    config: &'a ConnectConfig,
    trust: &'a Trust,
    deadline: Instant,
    /// Attempts that have not ended.
    running: Vec<Attempt>,
    attempts: JoinSet<Ended>,
    /// What tells most of what went wrong so far, and of which attempt.
    failed: Option<(Attempt, ConnectError)>,
}

impl Dial<'_> {
    async fn run(&mut self, plan: Vec<(Duration, Attempt)>) -> Result<Link, ConnectError> {
        let begun = Instant::now();
        let mut plan: VecDeque<_> = plan.into_iter().map(|(after, attempt)| (begun + after, attempt)).collect();
        let mut latest = None;
        loop {
            if self.running.is_empty() {
                // Nothing to wait for: the next begins now.
                match plan.pop_front() {
                    Some((_, attempt)) => self.start(attempt),
                    None => return Err(self.failed.take().map_or(ConnectError::NoAnswer, |(_, error)| error)),
                }
            }
            let next = plan.front().map_or(self.deadline, |(at, _)| *at);
            tokio::select! {
                Some(ended) = self.attempts.join_next() => {
                    // A task that panics ends nothing of this: its attempt goes on counting until the deadline.
                    let Ok((attempt, result)) = ended else { continue };
                    // Of one that does not count any more nothing is wanted, a connection least of all.
                    if !self.running.contains(&attempt) {
                        continue;
                    }
                    self.running.retain(|running| *running != attempt);
                    let error = match result {
                        Ok(link) => return Ok(link),
                        Err(error) => error,
                    };
                    match attempt.way {
                        Way::Tcp if is_distrust(&error) => latest = latest.or_else(|| Some(Instant::now() + DOUBT)),
                        _ if is_final(&error) => {
                            // What one way has said of an address, the other would be a way around.
                            let is_elsewhere = |other: &Attempt| other.address != attempt.address;
                            self.running.retain(is_elsewhere);
                            plan.retain(|(_, other)| is_elsewhere(other));
                        }
                        _ => {}
                    }
                    if let Some((at, _)) = plan.front_mut() {
                        *at = Instant::now();
                    }
                    self.note(attempt, error);
                }
                () = sleep_until(next), if !plan.is_empty() => {
                    if let Some((_, attempt)) = plan.pop_front() {
                        self.start(attempt);
                    }
                }
                // Attempts end by themselves at the deadline.
                () = sleep_until(latest.unwrap_or(self.deadline + DOUBT)) => {
                    self.running.clear();
                    plan.clear();
                }
            }
        }
    }

    fn start(&mut self, attempt: Attempt) {
        let (config, trust) = (self.config.clone(), self.trust.clone());
        let patience = self.deadline.saturating_duration_since(Instant::now());
        self.running.push(attempt);
        self.attempts.spawn(async move { (attempt, connect_one(attempt, &config, trust, patience).await) });
    }

    /// Keeps what tells more; of what tells as much, what UDP says, and then the latest.
    fn note(&mut self, attempt: Attempt, error: ConnectError) {
        let rank = |attempt: &Attempt, error: &ConnectError| (telling(error), attempt.way == Way::Udp);
        let tells_more = |(old, older): &(Attempt, ConnectError)| rank(&attempt, &error) >= rank(old, older);
        if self.failed.as_ref().is_none_or(tells_more) {
            self.failed = Some((attempt, error));
        }
    }
}

/// How much an error tells.
fn telling(error: &ConnectError) -> u8 {
    match error {
        _ if is_distrust(error) => 3,
        ConnectError::Lost(Lost::CertificateRefused(_)) => 2,
        ConnectError::NoAnswer | ConnectError::Refused => 0,
        _ => 1,
    }
}

/// Whether the server is there and is not the right one.
fn is_distrust(error: &ConnectError) -> bool {
    matches!(error, ConnectError::WrongKey { .. } | ConnectError::Unproven { .. } | ConnectError::Certificate(_))
}

/// Whether the other way to the same address would end alike.
fn is_final(error: &ConnectError) -> bool {
    is_distrust(error) || matches!(error, ConnectError::Turned(_) | ConnectError::Lost(Lost::CertificateRefused(_)))
}

async fn connect_one(
    attempt: Attempt,
    config: &ConnectConfig,
    trust: Trust,
    patience: Duration,
) -> Result<Link, ConnectError> {
    let Attempt { address, way } = attempt;
    let (host, identity) = (config.server.host.as_str(), config.identity.clone());
    match way {
        Way::Udp => {
            let endpoint =
                Arc::new(ClientEndpoint::bind(address.ip(), config.tuning.max_payload)?.with_identity(identity));
            let connection = endpoint.connect(address, host, trust, &config.tuning, patience).await?;
            Ok(Link { endpoint: Some(endpoint), connection, is_other_way: false })
        }
        Way::Tcp => {
            let connection = connect_tcp(address, host, trust, identity.as_deref(), &config.tuning, patience).await?;
            Ok(Link { endpoint: None, connection, is_other_way: false })
        }
    }
}

fn classify(config: &ConnectConfig, error: ConnectError) -> SessionError {
    let server = config.server.clone();
    match error {
        ConnectError::WrongKey { expected, presented } => {
            SessionError::WrongKey { server, expected, presented, from_store: false }
        }
        source @ ConnectError::Unproven { .. } => SessionError::Impostor { server, source },
        ConnectError::Certificate(source) => SessionError::Certificate { server, source },
        source => SessionError::Connect { server, source },
    }
}

/// The host's addresses, families taking turns (RFC 8305 §4).
async fn resolve(config: &ConnectConfig, deadline: Instant) -> Result<Vec<SocketAddr>, SessionError> {
    let host = config.server.host.as_str();
    let failed = |reason: String| SessionError::Resolve { host: host.to_owned(), reason };
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, config.server.port)]);
    }
    let found = tokio::time::timeout_at(deadline, tokio::net::lookup_host((host, config.server.port)))
        .await
        .map_err(|_| failed("no answer from the resolver".to_owned()))?
        .map_err(|e| failed(e.to_string()))?;
    let (six, four): (Vec<_>, Vec<_>) = found.take(MAX_ADDRESSES).partition(SocketAddr::is_ipv6);
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut turns = Vec::new();
    loop {
        match (six.next(), four.next()) {
            (None, None) => break,
            (a, b) => turns.extend(a.into_iter().chain(b)),
        }
    }
    if turns.is_empty() { Err(failed("the name has no address".to_owned())) } else { Ok(turns) }
}
