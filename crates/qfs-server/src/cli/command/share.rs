//! `share`: a server of its own for some paths, which ends by itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use qfs_config::Origin;
use qfs_core::model::{Ticket, Token};
use qfs_server::gate::rights::Rights;
use qfs_server::pace::Pacing;
use qfs_server::{Deadlines, Gate, Limits, Server, ServerConfig};
use qfs_store::local::Hidden;
use qfs_store::picked::{PickError, Picked};
use qfs_transport::{Identity, IdentityPem, ServerTuning};

use super::super::args::{Args, ShareArgs, Switch};
use super::super::failure::Failure;
use super::super::layers::Reading;
use super::super::sandbox::{self, Places};
use super::super::signals::Signals;
use super::super::{announce, start};
use super::output::{notice, print};
use super::qr;
use super::tally::Tally;

/// When the second signal ends the program, as shells have it for SIGINT.
const EXIT_INTERRUPTED: u8 = 130;

/// Hands out what `share` names until its end.
pub(crate) fn run(reading: &Reading, share: &ShareArgs) -> Result<ExitCode, Failure> {
    let runtime = start::runtime(qfs_server::BLOCKING_THREADS)?;
    let code = runtime.block_on(serve(reading, share));
    // A long read may still be under way; nothing of it is wanted.
    runtime.shutdown_background();
    code
}

async fn serve(reading: &Reading, share: &ShareArgs) -> Result<ExitCode, Failure> {
    let args = &reading.args;
    // Before anything is printed: whoever reads the first line may already send a signal.
    let mut signals = Signals::catch().map_err(Failure::runtime)?;
    start::raise_file_limit();
    let hidden = if args.hidden { Hidden::Included } else { Hidden::Excluded };
    let picked = Picked::open(&share.paths, hidden).map_err(|e| not_picked(&e))?;
    let (identity, key) = identity(reading)?;
    for (place, _) in picked.real_places() {
        key.iter().try_for_each(|key| start::refuse_published_key(place, key))?;
    }
    let (gate, token) = gate(share)?;
    let tally = Arc::new(Tally::new(&picked, share.times.unwrap_or(u32::MAX)));
    let config = config(reading, gate, &tally);
    let places = places(&picked);
    let server = Server::bind(config, &identity, picked.clone()).map_err(|error| start::not_bound(args, &error))?;
    sandbox::enter(args.sandbox(), &places)?;
    tell(args, share, &server, token.as_ref())?;
    let (first, second) = signals.split(|| {});
    let end = async {
        tokio::select! {
            () = first => {}
            () = tally.is_done() => notice(args, "note: everything was downloaded; the share has ended"),
            () = after(share.time) => notice(args, "note: the time is over; the share has ended"),
        }
    };
    tokio::select! {
        served = server.serve(end) => {
            announce::drained(args, served.map_err(Failure::serve)?);
            Ok(ExitCode::SUCCESS)
        }
        () = second => Ok(ExitCode::from(EXIT_INTERRUPTED)),
    }
}

/// Why nothing is shared, and what to do.
fn not_picked(error: &PickError) -> Failure {
    let hint = match error {
        PickError::Twice { .. } => "share one of them by itself, or the directory that has them both",
        _ => "name files and directories that you can read",
    };
    Failure::refused(format!("cannot share {error}"), hint)
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// The identity that was named, and where its key is; or one that is made for this share alone. The ticket says which it is.
fn identity(reading: &Reading) -> Result<(Identity, Option<PathBuf>), Failure> {
    if ["certs", "cert", "key"].into_iter().any(|id| is_said(reading, id)) {
        return start::identity(&reading.args).map(|(identity, key)| (identity, Some(key)));
    }
    let made = IdentityPem::generate().map_err(|e| e.to_string());
    let made = made
        .and_then(|pem| Identity::from_pem(pem.key.as_bytes(), pem.certificate.as_bytes()).map_err(|e| e.to_string()));
    made.map(|identity| (identity, None))
        .map_err(|why| Failure::refused(format!("cannot make an identity: {why}"), "see --certs"))
}

/// Whether an option was given for this very run; what the configuration file says of it is for the server that goes on.
fn is_said(reading: &Reading, id: &str) -> bool {
    reading.origin(id) >= Origin::Variable
}

/// Who may read: who has the token, for as long as the share lasts.
fn gate(share: &ShareArgs) -> Result<(Gate, Option<Token>), Failure> {
    if share.open {
        return Ok((Gate::open(Rights::READ), None));
    }
    let lasts = share.time.and_then(|time| SignedDuration::try_from(time).ok());
    let expires = lasts.and_then(|time| Timestamp::now().checked_add(time).ok());
    let (gate, token) =
        Gate::one_token(expires).map_err(|e| Failure::refused(format!("cannot make a token: {e}"), e.hint()))?;
    Ok((gate, Some(token)))
}

fn config(reading: &Reading, gate: Gate, tally: &Arc<Tally>) -> ServerConfig {
    let args = &reading.args;
    let ip = if reading.origin("ip") > Origin::Default { args.ip } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let port = if is_said(reading, "port") { args.port } else { 0 };
    let tally = Arc::clone(tally);
    ServerConfig {
        #[cfg(feature = "http")]
        http: args.http(),
        tcp: args.tcp == Switch::On,
        tuning: ServerTuning { congestion: args.congestion(), max_payload: args.mtu, ..ServerTuning::default() },
        limits: Limits {
            connections: args.max_connections,
            connections_per_ip: args.max_connections_per_ip,
            buffer_bytes: args.buffer_memory,
            ..Limits::default()
        },
        deadlines: Deadlines { drain: args.drain_timeout, stall: args.stall_timeout, ..Deadlines::default() },
        pacing: Pacing { all: args.limit.clone(), each: args.limit_client.clone(), zone: Some(TimeZone::system()) },
        deliveries: Some(qfs_server::Deliveries::new(move |delivery| tally.note(delivery))),
        gate,
        ..ServerConfig::new(SocketAddr::new(ip, port))
    }
}

/// What the server goes on needing: what is shared, for reading.
fn places(picked: &Picked) -> Places {
    let mut places = Places::default();
    for (place, is_directory) in picked.real_places() {
        if is_directory { places.published.push(place.to_owned()) } else { places.read.push(place.to_owned()) }
    }
    places
}

/// Prints how the share is reached, each line for itself; on a terminal also as a picture for a telephone.
fn tell(args: &Args, share: &ShareArgs, server: &Server<Picked>, token: Option<&Token>) -> Result<(), Failure> {
    let address = server.local_addr();
    let fingerprint = server.fingerprint();
    let mut text = format!("listening on {address}\nfingerprint {fingerprint}\n");
    let mut links = Vec::new();
    for ticket in announce::tickets(address.ip(), address.port(), fingerprint) {
        let ip: IpAddr = ticket.host.parse().unwrap_or(address.ip());
        let secret = token.map(|token| format!("&token={}", token.reveal())).unwrap_or_default();
        text.push_str(&format!("ticket {}{secret}\n", Ticket { token: None, ..ticket }));
        links.push(link(SocketAddr::new(ip, address.port()), token));
    }
    if is_http(args) && server.is_on_tcp() {
        links.iter().for_each(|link| text.push_str(&format!("link {link}\n")));
        if let Some(link) = links.first()
            && qr::is_wanted()
        {
            text.push_str(&qr::drawn(link));
        }
    }
    print(&text)?;
    if share.open && !address.ip().is_loopback() {
        notice(
            args,
            "note: everybody who can reach this port can read what is shared; without --open only who has the ticket or the link",
        );
    }
    Ok(())
}

#[cfg(feature = "http")]
fn is_http(args: &Args) -> bool {
    args.http()
}

#[cfg(not(feature = "http"))]
fn is_http(_: &Args) -> bool {
    false
}

/// Where a browser goes. The token stands behind the `#`, which browsers send to nobody: it is in no request, and in no log.
fn link(address: SocketAddr, token: Option<&Token>) -> String {
    let secret = token.map(|token| format!("#token={}", token.reveal())).unwrap_or_default();
    format!("https://{address}/{secret}")
}
