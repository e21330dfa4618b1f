//! Observes during a run what cannot be found out afterwards: the server's memory, and the progress of the copy.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::BenchError;
use crate::process::{Daemon, tree_usage};
use crate::results::Progress;
use crate::verify::disk_usage;

/// Time between two observations. Each takes some 0.2 ms of the machine's time, the same for every contender.
const PERIOD: Duration = Duration::from_millis(40);

/// The most observations that are kept of a run. A longer run is observed only up to there.
const MAX_PROGRESS: usize = 5_000;

/// What was observed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Peak of the memory that the server's processes held together, bytes.
    pub(super) server_peak: Option<u64>,
    /// The progress of the copy, in order of time.
    pub(super) progress: Vec<Progress>,
}

/// Does `work`, and meanwhile observes `daemon` and what `dest` takes on disk.
pub(super) fn watch<T>(
    daemon: Option<&Daemon>,
    dest: Option<&Path>,
    work: impl FnOnce() -> Result<T, BenchError>,
) -> Result<(T, Seen), BenchError> {
    let (done, server) = (AtomicBool::new(false), daemon.map(Daemon::id));
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| look_until(&done, server, dest));
        let end = End(&done, watcher.thread().clone());
        let result = work();
        drop(end);
        let seen = watcher.join().unwrap_or_default();
        result.map(|value| (value, seen))
    })
}

/// Ends the watching even when the work panics.
struct End<'a>(&'a AtomicBool, Thread);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.unpark();
    }
}

fn look_until(done: &AtomicBool, server: Option<u32>, dest: Option<&Path>) -> Seen {
    let (begun, mut seen) = (Instant::now(), Seen::default());
    let mut is_last = false;
    while !is_last {
        std::thread::park_timeout(PERIOD);
        // This is checked before the observation, so that one observation comes after the end.
        is_last = done.load(Ordering::Relaxed);
        seen.server_peak = seen.server_peak.max(server.map(|id| tree_usage(id).peak_rss));
        // A file that is being renamed is seen the next time.
        if let Some(bytes) = dest.filter(|_| seen.progress.len() < MAX_PROGRESS).and_then(|dest| disk_usage(dest).ok())
        {
            seen.progress.push(Progress { seconds: begun.elapsed().as_secs_f64(), bytes });
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    /// Fails when no observation comes after the end of the work, or observations are out of order.
    #[test]
    fn a_copy_is_seen_growing_up_to_its_end() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("copy");
        let (looks, seen) = watch(None, Some(place.path()), || {
            let mut file = fs::File::create(&file).unwrap();
            for _ in 0..3 {
                file.write_all(&[1; 1 << 16]).unwrap();
            }
            Ok(3)
        })
        .unwrap();
        assert_eq!((looks, seen.server_peak), (3, None));
        assert!(seen.progress.is_sorted_by(|a, b| a.seconds <= b.seconds && a.bytes <= b.bytes), "{seen:?}");
        assert!(seen.progress.last().unwrap().bytes >= 3 << 16, "{seen:?}");
        assert!(watch(None, None, || Ok(())).unwrap().1.progress.is_empty());
    }
}
