//! Which servers were reached over TCP because nothing came through over UDP: for a day they are tried that way first.
//!
//! A text file, one server a line: `HOST:PORT` and the second, since 1970, in which it was found out. A hint and nothing more: a
//! file that cannot be read or written, or a line that makes no sense, costs a third of a second.
#![allow(clippy::disallowed_methods, reason = "the user's configuration is no published or downloaded file")]

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use qfs_transport::Way;

use crate::config::ServerAddress;
use crate::small_file;
use crate::trust::known_servers::parse_address;

/// Name of the file, beside that of the known servers.
pub const FILE_NAME: &str = "without_udp";

/// How long a server is tried over TCP first.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Most servers that are remembered; the oldest is forgotten.
const MOST: usize = 256;

/// Most bytes that are read: twice what the longest names need.
const MAX_BYTES: u64 = 128 << 10;

/// Longest wait for another process that is changing the file.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);

/// The memory; cheap to clone. Every call reads or writes the file: blocks, for milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Ways {
    path: Option<PathBuf>,
}

impl Ways {
    /// The memory at `path`; None: nothing is remembered.
    #[must_use]
    pub fn at(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// Which way to try first.
    #[must_use]
    pub fn first(&self, server: &ServerAddress) -> Way {
        let Some(path) = &self.path else { return Way::Udp };
        let name = canonical(server);
        if read(path, now()).iter().any(|entry| entry.0 == name) { Way::Tcp } else { Way::Udp }
    }

    /// Remembers by which way `server` was reached.
    pub fn note(&self, server: &ServerAddress, way: Way) {
        let Some(path) = &self.path else { return };
        if let Err(error) = note(path, &canonical(server), way, now()) {
            tracing::debug!(%error, "the way to the server is not remembered");
        }
    }
}

fn canonical(server: &ServerAddress) -> String {
    let text = server.to_string();
    parse_address(&text).map_or(text, |server| server.to_string())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What is remembered still, oldest first.
fn read(path: &Path, now: u64) -> Vec<(String, u64)> {
    let mut text = String::new();
    // What cannot be read is not there.
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    let entries = text.lines().filter_map(|line| {
        let (server, since) = line.split_once(' ')?;
        let since = since.parse().ok()?;
        // One from the future was written by another clock.
        let age = now.checked_sub(since)?;
        (age < REMEMBERED.as_secs()).then(|| (parse_address(server).ok()).map(|server| (server.to_string(), since)))?
    });
    entries.take(MOST).collect()
}

fn note(path: &Path, server: &str, way: Way, now: u64) -> std::io::Result<()> {
    let is_there = |entries: &[(String, u64)]| entries.iter().any(|entry| entry.0 == server);
    // Who comes by TCP again was not found out anew: so UDP has its chance after a day.
    if is_there(&read(path, now)) == (way == Way::Tcp) {
        return Ok(());
    }
    small_file::make_directory(path.parent().unwrap_or(Path::new(".")))?;
    let Some(_lock) = small_file::lock(&path.with_extension("lock"), LOCK_PATIENCE)? else { return Ok(()) };
    let mut entries = read(path, now);
    entries.retain(|entry| entry.0 != server);
    if way == Way::Tcp {
        entries.push((server.to_owned(), now));
    }
    let mut text = String::new();
    for (server, since) in entries.iter().skip(entries.len().saturating_sub(MOST)) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{server} {since}");
    }
    small_file::replace(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> ServerAddress {
        parse_address(text).unwrap()
    }

    /// Fails when: a day is not a day, UDP is not tried first again after it, or a server is taken for another.
    #[test]
    fn tcp_is_remembered_for_a_day() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a").join(FILE_NAME);
        let ways = Ways::at(Some(path.clone()));
        assert_eq!(ways.first(&server("h:1")), Way::Udp);
        ways.note(&server("h:1"), Way::Udp);
        assert!(!path.exists(), "nothing is written of what needs no memory");
        ways.note(&server("H:1"), Way::Tcp);
        assert_eq!([ways.first(&server("h:1")), ways.first(&server("h:2"))], [Way::Tcp, Way::Udp]);
        let begun = read(&path, now())[0].1;
        note(&path, "h:1", Way::Tcp, begun + 3600).unwrap();
        assert_eq!(read(&path, begun + 24 * 3600 - 1), [("h:1".to_owned(), begun)]);
        assert_eq!(read(&path, begun + 24 * 3600), []);
        assert_eq!(read(&path, begun - 1), [], "from the future");
        ways.note(&server("h:1"), Way::Udp);
        assert_eq!(ways.first(&server("h:1")), Way::Udp);
    }

    #[test]
    fn nonsense_is_passed_over_and_the_oldest_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        std::fs::write(&path, format!("nonsense\nh:0 1\nh:1 x\n[::1]:8000 {}\n\u{1b}[2J:1 {0}\n", now())).unwrap();
        assert_eq!(read(&path, now()).len(), 1);
        for n in 1..=MOST + 10 {
            note(&path, &format!("h:{n}"), Way::Tcp, now()).unwrap();
        }
        let left = read(&path, now());
        assert_eq!((left.len(), left[0].0.as_str()), (MOST, "h:11"));
        std::fs::write(&path, [0xff; 100]).unwrap();
        assert_eq!(read(&path, now()), []);
        Ways::default().note(&server("h:1"), Way::Tcp);
    }
}
