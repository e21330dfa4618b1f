//! Servers of the local network that announce themselves (DNS-SD over multicast DNS, RFC 6762 and 6763).
//!
//! What is found is what strangers say: anybody on the network can announce any name and any key. Nothing here trusts anybody.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mdns_sd::{ResolvedService, ServiceDaemon, ServiceEvent};
use qfs_core::model::{Fingerprint, Ticket};

/// The type of the service.
const SERVICE: &str = "_qfs._udp.local.";

/// Most servers that are remembered: whoever floods the network with names is not believed to run so many.
const MAX_FOUND: usize = 256;

/// Most characters of a name that are kept.
const MAX_NAME_CHARS: usize = 64;

/// A server that announced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// What it calls itself: a stranger's text.
    pub name: String,
    /// Where it says that it is.
    pub address: SocketAddr,
    /// The key that it says it has. Connecting with it as the pin shows whether it does.
    pub fingerprint: Fingerprint,
}

impl Announced {
    /// What a client needs to reach it, and nobody else.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        let host = self.address.ip().to_string();
        Ticket { host, port: self.address.port(), fingerprint: Some(self.fingerprint), token: None }
    }
}

/// Why nothing can be found.
#[derive(Debug, thiserror::Error)]
#[error("cannot look for servers: {0}")]
pub struct DiscoveryError(String);

/// Asks the local network for servers and listens for so long. Sorted by name and address.
///
/// # Errors
/// [`DiscoveryError`] when the system does not let it ask.
pub async fn discover(time: Duration) -> Result<Vec<Announced>, DiscoveryError> {
    let listened = tokio::task::spawn_blocking(move || listen(time)).await;
    listened.map_err(|e| DiscoveryError(e.to_string()))?.map_err(|e| DiscoveryError(e.to_string()))
}

fn listen(time: Duration) -> Result<Vec<Announced>, mdns_sd::Error> {
    let end = Instant::now() + time;
    let daemon = ServiceDaemon::new()?;
    let events = daemon.browse(SERVICE)?;
    // By what it is called on the network: a later word about a server replaces an earlier one.
    let mut found: BTreeMap<String, Announced> = BTreeMap::new();
    while let Ok(event) = events.recv_deadline(end) {
        match event {
            ServiceEvent::ServiceResolved(service) => {
                if found.len() < MAX_FOUND
                    && let Some(server) = understood(&service)
                {
                    found.insert(service.fullname.clone(), server);
                }
            }
            ServiceEvent::ServiceRemoved(_, fullname) => drop(found.remove(&fullname)),
            _ => {}
        }
    }
    // Nothing depends on it.
    let _ = daemon.shutdown();
    let mut servers: Vec<_> = found.into_values().collect();
    servers.sort_by(|a, b| (&a.name, a.address).cmp(&(&b.name, b.address)));
    Ok(servers)
}

/// What a stranger says, if it says what is needed.
fn understood(service: &ResolvedService) -> Option<Announced> {
    let text = |key| service.get_property_val_str(key);
    let fingerprint = text("fingerprint")?.parse().ok()?;
    let name = text("name").unwrap_or_default().chars().take(MAX_NAME_CHARS).collect();
    // A link-local address means nothing without the interface, which a ticket has no place for.
    let usable = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).filter(|ip| match ip {
        IpAddr::V4(ip) => !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_unicast_link_local(),
    });
    // Those that others can use first, IPv4 before IPv6.
    let ip = usable.min_by_key(|ip| (ip.is_loopback(), ip.is_ipv6(), *ip))?;
    (service.port > 0).then(|| Announced { name, address: SocketAddr::new(ip, service.port), fingerprint })
}

/// Takes any bytes as what a stranger announces: a port (2 bytes), and with line feeds between, addresses and `KEY=VALUE`.
///
/// # Panics
/// When what is understood is too long, can be reached by nobody, or makes no ticket.
#[cfg(any(test, fuzzing))]
pub fn exercise(data: &[u8]) {
    let Some((port, text)) = data.split_first_chunk() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let (ips, rest) = text.split_once('\n').unwrap_or((text, ""));
    let properties: Vec<_> = rest.lines().filter_map(|line| line.split_once('=')).collect();
    let port = u16::from_be_bytes(*port);
    let Ok(said) = mdns_sd::ServiceInfo::new(SERVICE, "x", "x.local.", ips, port, &properties[..]) else { return };
    let Some(announced) = understood(&said.as_resolved_service()) else { return };
    assert!(announced.name.chars().count() <= MAX_NAME_CHARS);
    assert!(!announced.address.ip().is_unspecified() && announced.address.port() == port && port > 0);
    assert_eq!(announced.ticket().to_string().parse(), Ok(announced.ticket()));
}

#[cfg(test)]
mod tests {
    use mdns_sd::ServiceInfo;

    use super::*;

    fn said(ips: &str, port: u16, properties: &[(&str, &str)]) -> Option<Announced> {
        let info = ServiceInfo::new(SERVICE, "x", "x.local.", ips, port, properties).unwrap();
        understood(&info.as_resolved_service())
    }

    #[test]
    fn what_strangers_say_is_read_or_left_out() {
        let key = Fingerprint::of_public_key(b"key").to_string();
        let good = [("name", "lab\x1b[2J"), ("fingerprint", key.as_str())];
        let found = said("::1,192.0.2.9,2001:db8::1,192.0.2.7", 8000, &good).unwrap();
        assert_eq!(found.address, "192.0.2.7:8000".parse().unwrap());
        assert_eq!(found.ticket().to_string(), format!("qfs://192.0.2.7:8000#{key}"));
        assert_eq!(said("fe80::1", 8000, &good), None);
        assert_eq!(said("0.0.0.0", 8000, &good), None);
        assert_eq!(said("192.0.2.7", 0, &good), None);
        assert_eq!(said("192.0.2.7", 1, &[("name", "x")]), None);
        assert_eq!(said("192.0.2.7", 1, &[("fingerprint", "sha256:00")]), None);
        let long = "x".repeat(200);
        let found = said("127.0.0.1", 1, &[("name", long.as_str()), ("fingerprint", key.as_str())]).unwrap();
        assert_eq!(found.name.len(), MAX_NAME_CHARS);
    }
}
