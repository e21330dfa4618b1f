//! The client's side: a socket, the handshake, and whether the server is the right one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use qfs_core::wire::ALPN;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::connection::{Connection, Origin};
use super::mux::Side;
use super::read_ahead::ReadAhead;
use super::{UNSENT_BYTES, fault};
use crate::error::{ConnectError, TransportError};
use crate::tls::{self, Identity, Trust};
use crate::tuning::ClientTuning;

/// Connects to `peer`, or gives up after `patience`. `server_name` is what was asked for, host name or address.
///
/// # Errors
/// [`ConnectError`] as over UDP.
pub async fn connect_tcp(
    peer: SocketAddr,
    server_name: &str,
    trust: Trust,
    identity: Option<&Identity>,
    tuning: &ClientTuning,
    patience: Duration,
) -> Result<crate::Connection, ConnectError> {
    let (config, verdict) = tls::client_config(trust, identity).map_err(TransportError::from)?;
    let name = ServerName::try_from(server_name.to_owned()).map_err(|e| ConnectError::Handshake(e.to_string()))?;
    let made = async {
        let start = Instant::now();
        let stream = TcpStream::connect(peer).await?;
        let round_trip = start.elapsed();
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES)?;
        let stream = TlsConnector::from(std::sync::Arc::new(config)).connect(name, ReadAhead::new(stream)).await?;
        Ok((stream, round_trip))
    };
    let made = tokio::time::timeout(patience, made).await.map_err(|_| ConnectError::NoAnswer)?;
    let (stream, round_trip) =
        made.map_err(|error| verdict.refusal().map_or_else(|| fault::not_made(&error), ConnectError::from))?;
    let session = stream.get_ref().1;
    if session.alpn_protocol() != Some(ALPN) {
        return Err(ConnectError::OtherProtocol);
    }
    let certificate = session.peer_certificates().and_then(|chain| chain.first()).map(|own| own.clone().into_owned());
    let origin = Origin { peer, certificate, round_trip: Some(round_trip) };
    Ok(Connection::start(stream, origin, Side::Client, tuning.grants()).into())
}
