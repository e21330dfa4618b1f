//! Tells the local network that the server is there (DNS-SD over multicast DNS, RFC 6762 and 6763), for `qfs-client discover`.
//!
//! Knows an address and a key, and nothing of what is served. What it says anybody on the network can say too: it is a hint where to
//! look, and no reason to trust.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};
use qfs_core::model::Fingerprint;

/// The type of the service.
const SERVICE: &str = "_qfs._udp.local.";

/// Longest name in bytes: a label of DNS (RFC 1035 §2.3.4).
const MAX_NAME_BYTES: usize = 63;

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_millis(300);

/// Answers questions for servers until it is dropped.
pub struct Beacon {
    daemon: ServiceDaemon,
    instance: String,
}

/// Why nothing is announced.
#[derive(Debug, thiserror::Error)]
#[error("cannot announce the server: {0}")]
pub struct BeaconError(#[from] mdns_sd::Error);

impl Beacon {
    /// Announces the server at `address` under `name`: at this address alone, or where it is a wildcard at those that this machine has.
    /// Starts a thread.
    ///
    /// # Errors
    /// [`BeaconError`] when the system does not let it.
    pub fn light(name: &str, address: SocketAddr, fingerprint: Fingerprint) -> Result<Self, BeaconError> {
        let service = describe(name, address, fingerprint)?;
        let instance = service.get_fullname().to_owned();
        let daemon = ServiceDaemon::new()?;
        daemon.register(service)?;
        Ok(Self { daemon, instance })
    }
}

fn describe(name: &str, address: SocketAddr, fingerprint: Fingerprint) -> Result<ServiceInfo, mdns_sd::Error> {
    let name = shortened(name);
    let key = fingerprint.to_string();
    // Two servers on one machine have two keys, and neither has the machine's own name, which is not this program's to answer for.
    let hex = key.rsplit(':').next().unwrap_or_default();
    let host = format!("qfs-{}.local.", &hex[..hex.len().min(16)]);
    let instance = format!("{} {}", shortened_to(name, MAX_NAME_BYTES - 9), &hex[..hex.len().min(8)]);
    let properties = [("txtvers", "1"), ("name", name), ("fingerprint", key.as_str())];
    let ip = address.ip();
    if ip.is_unspecified() {
        let mut service = ServiceInfo::new(SERVICE, &instance, &host, "", address.port(), &properties[..])?;
        if ip.is_ipv4() {
            service.set_interfaces(vec![IfKind::IPv4]);
        }
        return Ok(service.enable_addr_auto());
    }
    let mut service = ServiceInfo::new(SERVICE, &instance, &host, ip, address.port(), &properties[..])?;
    service.set_interfaces(vec![interface(ip)]);
    Ok(service)
}

fn interface(ip: IpAddr) -> IfKind {
    match ip {
        // Any of 127.0.0.0/8 may be bound, and the interface has one of them.
        IpAddr::V4(ip) if ip.is_loopback() => IfKind::LoopbackV4,
        IpAddr::V6(ip) if ip.is_loopback() => IfKind::LoopbackV6,
        ip => IfKind::Addr(ip),
    }
}

fn shortened(name: &str) -> &str {
    shortened_to(name, MAX_NAME_BYTES)
}

fn shortened_to(name: &str, bytes: usize) -> &str {
    let end = (0..=bytes).rev().find(|end| name.is_char_boundary(*end)).unwrap_or_default();
    &name[..end]
}

impl Drop for Beacon {
    /// Tells the network that the server is gone, and waits a moment for that to be sent.
    fn drop(&mut self) {
        if let Ok(told) = self.daemon.unregister(&self.instance) {
            let _ = told.recv_timeout(FAREWELL);
        }
        // Nothing depends on it: the process ends.
        let _ = self.daemon.shutdown();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_fits_and_names_the_key() {
        let key = Fingerprint::of_public_key(b"key");
        let name = "Ä".repeat(60);
        let service = describe(&name, "192.0.2.7:8000".parse().unwrap(), key).unwrap();
        assert_eq!(service.get_property_val_str("fingerprint"), Some(key.to_string().as_str()));
        assert_eq!(service.get_property_val_str("name"), Some("Ä".repeat(31).as_str()));
        let label = service.get_fullname().strip_suffix(&format!(".{SERVICE}")).unwrap();
        assert!(label.len() <= MAX_NAME_BYTES, "{label}");
        assert_eq!(service.get_port(), 8000);
        assert!(describe("", "0.0.0.0:1".parse().unwrap(), key).unwrap().is_addr_auto());
    }
}
