//! What is kept of servers for a day, for the fuzzers.

use super::paths::KnownPath;
use super::recent::{Kept, entries};
use super::ways::WithoutUdp;
use crate::trust::known_servers::parse_address;

/// A second (8 bytes) and the lines of a file. What counts is young, of a server that can be named, and written so that the same is read.
pub fn remembered(data: &[u8]) {
    let Some((now, text)) = data.split_first_chunk() else { return };
    let (now, Ok(text)) = (u64::from_be_bytes(*now), std::str::from_utf8(text)) else { return };
    reads_back::<KnownPath>(text, now);
    reads_back::<WithoutUdp>(text, now);
}

fn reads_back<T: Kept>(text: &str, now: u64) {
    let found = entries::<T>(text, now);
    assert!(found.len() <= T::MOST);
    let written: String = found.iter().map(|entry| entry.kept.line(&entry.server, entry.since) + "\n").collect();
    assert_eq!(written.lines().count(), found.len());
    for entry in &found {
        assert!(entry.since <= now && now - entry.since < 24 * 3600);
        assert!(parse_address(&entry.server).is_ok_and(|server| server.to_string() == entry.server));
    }
    let again = entries::<T>(&written, now);
    let lines: String = again.iter().map(|entry| entry.kept.line(&entry.server, entry.since) + "\n").collect();
    assert_eq!(lines, written);
}
