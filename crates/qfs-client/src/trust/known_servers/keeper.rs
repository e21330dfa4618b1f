//! Decides about servers, by the store and by what the user said about new ones.

use std::fmt;
use std::net::IpAddr;

use qfs_core::model::Fingerprint;

use super::file::KnownServers;
use crate::config::ServerAddress;
use crate::trust::{Known, TrustError, TrustStore};

/// Asks a person whether this server with this key is the right one; true when they said yes.
pub type Ask = dyn Fn(&ServerAddress, Fingerprint) -> bool + Send + Sync;

/// What happens to servers that are not known.
pub enum Newcomers {
    /// They are refused.
    Refuse,
    /// They are believed and recorded.
    Accept,
    /// A person decides; whom they believe is recorded.
    Ask(Box<Ask>),
}

impl fmt::Debug for Newcomers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refuse => "Refuse",
            Self::Accept => "Accept",
            Self::Ask(_) => "Ask",
        })
    }
}

/// The [`TrustStore`] of the command line: known servers by record, loopback without one, others as [`Newcomers`] says.
#[derive(Debug)]
pub struct Keeper {
    store: KnownServers,
    newcomers: Newcomers,
}

impl Keeper {
    /// Decides by `store` and `newcomers`.
    #[must_use]
    pub fn new(store: KnownServers, newcomers: Newcomers) -> Self {
        Self { store, newcomers }
    }
}

impl TrustStore for Keeper {
    fn lookup(&self, server: &ServerAddress) -> Result<Option<Known>, TrustError> {
        self.store.known(server).map_err(|e| TrustError::Store(e.to_string()))
    }

    fn announce(&self, server: &ServerAddress, found: Known) -> Result<bool, TrustError> {
        self.store.announce(server, found).map_err(|e| TrustError::Store(e.to_string()))
    }

    fn promote(&self, server: &ServerAddress, old: Fingerprint, new: Fingerprint) -> Result<bool, TrustError> {
        self.store.promote(server, old, new).map_err(|e| TrustError::Store(e.to_string()))
    }

    fn approve(&self, server: &ServerAddress, peer: IpAddr, presented: Fingerprint) -> Result<(), TrustError> {
        // Who can answer at a loopback address is on this machine already. Nothing is recorded: whoever listens there next
        // has another key by right.
        if peer.to_canonical().is_loopback() {
            return Ok(());
        }
        let believed = match &self.newcomers {
            Newcomers::Refuse => false,
            Newcomers::Accept => true,
            Newcomers::Ask(ask) => ask(server, presented),
        };
        if !believed {
            return Err(TrustError::Unknown { server: server.clone(), presented });
        }
        // Believing without a record would believe any other key next time.
        self.store.add(server, presented).map(drop).map_err(|e| TrustError::Store(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::document::parse_address;
    use super::*;

    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn key(seed: &str) -> Fingerprint {
        Fingerprint::of_public_key(seed.as_bytes())
    }

    #[test]
    fn loopback_needs_no_record_and_leaves_none() {
        let keeper = Keeper::new(KnownServers::at(None), Newcomers::Refuse);
        let server = parse_address("localhost:1").unwrap();
        for peer in ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"] {
            assert!(keeper.approve(&server, peer.parse().unwrap(), key("a")).is_ok(), "{peer}");
        }
    }

    #[test]
    fn strangers_are_refused_accepted_or_asked_about() {
        let directory = tempfile::tempdir().unwrap();
        let store = KnownServers::at(Some(directory.path().join("known_servers")));
        let server = parse_address("far.example:1").unwrap();
        let refuse = Keeper::new(store.clone(), Newcomers::Refuse);
        assert!(
            matches!(refuse.approve(&server, ELSEWHERE, key("a")), Err(TrustError::Unknown { presented, .. }) if presented == key("a"))
        );

        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let ask = move |_: &ServerAddress, _| count.fetch_add(1, Ordering::Relaxed) > 0;
        let asking = Keeper::new(store.clone(), Newcomers::Ask(Box::new(ask)));
        assert!(matches!(asking.approve(&server, ELSEWHERE, key("a")), Err(TrustError::Unknown { .. })));
        assert_eq!(asking.lookup(&server).unwrap(), None);
        assert!(asking.approve(&server, ELSEWHERE, key("a")).is_ok());
        assert_eq!((store.fingerprint(&server).unwrap(), asked.load(Ordering::Relaxed)), (Some(key("a")), 2));

        let accept = Keeper::new(store.clone(), Newcomers::Accept);
        let other = parse_address("near.example:1").unwrap();
        assert!(accept.approve(&other, ELSEWHERE, key("b")).is_ok());
        assert_eq!(store.records().unwrap().len(), 2);
    }

    #[test]
    fn belief_that_cannot_be_recorded_is_no_belief() {
        let keeper = Keeper::new(KnownServers::at(None), Newcomers::Accept);
        let server = parse_address("far.example:1").unwrap();
        assert!(matches!(keeper.approve(&server, ELSEWHERE, key("a")), Err(TrustError::Store(_))));
    }
}
