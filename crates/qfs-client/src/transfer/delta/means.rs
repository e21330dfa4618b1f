//! What all files of a run share for fetching what changed alone.

use super::library::Library;
use crate::config::FetchConfig;
use crate::transfer::maps::{Maps, is_worth_it};

/// Shared by all files of a run.
#[derive(Debug)]
pub(crate) struct Means {
    pub(crate) library: Library,
    pub(super) maps: Maps,
}

impl Means {
    pub(crate) fn new(library: Library) -> Self {
        Self { library, maps: Maps::default() }
    }

    /// Whether anything is here from which a file may be put together, of whose name there are `old` bytes.
    pub(crate) fn are_there(&self, config: &FetchConfig, old: u64) -> bool {
        // A file that grows meanwhile has no version, and so no map.
        !config.whole && !config.live && self.maps.may_be_had() && self.here(old) > 0
    }

    /// Whether it is worth the trouble for a file of `size` bytes, of whose name there are `old`.
    pub(crate) fn are_worth_it(&self, size: u64, old: u64) -> bool {
        is_worth_it(size, self.here(old))
    }

    fn here(&self, old: u64) -> u64 {
        old.saturating_add(self.library.bytes())
    }
}
