//! What all files of a run share for fetching what changed alone.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use super::library::Library;
use crate::config::FetchConfig;

/// Smallest file that is worth a map, in bytes: below it, what the map and the round trip for it cost is no less than what is saved.
const LEAST_BYTES: u64 = 1 << 20;

/// Where what is here is less than this part of a file, the map costs about as much as it can save.
const LEAST_SHARE: u64 = 64;

/// Files whose maps are fetched and compared at once. Each may take 21 MiB for the map, as much for its chunks, 32 MiB for those of
/// the seeds, and 100 MiB while they are compared, all of it for the largest maps; that of a file of 1 GiB is a sixteenth of that.
const AT_ONCE: usize = 2;

/// Shared by all files of a run.
#[derive(Debug)]
pub(crate) struct Means {
    pub(crate) library: Library,
    /// Whether the server has said that it knows no maps.
    unknown: AtomicBool,
    pub(super) turns: Semaphore,
}

impl Means {
    pub(crate) fn new(library: Library) -> Self {
        Self { library, unknown: AtomicBool::new(false), turns: Semaphore::new(AT_ONCE) }
    }

    /// The server has no maps: nothing more is asked of it.
    pub(super) fn note_unknown(&self) {
        self.unknown.store(true, Ordering::Relaxed);
    }

    /// Whether anything is here from which a file may be put together, of whose name there are `old` bytes.
    pub(crate) fn are_there(&self, config: &FetchConfig, old: u64) -> bool {
        // A file that grows meanwhile has no version, and so no map.
        let is_possible = !config.whole && !config.live && !self.unknown.load(Ordering::Relaxed);
        is_possible && old.saturating_add(self.library.bytes()) > 0
    }

    /// Whether it is worth the trouble for a file of `size` bytes, of whose name there are `old`.
    pub(crate) fn are_worth_it(&self, size: u64, old: u64) -> bool {
        let here = old.saturating_add(self.library.bytes());
        size > LEAST_BYTES && here >= size / LEAST_SHARE
    }
}
