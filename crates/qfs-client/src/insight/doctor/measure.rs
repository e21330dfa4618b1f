//! Measures: name, ways, path, rate and disk, within a few seconds. Judges nothing.

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qfs_core::model::{ByteRange, EntryMeta, RemotePath};
use qfs_core::observe::NoObserver;
use qfs_core::wire::{MeasureHead, StatusCode};
use qfs_transport::{ConnectError, Way, packets_a_call};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::disk::try_disk;
use super::{Access, DiskTrouble, Examination, Path, Rate, Reach};
use crate::config::{ConnectConfig, Transport};
use crate::error::{AttemptError, Failure, SessionError};
use crate::session::{Session, exchange, writing};
use crate::transfer::cat;
use crate::trust::{TrustError, TrustStore};

/// How long each of name, way and listing may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Packets that are sent to find out about loss, and how far apart: slower than any path that is worth the name.
const PROBES: u64 = 400;
const PROBE_INTERVAL: Duration = Duration::from_millis(5);

/// How long bytes are fetched for their rate.
const RATE_TRIAL: Duration = Duration::from_secs(2);

/// A file smaller than this says nothing about a rate.
const SMALLEST_SAMPLE: u64 = 256 << 10;

/// Pieces of a file that wait to be counted.
const PIECES_AHEAD: usize = 8;

/// Examines everything between this machine and the server of `config`, and the disk of `save_dir`. `trust` decides about the server,
/// as ever.
pub async fn examine(config: &ConnectConfig, trust: Arc<dyn TrustStore>, save_dir: &FilePath) -> Examination {
    let addresses = resolve(config).await;
    let mut found = Examination {
        server: config.server.clone(),
        addresses,
        udp: None,
        tcp: None,
        access: None,
        path: None,
        down: Err("the server was not reached".to_owned()),
        up: Err("the server was not reached".to_owned()),
        disk: Err(DiskTrouble::Untold("it was not tried".to_owned())),
        segments: None,
    };
    if let Ok(addresses) = &found.addresses {
        found.segments = addresses.first().and_then(|address| packets_a_call(*address).ok());
        let ((udp, over_udp), (tcp, over_tcp)) =
            tokio::join!(reach(config, Way::Udp, &trust), reach(config, Way::Tcp, &trust));
        (found.udp, found.tcp) = (Some(udp), Some(tcp));
        if let Some(session) = over_udp.as_ref().or(over_tcp.as_ref())
            && let Err(CertificateRefused(why)) = visit(session, &mut found).await
        {
            let is_reached = |way: &&mut Reach| matches!(way, Reach::Reached { .. });
            for way in [&mut found.udp, &mut found.tcp].into_iter().flatten().filter(is_reached) {
                *way = Reach::CertificateRefused(why.clone());
            }
        }
        for session in [over_udp, over_tcp].into_iter().flatten() {
            session.close().await;
        }
    }
    let save_dir = save_dir.to_owned();
    // Last of all, so that it disturbs no measurement of the network.
    if let Ok(disk) = tokio::task::spawn_blocking(move || try_disk(&save_dir)).await {
        found.disk = disk;
    }
    found
}

async fn resolve(config: &ConnectConfig) -> Result<Vec<IpAddr>, String> {
    let host = config.server.host.as_str();
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![address]);
    }
    let found = timeout(PATIENCE, tokio::net::lookup_host((host, config.server.port))).await;
    let found = found.map_err(|_| "no answer from the resolver".to_owned())?.map_err(|e| e.to_string())?;
    let mut addresses: Vec<_> = found.map(|address| address.ip()).collect();
    addresses.dedup();
    if addresses.is_empty() { Err("the name has no address".to_owned()) } else { Ok(addresses) }
}

/// Tries one way, and says how that ended.
async fn reach(config: &ConnectConfig, way: Way, trust: &Arc<dyn TrustStore>) -> (Reach, Option<Session>) {
    let mut config = ConnectConfig { transport: Transport::Only(way), path_notes: None, ..config.clone() };
    config.patience = config.patience.min(PATIENCE);
    let begun = Instant::now();
    match Session::connect(config, Arc::clone(trust), Arc::new(NoObserver)).await {
        Ok(session) => (Reach::Reached { took: begun.elapsed() }, Some(session)),
        Err(error) => (obstacle(error), None),
    }
}

fn obstacle(error: SessionError) -> Reach {
    let sentence = error.to_string();
    match error {
        SessionError::WrongKey { expected, presented, from_store, .. } => {
            Reach::WrongKey { expected, presented, from_store }
        }
        SessionError::Trust(TrustError::Unknown { presented, .. }) => Reach::Unknown { presented },
        SessionError::Connect { source, .. } => match source {
            ConnectError::NoAnswer => Reach::Silent,
            ConnectError::Refused => Reach::Refused,
            ConnectError::OtherProtocol | ConnectError::Handshake(_) => Reach::OtherProtocol,
            ConnectError::Lost(qfs_core::stream::Lost::CertificateRefused(_)) => Reach::CertificateRefused(sentence),
            _ => Reach::Failed(sentence),
        },
        _ => Reach::Distrusted(sentence),
    }
}

/// The server turned out to want a certificate, with a sentence: a client is told behind its half of the handshake, when the server seems
/// to be reached (RFC 8446 §4.4.2.4).
struct CertificateRefused(String);

/// What can be found out once the server was reached.
async fn visit(session: &Session, found: &mut Examination) -> Result<(), CertificateRefused> {
    let lease = session.lease();
    let round_trip = probe(session).await;
    let (access, largest) = list(session).await?;
    found.access = Some(access);
    found.down = match largest {
        Some((name, size)) if size >= SMALLEST_SAMPLE => rate_down(session, &name, size).await,
        Some(_) => Err("no file that the server lists is large enough to tell, 256 KiB".to_owned()),
        None => Err("the server lists no file".to_owned()),
    };
    found.up = rate_up(session).await;
    // Of a connection that was lost, and of the one that came in its place, nothing is known.
    let is_whole = session.is_current(&lease) && lease.connection.close_reason().is_none();
    if let Some((lost, round_trip)) = round_trip.filter(|_| is_whole) {
        // What the path carries is known best now that much has gone over it.
        let payload = session.path_report().payload;
        found.path = Some(Path { round_trip, probes: PROBES, lost, payload, buffers: session.socket_buffers() });
    }
    Ok(())
}

/// Packets lost on the way to the server, and the shortest round trip; None over TCP, where the kernel sees to it, and where
/// the connection ends.
async fn probe(session: &Session) -> Option<(u64, Duration)> {
    if session.way() != Way::Udp {
        return None;
    }
    let lost_before = session.path_report().lost_packets;
    let connection = session.lease().connection;
    for _ in 0..PROBES {
        if connection.close_reason().is_some() {
            return None;
        }
        connection.ask_for_a_sign();
        sleep(PROBE_INTERVAL).await;
    }
    // The last of them are acknowledged, or known to be lost, a little later.
    let report = session.path_report();
    sleep(3 * report.rtt.min(PATIENCE)).await;
    let report = session.path_report();
    Some((report.lost_packets.saturating_sub(lost_before).min(PROBES), report.min_rtt))
}

/// What the server lets this client see, and its largest file.
async fn list(session: &Session) -> Result<(Access, Option<(RemotePath, u64)>), CertificateRefused> {
    let mut files = 0;
    let mut largest: Option<(RemotePath, u64)> = None;
    let mut look = |page: Vec<(RemotePath, EntryMeta)>| {
        files += page.len() as u64;
        for (name, meta) in page {
            if largest.as_ref().is_none_or(|(_, size)| meta.size > *size) {
                largest = Some((name, meta.size));
            }
        }
        ControlFlow::Continue(())
    };
    let listing = timeout(PATIENCE, exchange::list(session, &mut look)).await;
    let access = match listing {
        Ok(Ok(_)) => Access::Listed { files },
        Ok(Err(Failure::Refused(error))) if error.code == StatusCode::DENIED => Access::Denied(error.to_string()),
        Ok(Err(failure @ Failure::CertificateRefused(_))) => return Err(CertificateRefused(failure.to_string())),
        Ok(Err(failure)) => Access::Failed(failure.to_string()),
        Err(_) => Access::Failed(format!("the listing took longer than {} s", PATIENCE.as_secs())),
    };
    Ok((access, largest))
}

/// Fetches the file to nowhere, for as long as it takes to tell.
async fn rate_down(session: &Session, name: &RemotePath, size: u64) -> Result<Rate, String> {
    let (out, mut pieces) = mpsc::channel(PIECES_AHEAD);
    let all = cat::Part::Range(ByteRange { start: 0, end: Some(size) });
    let fetching = async move {
        let ended = cat::cat(session, name.as_str(), all, &out).await;
        // Dropped with `out`, the channel tells whoever counts that there is no more.
        drop(out);
        ended.err()
    };
    let counting = async move {
        let begun = Instant::now();
        let mut rate: Option<(Instant, Rate)> = None;
        while begun.elapsed() < RATE_TRIAL {
            let left = RATE_TRIAL.saturating_sub(begun.elapsed());
            let Ok(Some(piece)) = timeout(left, pieces.recv()).await else { break };
            let piece: bytes::Bytes = piece;
            match &mut rate {
                // The first one only starts the clock: what came before it is the round trip.
                None => rate = Some((Instant::now(), Rate { bytes: 0, elapsed: Duration::ZERO })),
                Some((since, rate)) => {
                    *rate = Rate { bytes: rate.bytes + piece.len() as u64, elapsed: since.elapsed() };
                }
            }
        }
        rate.map(|(_, rate)| rate).filter(|rate| rate.bytes > 0)
    };
    let (mut fetching, mut counting) = (std::pin::pin!(fetching), std::pin::pin!(counting));
    let mut failed = None;
    let mut is_over = false;
    let rate = loop {
        tokio::select! {
            rate = &mut counting => break rate,
            failure = &mut fetching, if !is_over => (failed, is_over) = (failure, true),
        }
    };
    rate.ok_or_else(|| failed.map_or_else(|| "nothing came in time".to_owned(), |failure| failure.to_string()))
}

/// How long an answer about the rate up is waited for: the server takes bytes for two seconds, and a full queue on the way takes its time.
const UP_PATIENCE: Duration = Duration::from_secs(10);

/// Has the server take bytes for nothing, for as long as it takes to tell.
async fn rate_up(session: &Session) -> Result<Rate, String> {
    let measured = timeout(UP_PATIENCE, writing::measure(session)).await;
    let MeasureHead { bytes, micros, .. } = match measured.map_err(|_| "no answer in time".to_owned())? {
        Ok(head) => head,
        Err(AttemptError::Remote(error)) if error.code == StatusCode::UNKNOWN_COMMAND => {
            return Err("the server is of an older version, which cannot tell".to_owned());
        }
        Err(error) => return Err(error.into_failure().to_string()),
    };
    if bytes == 0 || micros == 0 {
        return Err("too little of it came in time".to_owned());
    }
    Ok(Rate { bytes, elapsed: Duration::from_micros(micros) })
}
