//! Small files of the user's in which something is kept of servers for a day: one server a line, and the second, since 1970, in
//! which the line was written.
//!
//! Hints and nothing more: a file that cannot be read or written, or a line that makes no sense, is as good as none. Every call
//! blocks, for milliseconds.
#![allow(clippy::disallowed_methods, reason = "the user's configuration is no published or downloaded file")]

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::ServerAddress;
use crate::small_file;
use crate::trust::known_servers::parse_address;

/// How long a line counts.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Most bytes that are read: twice what as many lines as are kept need, with the longest they can have.
const MAX_BYTES: u64 = 128 << 10;

/// Longest wait for another process that is changing the file.
const LOCK_PATIENCE: Duration = Duration::from_millis(200);

/// What is kept of a server.
pub(super) trait Kept: Sized {
    /// Most lines of a file; the oldest goes.
    const MOST: usize;

    /// Reads a line: the server, the second, and the rest. None for a line that makes no sense.
    fn parse(line: &str) -> Option<(&str, u64, Self)>;

    /// What [`Self::parse`] reads.
    fn line(&self, server: &str, since: u64) -> String;
}

/// A line of a file.
pub(super) struct Entry<T> {
    /// As [`canonical`] writes it.
    pub(super) server: String,
    pub(super) since: u64,
    pub(super) kept: T,
}

/// The one form in which `server` stands in a file.
pub(super) fn canonical(server: &ServerAddress) -> String {
    let text = server.to_string();
    parse_address(&text).map_or(text, |server| server.to_string())
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What counts still `now`, oldest first.
pub(super) fn read<T: Kept>(path: &Path, now: u64) -> Vec<Entry<T>> {
    let mut text = String::new();
    // What cannot be read is not there.
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    if read.is_err() { Vec::new() } else { entries(&text, now) }
}

/// What counts still `now` of the lines of `text`.
pub(super) fn entries<T: Kept>(text: &str, now: u64) -> Vec<Entry<T>> {
    let entry = |line| {
        let (server, since, kept) = T::parse(line)?;
        // One from the future was written by another clock.
        let is_young = now.checked_sub(since)? < KEPT.as_secs();
        is_young.then_some(Entry { server: parse_address(server).ok()?.to_string(), since, kept })
    };
    text.lines().filter_map(entry).take(T::MOST).collect()
}

/// Writes `kept` as what is known of `server` from `now` on, in the place of what was; nothing for None. Does nothing where another
/// process goes on changing the file.
///
/// # Errors
/// What writing failed with.
pub(super) fn write<T: Kept>(path: &Path, server: &str, kept: Option<T>, now: u64) -> io::Result<()> {
    small_file::make_directory(path.parent().unwrap_or(Path::new(".")))?;
    let Some(_lock) = small_file::lock(&path.with_extension("lock"), LOCK_PATIENCE)? else { return Ok(()) };
    let mut entries = read::<T>(path, now);
    entries.retain(|entry| entry.server != server);
    entries.extend(kept.map(|kept| Entry { server: server.to_owned(), since: now, kept }));
    let last = &entries[entries.len().saturating_sub(T::MOST)..];
    let text: String = last.iter().map(|entry| entry.kept.line(&entry.server, entry.since) + "\n").collect();
    small_file::replace(path, text.as_bytes())
}
