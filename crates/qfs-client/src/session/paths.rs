//! What servers have written down about the path to this client, to bring along the next time (PROTOCOL §4.9).
//!
//! A line is `HOST:PORT`, the server's key, the second in which the note came, the bytes that the path held, and the note
//! ([`super::recent`]). Servers believe no note that is older than a day. What is forgotten costs a start-up.

use std::path::{Path, PathBuf};

use qfs_core::model::{Fingerprint, PathNote};

use super::recent::{self, Kept, canonical, now};
use crate::config::ServerAddress;

/// Name of the file, beside that of the known servers.
pub const FILE_NAME: &str = "path_notes";

/// What was kept of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPath {
    /// The key of the server that has written the note.
    pub key: Fingerprint,
    /// Bytes that the path held, as the server says.
    pub bytes: u64,
    /// For the server alone.
    pub note: PathNote,
}

impl Kept for KnownPath {
    const MOST: usize = 128;

    fn parse(line: &str) -> Option<(&str, u64, Self)> {
        let words: Vec<&str> = line.split(' ').collect();
        let [server, key, since, bytes, note] = words[..] else { return None };
        let known = Self { key: key.parse().ok()?, bytes: bytes.parse().ok()?, note: note.parse().ok()? };
        Some((server, since.parse().ok()?, known))
    }

    fn line(&self, server: &str, since: u64) -> String {
        format!("{server} {} {since} {} {}", self.key, self.bytes, self.note)
    }
}

/// The memory; cheap to clone. Every call reads or writes the file: blocks, for milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    path: Option<PathBuf>,
}

impl Paths {
    /// The memory at `path`; None: nothing is kept, and nothing shown.
    #[must_use]
    pub fn at(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// What `server` has written down.
    #[must_use]
    pub fn recall(&self, server: &ServerAddress) -> Option<KnownPath> {
        let name = canonical(server);
        let entries = recent::read::<KnownPath>(self.path.as_deref()?, now());
        entries.into_iter().find(|entry| entry.server == name).map(|entry| entry.kept)
    }

    /// Keeps what `server` has written down, instead of what it has before.
    pub fn keep(&self, server: &ServerAddress, known: &KnownPath) {
        let Some(path) = &self.path else { return };
        if let Err(error) = keep(path, &canonical(server), known, now()) {
            tracing::debug!(%error, "what the server knows of the path is not kept");
        }
    }
}

fn keep(path: &Path, server: &str, known: &KnownPath, now: u64) -> std::io::Result<()> {
    recent::write(path, server, Some(known.clone()), now)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the user's configuration is no published or downloaded file")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::trust::known_servers::parse_address;

    const MOST: usize = KnownPath::MOST;

    fn read(path: &Path, now: u64) -> Vec<recent::Entry<KnownPath>> {
        recent::read(path, now)
    }

    fn server(text: &str) -> ServerAddress {
        parse_address(text).unwrap()
    }

    fn known(bytes: u64) -> KnownPath {
        KnownPath { key: Fingerprint::of_public_key(b"a"), bytes, note: "AAECAwQF".parse().unwrap() }
    }

    /// Fails when: a note is shown after a day, to another server, or can be read by others.
    #[test]
    fn the_latest_note_is_kept_for_a_day() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a").join(FILE_NAME);
        let paths = Paths::at(Some(path.clone()));
        assert_eq!(paths.recall(&server("h:1")), None);
        paths.keep(&server("H:1"), &known(1));
        paths.keep(&server("h:1"), &known(2));
        assert_eq!(paths.recall(&server("h:1")), Some(known(2)));
        assert_eq!(paths.recall(&server("h:2")), None);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let begun = read(&path, now())[0].since;
        assert_eq!(read(&path, begun + 24 * 3600 - 1).len(), 1);
        assert_eq!(read(&path, begun + 24 * 3600).len(), 0);
        assert_eq!(read(&path, begun - 1).len(), 0, "from the future");
        Paths::default().keep(&server("h:1"), &known(1));
        assert_eq!(Paths::default().recall(&server("h:1")), None);
    }

    #[test]
    fn nonsense_is_passed_over_and_the_oldest_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        let key = known(0).key;
        let lines = ["nonsense".to_owned(), format!("h:1 {key} {} 7 a=b", now()), format!("h:1 {key} {} x ab", now())];
        std::fs::write(&path, lines.join("\n")).unwrap();
        assert_eq!(read(&path, now()).len(), 0);
        for n in 1..=MOST + 10 {
            keep(&path, &format!("h:{n}"), &known(1), now()).unwrap();
        }
        let left = read(&path, now());
        assert_eq!((left.len(), left[0].server.as_str()), (MOST, "h:11"));
        std::fs::write(&path, [0xff; 100]).unwrap();
        assert_eq!(read(&path, now()).len(), 0);
    }
}
