//! How far an operation has come, counted where it happens and looked at by whoever waits.

use std::sync::atomic::{AtomicU64, Ordering};

use qfs_core::observe::{Event, Observer};

/// See the module. Each of them may be a moment ahead of the others.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    bytes: AtomicU64,
    total_bytes: AtomicU64,
    files: AtomicU64,
    total_files: AtomicU64,
}

impl Counters {
    /// Bytes done and in all, files done and in all. A total may be less than what is done, where sizes were not known before.
    pub(crate) fn read(&self) -> (u64, u64, u64, u64) {
        let [bytes, total_bytes, files, total_files] =
            [&self.bytes, &self.total_bytes, &self.files, &self.total_files].map(|count| count.load(Ordering::Relaxed));
        (bytes, total_bytes.max(bytes), files, total_files.max(files))
    }
}

impl Observer for Counters {
    fn event(&self, event: Event<'_>) {
        let add = |count: &AtomicU64, number| {
            count.fetch_add(number, Ordering::Relaxed);
        };
        match event {
            Event::Planned { files, bytes } => {
                self.total_files.store(files as u64, Ordering::Relaxed);
                self.total_bytes.store(bytes, Ordering::Relaxed);
            }
            Event::Started { size, resumed_from, .. } => {
                self.total_bytes.fetch_max(size, Ordering::Relaxed);
                add(&self.bytes, resumed_from);
            }
            Event::Received { bytes, .. } | Event::Spared { bytes, .. } => add(&self.bytes, bytes),
            Event::Committed { .. } | Event::Unchanged { .. } | Event::Failed { .. } => add(&self.files, 1),
            _ => {}
        }
    }
}
