//! What the program says: the lines on stdout that scripts read, and notices for people on stderr.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use qfs_core::model::{Fingerprint, Ticket};
use qfs_server::{Drained, Server};

use super::args::Args;
use super::failure::Failure;
#[cfg(feature = "http")]
use super::log_format::LogFormat;

/// Prints the lines of the contract, flushed; false when nobody reads them any more.
pub(crate) fn lines<S: qfs_core::store::WriteStore>(args: &Args, server: &Server<S>) -> Result<bool, Failure> {
    let address = server.local_addr();
    let fingerprint = server.fingerprint();
    let mut text = format!("listening on {address}\nserving {}\nfingerprint {fingerprint}\n", args.root.display());
    for ticket in tickets(address.ip(), address.port(), fingerprint) {
        text.push_str(&format!("ticket {ticket}\n"));
    }
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::output(error)),
    }
}

/// A ticket for each address that a server bound to `ip` is reached at.
pub(crate) fn tickets(ip: IpAddr, port: u16, fingerprint: Fingerprint) -> impl Iterator<Item = Ticket> {
    let ticket = move |ip: IpAddr| Ticket { host: ip.to_string(), port, fingerprint: Some(fingerprint), token: None };
    reachable_at(ip).into_iter().map(ticket)
}

/// The address itself, or for a wildcard every address of this machine that it covers.
fn reachable_at(bound: IpAddr) -> Vec<IpAddr> {
    if !bound.is_unspecified() {
        return vec![bound];
    }
    let mut addresses: Vec<_> = match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.into_iter().map(|interface| interface.ip()).collect(),
        Err(error) => {
            tracing::warn!("the addresses of this machine cannot be listed: {error}");
            Vec::new()
        }
    };
    // A link-local address means nothing without the interface's name, which a ticket has no place for.
    addresses.retain(|ip| match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => bound.is_ipv6() && !v6.is_unicast_link_local(),
    });
    // Those that others can use first, IPv4 before IPv6.
    addresses.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6(), *ip));
    addresses.dedup();
    addresses
}

/// Prints what a person should know, unless asked not to.
#[expect(clippy::print_stderr, reason = "the command line's own output")]
pub(crate) fn notices<S: qfs_core::store::WriteStore>(args: &Args, server: &Server<S>) {
    if args.quiet {
        return;
    }
    if let Some(file) = &args.client_ca {
        eprintln!(
            "note: only clients with a certificate that an authority in {} has signed can list and read the published directory",
            file.display()
        );
    }
    let tokens = server.gate().token_count();
    if (args.client_ca.is_none() || tokens.is_some())
        && let Some(text) = audience(server.local_addr(), server.is_on_tcp(), tokens)
    {
        eprintln!("note: {text}");
    }
    #[cfg(feature = "http")]
    if args.http() {
        let text = if server.is_on_tcp() {
            page(server.local_addr(), args.cert.is_some())
        } else {
            "HTTP is served over UDP alone (HTTP/3), where browsers do not look; curl --http3-only does".to_owned()
        };
        // Where a log is shown, each line is one of the log: programs read it.
        if args.verbose > 0 || args.log_format() == LogFormat::Json {
            tracing::info!("{text}");
        } else {
            eprintln!("note: {text}");
        }
    }
    #[cfg(feature = "metrics")]
    if let Some(address) = server.metrics_addr() {
        eprintln!("note: metrics are told at http://{address}/metrics, without asking who asks");
    }
    let buffers = server.buffers();
    if buffers.are_short() {
        let wanted = buffers.wanted;
        eprintln!(
            "note: the kernel granted {} KiB of socket buffer for sending and {} for receiving, {} are better; \
             as root: sysctl -w net.core.wmem_max={wanted} net.core.rmem_max={wanted}",
            buffers.send >> 10,
            buffers.receive >> 10,
            wanted >> 10
        );
    }
}

/// Who can read, when it is not only this machine, or nobody. `tokens` is how many there are, where they are asked for.
fn audience(address: SocketAddr, is_on_tcp: bool, tokens: Option<usize>) -> Option<String> {
    let ip = address.ip().to_canonical();
    if let Some(tokens) = tokens {
        return match tokens {
            0 => Some("nobody can read yet: make a token with qfs-server token create".to_owned()),
            _ if ip.is_loopback() => None,
            _ => Some("only clients that show a valid token can list and read what it reaches".to_owned()),
        };
    }
    if ip.is_loopback() {
        return None;
    }
    let place = if ip.is_unspecified() { "any address of this machine".to_owned() } else { ip.to_string() };
    let ways = if is_on_tcp { "UDP or TCP" } else { "UDP" };
    Some(format!(
        "everybody who can reach {ways} port {} at {place} can list and read everything in the published directory; there is \
         no password (--auth tokens asks for one)",
        address.port()
    ))
}

/// Where browsers go, and what they ask there.
#[cfg(feature = "http")]
fn page(address: SocketAddr, is_certified: bool) -> String {
    // The first that others can use, or what there is.
    let ip = reachable_at(address.ip()).first().copied().unwrap_or(address.ip());
    let place = format!("https://{}/", SocketAddr::new(ip, address.port()));
    if is_certified {
        return format!("browsers and curl find the files at {place}, or at the name that the certificate is for");
    }
    format!(
        "browsers and curl find the files at {place}; the certificate is the server's own, so a browser asks first: its certificate \
         viewer shows the fingerprint above as the SHA-256 of the public key"
    )
}

/// Announces the server on the local network, where that was asked for.
#[cfg(feature = "announce")]
pub(crate) fn on_the_network<S: qfs_core::store::WriteStore>(
    args: &Args,
    server: &Server<S>,
) -> Result<Option<qfs_server::Beacon>, Failure> {
    let Some(name) = &args.announce else { return Ok(None) };
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = if name.is_empty() { &own } else { name };
    let beacon = qfs_server::Beacon::light(name, server.local_addr(), server.fingerprint());
    beacon.map(Some).map_err(|e| Failure::refused(e.to_string(), "leave out --announce, or let multicast DNS through"))
}

/// Says what shutting down cut off.
#[expect(clippy::print_stderr, reason = "the command line's own output")]
pub(crate) fn drained(args: &Args, drained: Drained) {
    if drained.cut > 0 && !args.quiet {
        eprintln!("note: {} connections still had transfers under way and were cut off", drained.cut);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_name_addresses_others_can_use() {
        assert_eq!(reachable_at([192, 0, 2, 7].into()), [IpAddr::from([192, 0, 2, 7])]);
        let any_v4 = reachable_at([0, 0, 0, 0].into());
        assert!(any_v4.contains(&IpAddr::from([127, 0, 0, 1])));
        assert!(any_v4.iter().all(|ip| ip.is_ipv4()));
        let any_v6 = reachable_at(IpAddr::from([0u16; 8]));
        assert!(any_v4.iter().all(|ip| any_v6.contains(ip)));
        assert!(any_v6.iter().all(|ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())));
    }

    #[cfg(feature = "http")]
    #[test]
    fn the_page_is_announced() {
        let said = page("[::1]:8000".parse().unwrap(), false);
        assert!(said.contains("https://[::1]:8000/") && said.contains("SHA-256 of the public key"), "{said}");
        assert!(!page("127.0.0.1:8000".parse().unwrap(), true).contains("asks"));
    }

    #[test]
    fn strangers_are_announced() {
        let said = |address: &str| audience(address.parse().unwrap(), true, None);
        assert_eq!(said("127.0.0.1:1"), None);
        assert_eq!(said("[::1]:1"), None);
        assert!(said("0.0.0.0:8000").unwrap().contains("UDP or TCP port 8000 at any address"));
        assert!(audience("0.0.0.0:1".parse().unwrap(), false, None).unwrap().contains("reach UDP port 1"));
        assert!(said("192.0.2.1:8000").unwrap().contains("192.0.2.1"));
        let said = |address: &str, tokens| audience(address.parse().unwrap(), true, Some(tokens));
        assert!(said("127.0.0.1:1", 0).unwrap().contains("token create"));
        assert_eq!(said("127.0.0.1:1", 1), None);
        assert!(said("192.0.2.1:8000", 1).unwrap().contains("only clients that show a valid token"));
    }
}
