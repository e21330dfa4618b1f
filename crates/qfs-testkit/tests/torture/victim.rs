//! A server that is attacked, and whether it is well after each attack.

use std::net::SocketAddr;

use qfs_core::model::Digest;

use crate::crowd::memory;
use crate::lab::{Lab, noise};
use crate::raw::honest;
use crate::tally::seed;

/// The server may grow by this much over the whole suite, in MiB: budget in use, connections that wait out their time.
const GROWTH_MIB: u64 = 96;

/// A published file that takes many packets.
pub(crate) const LARGE_BYTES: usize = 4 << 20;

pub(crate) struct Victim {
    pub(crate) lab: Lab,
    /// Of the published file `large`.
    pub(crate) large: Digest,
    before: u64,
}

impl Victim {
    /// A server that publishes `large`, whose content `salt` decides, and these files, started with these arguments.
    pub(crate) fn new(salt: u64, more: &[(&str, &[u8])], args: &[&str]) -> Self {
        let content = noise(seed() ^ salt, LARGE_BYTES);
        let mut lab = Lab::new();
        lab.publish("large", &content);
        more.iter().for_each(|(name, content)| lab.publish(name, content));
        lab.start_with(&[&["-v", "--buffer-memory", "64M"], args].concat());
        let before = memory(lab.server().id()).0;
        Self { lab, large: Digest::of(&content), before }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.lab.address()
    }

    /// An honest client is served all the same, memory is bounded, and nothing has panicked.
    pub(crate) async fn is_well(&self, after: &str) {
        assert_eq!(honest(self.address(), "large").await, self.large, "after {after}");
        let grown = memory(self.lab.server().id()).0.saturating_sub(self.before) >> 10;
        assert!(grown <= GROWTH_MIB, "after {after} it has grown by {grown} MiB");
        let said = self.lab.server().said();
        assert!(!said.contains("panicked"), "after {after}: {said}");
        let acts = said.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(acts, None, "after {after} its log holds a raw {acts:?}");
    }
}
