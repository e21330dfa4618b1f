//! How far an operation has come, counted where it happens and looked at by whoever waits.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use qfs_core::observe::{Event, FileId, Observer};

/// See the module. Each of them may be a moment ahead of the others.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    bytes: AtomicU64,
    /// As planned.
    total_bytes: AtomicU64,
    /// Of the files that have begun, whose sizes need not have been known before.
    begun_bytes: AtomicU64,
    begun: Mutex<HashSet<FileId>>,
    files: AtomicU64,
    total_files: AtomicU64,
}

impl Counters {
    /// Bytes done and in all, files done and in all, as far as sizes are known.
    pub(crate) fn read(&self) -> (u64, u64, u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (bytes, files) = (read(&self.bytes), read(&self.files));
        let total_bytes = read(&self.total_bytes).max(read(&self.begun_bytes)).max(bytes);
        (bytes, total_bytes, files, read(&self.total_files).max(files))
    }

    fn begins(&self, file: FileId) -> bool {
        // A further attempt begins anew.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(file)
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
            Event::Started { file, size, resumed_from, .. } if self.begins(file) => {
                add(&self.begun_bytes, size);
                add(&self.bytes, resumed_from);
            }
            Event::Received { bytes, .. } | Event::Spared { bytes, .. } => add(&self.bytes, bytes),
            Event::Committed { .. } | Event::Unchanged { .. } | Event::Failed { .. } => add(&self.files, 1),
            _ => {}
        }
    }
}
