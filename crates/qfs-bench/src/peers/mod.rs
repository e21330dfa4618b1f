//! The programs that are compared: how each is set up, called and accounted for. Each has a file of its own.
//!
//! A peer gets the same data, the same place and its usual flags. Its server and its keys live in a directory of its
//! own below the bench's temporary one; nothing of the machine's own configuration is read or changed.

mod aria2;
mod cp;
mod curl;
mod nginx;
mod ours;
mod peer;
mod place;
mod qcp;
mod rclone;
mod rsync;
mod sendme;
mod ssh;
mod zsync;

pub use ours::Ours;
pub use peer::{Job, Peer, PeerError, Started};
pub use place::{Ends, OursSpec, Place};

use crate::BenchError;
use crate::scenario::{Scenario, Task};

/// A program that can be set up.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// How it is called on the command line and in reports.
    pub name: &'static str,
    /// Whether it can do the scenario at all.
    pub can: fn(&Scenario) -> bool,
    /// Sets it up.
    pub start: fn(&Place<'_>) -> Started,
}

/// All peers, in the order they run.
pub const ALL: [Entry; 17] = [
    Entry { name: "curl", can: curl::can, start: curl::start },
    Entry { name: "curl-from-qfs", can: curl::can_fetch, start: curl::start_from_ours },
    Entry { name: "curl-from-dufs", can: curl::can_fetch, start: curl::start_from_dufs },
    Entry { name: "curl+sha256sum", can: curl::can_check, start: curl::start_sha256sum },
    Entry { name: "curl+b3sum", can: curl::can_check, start: curl::start_b3sum },
    Entry { name: "curl-bbr", can: over_a_link, start: curl::start_bbr },
    Entry { name: "rsync", can: rsync::can, start: rsync::start },
    Entry { name: "rsync-ssh", can: rsync::can_fetch, start: ssh::start_rsync },
    Entry { name: "scp", can: ssh::can_scp, start: ssh::start_scp },
    Entry { name: "aria2c", can: aria2::can, start: aria2::start },
    Entry { name: "qcp", can: qcp::can, start: qcp::start },
    Entry { name: "sendme", can: sendme::can, start: sendme::start },
    Entry { name: "rclone", can: rclone::can, start: rclone::start },
    Entry { name: "zsync", can: zsync::can, start: zsync::start },
    Entry { name: "cp", can: cp::can, start: cp::start },
    // qfs with another congestion controller shows what the default is worth over a link.
    Entry { name: "qfs-cubic", can: over_a_link, start: ours::start_cubic },
    Entry { name: "qfs-bbr", can: over_a_link, start: ours::start_bbr },
];

fn over_a_link(scenario: &Scenario) -> bool {
    scenario.link.is_some() && scenario.task == Task::Fetch
}

/// The peers called `names`; `auto` means all, and `none` means none.
///
/// # Errors
/// [`BenchError::Unknown`] for a name that none has.
pub fn select(names: &[String]) -> Result<Vec<Entry>, BenchError> {
    let mut chosen = Vec::new();
    for entry in &ALL {
        if names.iter().any(|name| name == entry.name || name == "auto") {
            chosen.push(*entry);
        }
    }
    let known = |name: &str| name == "auto" || name == "none" || ALL.iter().any(|entry| entry.name == name);
    match names.iter().find(|name| !known(name)) {
        None => Ok(chosen),
        Some(unknown) => {
            let known: Vec<&str> = ["auto", "none"].into_iter().chain(ALL.iter().map(|entry| entry.name)).collect();
            Err(BenchError::Unknown { kind: "peer", name: unknown.clone(), known: known.join(", ") })
        }
    }
}
