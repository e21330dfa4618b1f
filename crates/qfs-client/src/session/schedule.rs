//! In which order, and how long after one another, a host's addresses and the ways to them are tried. Pure.

use std::net::SocketAddr;
use std::time::Duration;

use qfs_transport::Way;

use crate::config::Transport;

/// Wait before the next address of a host is tried beside the one before (RFC 8305 §5).
const ADDRESS_STAGGER: Duration = Duration::from_millis(250);

/// Wait before the other way to an address is tried beside the first. Over UDP a server answers after one round trip: few on earth
/// are longer.
const WAY_STAGGER: Duration = Duration::from_millis(300);

/// An attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) address: SocketAddr,
    pub(super) way: Way,
}

/// The attempts, each with the time after which it begins at the latest.
pub(super) fn schedule(addresses: &[SocketAddr], transport: Transport, first: Way) -> Vec<(Duration, Attempt)> {
    let other = match (transport, first) {
        (Transport::Only(_), _) => None,
        (Transport::Auto, Way::Udp) => Some(Way::Tcp),
        (Transport::Auto, Way::Tcp) => Some(Way::Udp),
    };
    let mut plan = Vec::new();
    for (&address, number) in addresses.iter().zip(0..) {
        let begin = ADDRESS_STAGGER * number;
        plan.push((begin, Attempt { address, way: first }));
        plan.extend(other.map(|way| (begin + WAY_STAGGER, Attempt { address, way })));
    }
    plan.sort_by_key(|(after, _)| *after);
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_and_addresses_follow_each_other() {
        let addresses = [SocketAddr::from(([192, 0, 2, 1], 1)), SocketAddr::from(([192, 0, 2, 2], 1))];
        let order = |transport, first| {
            let plan = schedule(&addresses, transport, first);
            plan.iter().map(|(after, a)| (after.as_millis(), a.address.ip().to_string(), a.way)).collect::<Vec<_>>()
        };
        let row = |ms, last: u8, way| (ms, format!("192.0.2.{last}"), way);
        let (udp, tcp) = (Way::Udp, Way::Tcp);
        assert_eq!(order(Transport::Auto, udp), [row(0, 1, udp), row(250, 2, udp), row(300, 1, tcp), row(550, 2, tcp)]);
        assert_eq!(order(Transport::Auto, tcp), [row(0, 1, tcp), row(250, 2, tcp), row(300, 1, udp), row(550, 2, udp)]);
        assert_eq!(order(Transport::Only(tcp), tcp), [row(0, 1, tcp), row(250, 2, tcp)]);
    }
}
