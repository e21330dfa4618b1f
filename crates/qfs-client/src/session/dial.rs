//! One connection to a server: its addresses found and tried beside one another (RFC 8305).
//!
//! Knows whom it may meet, and nothing of what becomes of the connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use qfs_transport::{ClientEndpoint, ConnectError, Connection, Trust};
use tokio::task::JoinSet;

use crate::config::ConnectConfig;
use crate::error::SessionError;

/// Wait before the next address of a host is tried beside the one before (RFC 8305 §5).
const ADDRESS_STAGGER: Duration = Duration::from_millis(250);

/// Most addresses of a host that are tried.
const MAX_ADDRESSES: usize = 16;

/// A connection with the socket below it.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) endpoint: Arc<ClientEndpoint>,
    pub(crate) connection: Connection,
}

/// Connects to whichever of the host's addresses answers first, starting one after another (RFC 8305).
pub(crate) async fn connect(config: &ConnectConfig, trust: &Trust, patience: Duration) -> Result<Link, SessionError> {
    let deadline = tokio::time::Instant::now() + patience;
    let addresses = resolve(config, deadline).await?;
    let mut attempts = JoinSet::new();
    let mut addresses = addresses.into_iter().peekable();
    let mut last = ConnectError::NoAnswer;
    loop {
        if let Some(address) = addresses.next() {
            let (config, trust) = (config.clone(), trust.clone());
            let patience = deadline.saturating_duration_since(tokio::time::Instant::now());
            attempts.spawn(async move { connect_one(address, &config, trust, patience).await });
        }
        let stagger = async {
            match addresses.peek() {
                Some(_) => tokio::time::sleep(ADDRESS_STAGGER).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            joined = attempts.join_next() => match joined {
                Some(Ok(Ok(link))) => return Ok(link),
                Some(Ok(Err(error))) => last = error,
                Some(Err(e)) => last = ConnectError::Handshake(e.to_string()),
                None if addresses.peek().is_none() => return Err(classify(config, last)),
                None => {}
            },
            () = stagger => {}
        }
    }
}

async fn connect_one(
    address: SocketAddr,
    config: &ConnectConfig,
    trust: Trust,
    patience: Duration,
) -> Result<Link, ConnectError> {
    let endpoint = Arc::new(ClientEndpoint::bind(address.ip())?.with_identity(config.identity.clone()));
    let connection = endpoint.connect(address, &config.server.host, trust, &config.tuning, patience).await?;
    Ok(Link { endpoint, connection })
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
async fn resolve(config: &ConnectConfig, deadline: tokio::time::Instant) -> Result<Vec<SocketAddr>, SessionError> {
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
