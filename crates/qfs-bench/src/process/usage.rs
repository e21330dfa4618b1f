//! What a running process and its descendants have used, read from `/proc`.
//!
//! CPU time here has the resolution of the kernel's clock tick (10 ms), which is good enough for the sum over a run,
//! but not for one short command. Children that ended are accounted for exactly, by [`super::Supervisor::wait`].

use std::fs;
use std::time::Duration;

/// CPU time and memory of a process tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all living processes and of the children they have waited for.
    pub cpu: Duration,
    /// Peak resident memory, bytes, summed over the processes alive.
    pub peak_rss: u64,
}

/// The bound on a tree's size. Further processes are not examined.
const MAX_TREE: usize = 4096;

/// What `root` and its descendants have used so far; zero when it is gone.
#[must_use]
pub fn tree_usage(root: u32) -> Usage {
    let mut usage = Usage::default();
    for id in tree(root) {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        usage.cpu += cpu_of(&stat).unwrap_or_default();
        usage.peak_rss += peak_of(&status).unwrap_or_default();
    }
    usage
}

/// Restarts the peaks of `root` and its descendants from what they hold now.
pub fn forget_peaks(root: u32) {
    for id in tree(root) {
        // Where the kernel refuses, the peak remains the one since the start.
        let _ = fs::write(format!("/proc/{id}/clear_refs"), "5");
    }
}

/// The same for the bench itself; returns what its peak is now, bytes.
///
/// A child's peak begins with that of the process that started it (the kernel counts it at exec). The bench therefore
/// forgets its own peak before each run, and what remains is a lower bound on what can be measured of its children.
pub fn forget_own_peak() -> u64 {
    let _ = fs::write("/proc/self/clear_refs", "5");
    peak_of(&fs::read_to_string("/proc/self/status").unwrap_or_default()).unwrap_or_default()
}

/// `root` and its descendants, zombies included.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() && found.len() < MAX_TREE {
        let tasks = fs::read_dir(format!("/proc/{}/task", found[next])).into_iter().flatten().flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_ascii_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

/// utime, stime, cutime and cstime of `/proc/PID/stat` (proc(5)): fields 14 to 17, which are the 12th to 15th after the
/// name.
fn cpu_of(stat: &str) -> Option<Duration> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let ticks: u64 = behind_name.split_ascii_whitespace().skip(11).take(4).filter_map(|n| n.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1)))
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 55";
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(cpu_of(stat), Some(Duration::from_millis(127 * 1000 / ticks)));
        assert_eq!(cpu_of(""), None);
        assert_eq!(peak_of("Name:\tx\nVmHWM:\t    3072 kB\n"), Some(3 * 1024 * 1024));
        assert_eq!(peak_of("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(tree_usage(std::process::id()).peak_rss > 100_000);
        assert_eq!(tree_usage(u32::MAX), Usage::default());
    }
}
