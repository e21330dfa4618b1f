//! Which servers were reached over TCP because nothing came through over UDP: for a day they are tried that way first.
//!
//! A line is `HOST:PORT` and the second in which it was found out ([`super::recent`]). What is forgotten costs a third of a second.

use std::path::{Path, PathBuf};

use qfs_transport::Way;

use super::recent::{self, Kept, canonical, now};
use crate::config::ServerAddress;

/// Name of the file, beside that of the known servers.
pub const FILE_NAME: &str = "without_udp";

/// A server that was not reached over UDP.
pub(super) struct WithoutUdp;

impl Kept for WithoutUdp {
    const MOST: usize = 256;

    fn parse(line: &str) -> Option<(&str, u64, Self)> {
        let (server, since) = line.split_once(' ')?;
        Some((server, since.parse().ok()?, Self))
    }

    fn line(&self, server: &str, since: u64) -> String {
        format!("{server} {since}")
    }
}

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

/// What is remembered still, oldest first.
fn read(path: &Path, now: u64) -> Vec<(String, u64)> {
    recent::read::<WithoutUdp>(path, now).into_iter().map(|entry| (entry.server, entry.since)).collect()
}

fn note(path: &Path, server: &str, way: Way, now: u64) -> std::io::Result<()> {
    // Who comes by TCP again was not found out anew: so UDP has its chance after a day.
    if read(path, now).iter().any(|entry| entry.0 == server) == (way == Way::Tcp) {
        return Ok(());
    }
    recent::write(path, server, (way == Way::Tcp).then_some(WithoutUdp), now)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the user's configuration is no published or downloaded file")]
mod tests {
    use super::*;
    use crate::trust::known_servers::parse_address;

    const MOST: usize = WithoutUdp::MOST;

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
