//! Who may connect: counts connections and handshakes, and says no. Knows addresses only, nothing of QUIC.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Limits;
use crate::gate::audit::Refusal;

/// The counters, shared by all connections of a server.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    /// Connections in all, and from one address, which may change.
    most: (AtomicUsize, AtomicUsize),
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: usize,
    unvalidated_handshakes: usize,
    /// Only addresses that have a connection: bounded by the connections.
    by_address: HashMap<IpAddr, usize>,
}

/// What to do with a client that wants in.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Let it in; it counts until the value is dropped.
    Admit(Admitted),
    /// Have it show first that its address is its own.
    Retry,
    /// Turn it away, for this reason.
    Refuse(Refusal),
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        let most = (limits.connections.into(), limits.connections_per_ip.into());
        Self { limits, most, state: Mutex::default() }
    }

    /// Other bounds from now on; connections that are there stay.
    pub(crate) fn set_most(&self, in_all: usize, per_ip: usize) {
        self.most.0.store(in_all, Ordering::Relaxed);
        self.most.1.store(per_ip, Ordering::Relaxed);
    }

    /// Most connections in all.
    #[cfg(feature = "metrics")]
    pub(crate) fn most(&self) -> usize {
        self.most.0.load(Ordering::Relaxed)
    }

    /// Judges a client at `peer`; `validated` when its address is known to be its own.
    pub(crate) fn judge(self: &Arc<Self>, peer: SocketAddr, validated: bool) -> Verdict {
        let mut state = self.lock();
        if state.connections >= self.most.0.load(Ordering::Relaxed) {
            return Verdict::Refuse(Refusal::Connections);
        }
        if !validated && state.unvalidated_handshakes >= self.limits.unvalidated_handshakes {
            return Verdict::Retry;
        }
        let key = address_key(peer.ip());
        if let Some(key) = key {
            let count = state.by_address.entry(key).or_default();
            if *count >= self.most.1.load(Ordering::Relaxed) {
                return Verdict::Refuse(Refusal::ConnectionsOfAddress);
            }
            *count += 1;
        }
        state.connections += 1;
        state.unvalidated_handshakes += usize::from(!validated);
        drop(state);
        Verdict::Admit(Admitted { admission: Arc::clone(self), key, unvalidated: !validated })
    }

    /// Connections now.
    #[cfg(feature = "metrics")]
    pub(crate) fn count(&self) -> usize {
        self.lock().connections
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that was let in; counts until dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    key: Option<IpAddr>,
    unvalidated: bool,
}

impl Admitted {
    /// The handshake is done, and with it the address shown.
    pub(crate) fn established(&mut self) {
        if std::mem::take(&mut self.unvalidated) {
            self.admission.lock().unvalidated_handshakes -= 1;
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.established();
        let mut state = self.admission.lock();
        state.connections -= 1;
        if let Some(key) = self.key
            && let Some(count) = state.by_address.get_mut(&key)
        {
            *count -= 1;
            if *count == 0 {
                state.by_address.remove(&key);
            }
        }
    }
}

/// What counts as one address: an IPv4 address, or the /64 that one IPv6 host commonly has. None for loopback.
pub(crate) fn address_key(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V6(v6) => Some(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into()),
        v4 => Some(v4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(limits: Limits) -> Arc<Admission> {
        Arc::new(Admission::new(limits))
    }

    fn peer(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 1)
    }

    #[test]
    fn each_limit_holds_and_is_given_back() {
        let limits = Limits { connections: 3, connections_per_ip: 2, ..Limits::default() };
        let admission = admission(limits);
        let judge = |address| admission.judge(peer(address), true);
        let Verdict::Admit(first) = judge("192.0.2.1") else { panic!() };
        let Verdict::Admit(_second) = judge("::ffff:192.0.2.1") else { panic!() };
        assert!(matches!(judge("192.0.2.1"), Verdict::Refuse(_)));
        let Verdict::Admit(_third) = judge("192.0.2.2") else { panic!() };
        assert!(matches!(judge("127.0.0.1"), Verdict::Refuse(Refusal::Connections)));
        drop(first);
        assert!(matches!(judge("192.0.2.1"), Verdict::Admit(_)));
    }

    #[test]
    fn loopback_is_many_users_and_a_prefix_is_one() {
        let admission = admission(Limits { connections_per_ip: 1, ..Limits::default() });
        let held: Vec<_> = (0..10).map(|_| admission.judge(peer("::1"), true)).collect();
        assert!(held.iter().all(|verdict| matches!(verdict, Verdict::Admit(_))));
        let _one = admission.judge(peer("2001:db8::1"), true);
        assert!(matches!(admission.judge(peer("2001:db8::2"), true), Verdict::Refuse(_)));
        assert!(matches!(admission.judge(peer("2001:db8:0:1::2"), true), Verdict::Admit(_)));
    }

    #[test]
    fn strangers_must_show_their_address_when_many_knock() {
        let admission = admission(Limits { unvalidated_handshakes: 1, ..Limits::default() });
        let Verdict::Admit(mut first) = admission.judge(peer("192.0.2.1"), false) else { panic!() };
        assert!(matches!(admission.judge(peer("192.0.2.2"), false), Verdict::Retry));
        let _shown = admission.judge(peer("192.0.2.2"), true);
        first.established();
        assert!(matches!(admission.judge(peer("192.0.2.3"), false), Verdict::Admit(_)));
        drop(first);
        assert!(matches!(admission.judge(peer("192.0.2.4"), false), Verdict::Admit(_)));
    }
}
