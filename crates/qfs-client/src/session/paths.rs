//! What servers have written down about the path to this client, to bring along the next time (PROTOCOL §4.9).
//!
//! A text file, one server a line: `HOST:PORT`, its key, the second, since 1970, in which the note came, the bytes that the path
//! held, and the note. A hint and nothing more: a file that cannot be read or written, or a line that makes no sense, costs a
//! start-up.
#![allow(clippy::disallowed_methods, reason = "the user's configuration is no published or downloaded file")]

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use qfs_core::model::{Fingerprint, PathNote};

use crate::config::ServerAddress;
use crate::small_file;
use crate::trust::known_servers::parse_address;

/// Name of the file, beside that of the known servers.
pub const FILE_NAME: &str = "path_notes";

/// How long a note is shown: servers believe none that is older.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Most servers whose notes are kept; the oldest is forgotten.
const MOST: usize = 128;

/// Most bytes that are read: twice what as many lines with short names and long notes need.
const MAX_BYTES: u64 = 128 << 10;

/// Longest wait for another process that is changing the file.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);

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

/// The memory; cheap to clone. Every call reads or writes the file: blocks, for milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    path: Option<PathBuf>,
}

struct Entry {
    server: String,
    since: u64,
    known: KnownPath,
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
        read(self.path.as_deref()?, now()).into_iter().find(|entry| entry.server == name).map(|entry| entry.known)
    }

    /// Keeps what `server` has written down, instead of what it has before.
    pub fn keep(&self, server: &ServerAddress, known: &KnownPath) {
        let Some(path) = &self.path else { return };
        if let Err(error) = keep(path, &canonical(server), known, now()) {
            tracing::debug!(%error, "what the server knows of the path is not kept");
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

/// What is kept still, oldest first.
fn read(path: &Path, now: u64) -> Vec<Entry> {
    let mut text = String::new();
    // What cannot be read is not there.
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    text.lines().filter_map(|line| entry(line, now)).take(MOST).collect()
}

fn entry(line: &str, now: u64) -> Option<Entry> {
    let words: Vec<&str> = line.split(' ').collect();
    let [server, key, since, bytes, note] = words[..] else { return None };
    let since: u64 = since.parse().ok()?;
    // One from the future was written by another clock.
    let is_young = now.checked_sub(since)? < KEPT.as_secs();
    let known = KnownPath { key: key.parse().ok()?, bytes: bytes.parse().ok()?, note: note.parse().ok()? };
    is_young.then_some(Entry { server: parse_address(server).ok()?.to_string(), since, known })
}

fn keep(path: &Path, server: &str, known: &KnownPath, now: u64) -> std::io::Result<()> {
    small_file::make_directory(path.parent().unwrap_or(Path::new(".")))?;
    let Some(_lock) = small_file::lock(&path.with_extension("lock"), LOCK_PATIENCE)? else { return Ok(()) };
    let mut entries = read(path, now);
    entries.retain(|entry| entry.server != server);
    entries.push(Entry { server: server.to_owned(), since: now, known: known.clone() });
    let mut text = String::new();
    for Entry { server, since, known } in entries.iter().skip(entries.len().saturating_sub(MOST)) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{server} {} {since} {} {}", known.key, known.bytes, known.note);
    }
    small_file::replace(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

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
