//! How often everything that is shared was downloaded.
//!
//! What is counted is bytes: a file was downloaded once more whenever as many of its bytes were handed out as it has, in one piece
//! or in several. So a download that is cut off and continued counts once; what was handed out in one that is given up counts too.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use qfs_core::store::{Entry, ListQuery, Store};
use qfs_server::Delivery;
use tokio::sync::Notify;

/// See the module.
#[derive(Debug)]
pub(super) struct Tally {
    wanted: u32,
    files: Mutex<BTreeMap<String, File>>,
    done: Notify,
}

#[derive(Debug)]
struct File {
    size: u64,
    /// Bytes handed out that make no whole file yet.
    bytes: u64,
    times: u32,
}

impl File {
    fn add(&mut self, bytes: u64) {
        // An answer may have parts of the file more than once.
        self.bytes += bytes.min(self.size);
        if self.bytes >= self.size {
            self.bytes -= self.size;
            self.times = self.times.saturating_add(1);
        }
    }
}

impl Tally {
    /// Counts what `store` has now, until everything was downloaded `wanted` times.
    pub(super) fn new(store: &impl Store, wanted: u32) -> Self {
        let mut files = BTreeMap::new();
        if wanted < u32::MAX {
            // What cannot be listed is not waited for.
            let _ = store.list(&ListQuery::default(), &mut |path, entry| {
                if let Entry::File(meta) = entry {
                    files.insert(path.as_str().to_owned(), File { size: meta.size, bytes: 0, times: 0 });
                }
                ControlFlow::Continue(())
            });
        }
        Self { wanted, files: Mutex::new(files), done: Notify::new() }
    }

    /// Something was handed out.
    pub(super) fn note(&self, delivery: Delivery<'_>) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get_mut(delivery.name) {
            file.add(delivery.bytes);
        }
        if !files.is_empty() && files.values().all(|file| file.times >= self.wanted) {
            self.done.notify_one();
        }
    }

    /// Resolves when everything was downloaded as often as is wanted.
    pub(super) async fn is_done(&self) {
        self.done.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use qfs_core::model::RemotePath;
    use qfs_store::mem::MemStore;

    use super::*;

    fn is_done(tally: &Tally) -> bool {
        tally.files.lock().unwrap().values().all(|file| file.times >= tally.wanted)
    }

    #[test]
    fn bytes_are_counted_and_everything_is_waited_for() {
        let store = MemStore::new();
        for (name, content) in [("a", "0123456789"), ("d/b", "01234"), ("d/empty", "")] {
            store.insert(&RemotePath::parse(name).unwrap(), content);
        }
        let tally = Tally::new(&store, 2);
        let file = |name, bytes| tally.note(Delivery { name, bytes });
        file("a", 400);
        assert_eq!(tally.files.lock().unwrap()["a"].times, 1, "one answer is at most one file");
        file("a", 4);
        file("a", 6);
        file("unknown", 6);
        assert_eq!(tally.files.lock().unwrap()["a"].times, 2, "continued");
        for _ in 0..2 {
            assert!(!is_done(&tally));
            file("d/b", 5);
            file("d/empty", 0);
        }
        assert!(is_done(&tally));
    }
}
