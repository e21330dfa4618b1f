//! The format of the store, as text and as values. No I/O.

use std::collections::HashMap;
use std::fmt;

use qfs_core::model::{Fingerprint, Ticket};

use crate::config::ServerAddress;
use crate::trust::Known;

/// Largest store that is read, in bytes: some ten thousand servers. Bounds the memory that a damaged file can cost.
pub const MAX_STORE_BYTES: usize = 1 << 20;

/// Longest line, in bytes, its end not counted.
pub const MAX_LINE_BYTES: usize = 1024;

/// One known server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where; the host in lower case.
    pub server: ServerAddress,
    /// The key it must have.
    pub fingerprint: Fingerprint,
    /// The other key that it may have: announced by the holder of that one.
    pub next: Option<Fingerprint>,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.server, self.fingerprint)?;
        self.next.map_or(Ok(()), |next| write!(f, " {NEXT}{next}"))
    }
}

/// What stands before an announced key.
const NEXT: &str = "next=";

/// A line of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Record(Record),
    /// A comment or an empty line, as it stands.
    Comment(String),
}

/// The whole store, comments included. Its [`fmt::Display`] is what stands in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    lines: Vec<Line>,
}

/// Why a store cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// More than [`MAX_STORE_BYTES`].
    #[error("it is larger than {MAX_STORE_BYTES} bytes")]
    TooLarge,
    /// A line is malformed.
    #[error("line {line}: {reason}")]
    Line {
        /// Which, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: LineError,
    },
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// More than [`MAX_LINE_BYTES`].
    #[error("it is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// Not UTF-8, or with control characters.
    #[error("it is not plain text")]
    NotText,
    /// Other words than these.
    #[error("expected HOST:PORT sha256:HEX [next=sha256:HEX]")]
    NotARecord,
    /// The first word is no address.
    #[error("{0}")]
    Address(AddressError),
    /// The second word is no fingerprint, or what follows `next=` is none.
    #[error("the fingerprint is not sha256: and 64 hexadecimal digits")]
    Fingerprint,
    /// The key is said to be followed by itself.
    #[error("the next key is the same as the key")]
    NextIsTheSame,
    /// Two records for one server: which of them counts cannot be told.
    #[error("this server has a record on line {0} already")]
    Twice(usize),
}

/// Why a text is no server address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}, expected HOST:PORT or [IPV6]:PORT")]
pub struct AddressError {
    reason: &'static str,
}

/// Parses `HOST:PORT`, an IPv6 address in brackets. The host is returned in lower case.
///
/// # Errors
/// [`AddressError`] names what is missing or malformed.
pub fn parse_address(text: &str) -> Result<ServerAddress, AddressError> {
    let fail = |reason| AddressError { reason };
    let (host, port) = text.rsplit_once(':').ok_or(fail("the port is missing"))?;
    if port.is_empty() || port.starts_with('0') || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(fail("the port is not a number from 1 to 65535"));
    }
    let port = port.parse().map_err(|_| fail("the port is not a number from 1 to 65535"))?;
    let host = canonical_host(host).ok_or(fail("the host is missing or malformed"))?;
    Ok(ServerAddress { host, port })
}

/// The host in lower case and without brackets; None when it is none. What tickets accept as a host is accepted here.
fn canonical_host(text: &str) -> Option<String> {
    if text.contains(['#', '/']) || (text.contains(':') && !text.starts_with('[')) {
        return None;
    }
    let ticket: Ticket = format!("qfs://{text}").parse().ok()?;
    // An address has one canonical text; a name is compared in lower case.
    Some(match ticket.host.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => ticket.host.to_ascii_lowercase(),
    })
}

/// `server` as it stands in the store.
fn canonical(server: &ServerAddress) -> ServerAddress {
    let host = match server.host.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => server.host.to_ascii_lowercase(),
    };
    ServerAddress { host, port: server.port }
}

impl Document {
    /// Reads a store.
    ///
    /// # Errors
    /// [`FormatError`] for the first thing that is wrong: nothing is skipped.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() > MAX_STORE_BYTES {
            return Err(FormatError::TooLarge);
        }
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let mut lines = Vec::new();
        let mut seen = HashMap::new();
        if bytes.is_empty() {
            return Ok(Self { lines });
        }
        for (index, raw) in bytes.split(|b| *b == b'\n').enumerate() {
            let number = index + 1;
            let line = parse_line(raw).map_err(|reason| FormatError::Line { line: number, reason })?;
            if let Line::Record(record) = &line
                && let Some(first) = seen.insert(record.server.clone(), number)
            {
                return Err(FormatError::Line { line: number, reason: LineError::Twice(first) });
            }
            lines.push(line);
        }
        Ok(Self { lines })
    }

    /// The records, in the order of the file.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.lines.iter().filter_map(|line| match line {
            Line::Record(record) => Some(record),
            Line::Comment(_) => None,
        })
    }

    /// The key of `server`, if it is known.
    #[must_use]
    pub fn fingerprint(&self, server: &ServerAddress) -> Option<Fingerprint> {
        self.known(server).map(|known| known.key)
    }

    /// What is known of `server`.
    #[must_use]
    pub fn known(&self, server: &ServerAddress) -> Option<Known> {
        let server = canonical(server);
        let record = self.records().find(|record| record.server == server)?;
        Some(Known { key: record.fingerprint, next: record.next })
    }

    /// Notes what `server` announces, where `found.key` is its key; false where it is not.
    pub fn announce(&mut self, server: &ServerAddress, found: Known) -> bool {
        self.record_with_key(server, found.key)
            .map(|record| record.next = found.next.filter(|next| *next != found.key))
            .is_some()
    }

    /// Makes `new` the key of `server`, where `old` is and has announced it; false where that is not so.
    pub fn promote(&mut self, server: &ServerAddress, old: Fingerprint, new: Fingerprint) -> bool {
        self.record_with_key(server, old)
            .filter(|record| record.next == Some(new))
            .map(|record| (record.fingerprint, record.next) = (new, None))
            .is_some()
    }

    fn record_with_key(&mut self, server: &ServerAddress, key: Fingerprint) -> Option<&mut Record> {
        let server = canonical(server);
        self.lines.iter_mut().find_map(|line| match line {
            Line::Record(record) if record.server == server && record.fingerprint == key => Some(record),
            _ => None,
        })
    }

    /// Gives `server` this key, and forgets what another has announced; returns the one it had.
    pub fn set(&mut self, server: &ServerAddress, fingerprint: Fingerprint) -> Option<Fingerprint> {
        let server = canonical(server);
        for line in &mut self.lines {
            if let Line::Record(record) = line
                && record.server == server
            {
                record.next = None;
                return Some(std::mem::replace(&mut record.fingerprint, fingerprint));
            }
        }
        self.lines.push(Line::Record(Record { server, fingerprint, next: None }));
        None
    }

    /// Forgets `server`; returns the key it had.
    pub fn remove(&mut self, server: &ServerAddress) -> Option<Fingerprint> {
        let known = self.fingerprint(server)?;
        let server = canonical(server);
        self.lines.retain(|line| !matches!(line, Line::Record(record) if record.server == server));
        Some(known)
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| match line {
            Line::Record(record) => writeln!(f, "{record}"),
            Line::Comment(text) => writeln!(f, "{text}"),
        })
    }
}

fn parse_line(raw: &[u8]) -> Result<Line, LineError> {
    if raw.len() > MAX_LINE_BYTES {
        return Err(LineError::TooLong);
    }
    let text = std::str::from_utf8(raw).map_err(|_| LineError::NotText)?;
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(LineError::NotText);
    }
    let content = text.trim_matches([' ', '\t']);
    if content.is_empty() || content.starts_with('#') {
        return Ok(Line::Comment(text.to_owned()));
    }
    let mut words = content.split([' ', '\t']).filter(|word| !word.is_empty());
    let (Some(server), Some(fingerprint), next, None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err(LineError::NotARecord);
    };
    let next = next.map(|word| word.strip_prefix(NEXT).ok_or(LineError::NotARecord)).transpose()?;
    let server = parse_address(server).map_err(LineError::Address)?;
    let key = |text: &str| text.parse().map_err(|_| LineError::Fingerprint);
    let (fingerprint, next) = (key(fingerprint)?, next.map(key).transpose()?);
    if next == Some(fingerprint) {
        return Err(LineError::NextIsTheSame);
    }
    Ok(Line::Record(Record { server, fingerprint, next }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(seed: &str) -> Fingerprint {
        Fingerprint::of_public_key(seed.as_bytes())
    }

    fn address(text: &str) -> ServerAddress {
        parse_address(text).unwrap()
    }

    #[test]
    fn addresses() {
        for (text, host, port) in [
            ("localhost:8000", "localhost", 8000),
            ("Data.Example.ORG:1", "data.example.org", 1),
            ("10.0.0.1:65535", "10.0.0.1", 65535),
            ("[2001:DB8::1]:80", "2001:db8::1", 80),
            ("[::0:1]:80", "::1", 80),
        ] {
            assert_eq!(parse_address(text), Ok(ServerAddress { host: host.to_owned(), port }), "{text}");
        }
        for text in [
            "", "h", "h:", ":1", "h:0", "h:01", "h:+1", "h:65536", "::1:80", "[::1:80", "[x]:1", "a b:1", "a/:1",
            "a#:1", "[h]:1", "u@h:1",
        ] {
            assert!(parse_address(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_store_keeps_its_comments_through_changes() {
        let text = format!("# mine\n\na:1 {}\n  # and\nB.example:2\t{}\n", key("a"), key("b"));
        let mut store = Document::parse(text.as_bytes()).unwrap();
        assert_eq!(store.fingerprint(&address("b.EXAMPLE:2")), Some(key("b")));
        assert_eq!(store.fingerprint(&address("b.example:3")), None);
        assert_eq!(store.set(&address("a:1"), key("new")), Some(key("a")));
        assert_eq!(store.set(&address("[::1]:3"), key("c")), None);
        assert_eq!(store.remove(&address("b.example:2")), Some(key("b")));
        assert_eq!(store.remove(&address("b.example:2")), None);
        assert_eq!(store.to_string(), format!("# mine\n\na:1 {}\n  # and\n[::1]:3 {}\n", key("new"), key("c")));
    }

    // Fails when an announcement is taken from any other key than the recorded one, or outlives that.
    #[test]
    fn a_next_key_belongs_to_the_key_that_announced_it() {
        let text = format!("a:1 {}  next={}\nb:2 {}\n", key("a"), key("next"), key("b"));
        let mut store = Document::parse(text.as_bytes()).unwrap();
        let (a, b) = (address("a:1"), address("b:2"));
        assert_eq!(store.known(&a), Some(Known { key: key("a"), next: Some(key("next")) }));
        assert_eq!(store.fingerprint(&a), Some(key("a")));
        assert_eq!(store.to_string(), text.replace("  next", " next"));

        assert!(!store.announce(&b, Known { key: key("a"), next: Some(key("x")) }));
        assert!(!store.announce(&address("c:3"), Known { key: key("a"), next: None }));
        assert!(!store.promote(&a, key("b"), key("next")) && !store.promote(&a, key("a"), key("x")));
        assert_eq!(store.to_string(), text.replace("  next", " next"));

        assert!(store.announce(&b, Known { key: key("b"), next: Some(key("c")) }));
        assert!(store.announce(&a, Known { key: key("a"), next: None }) && !store.promote(&a, key("a"), key("next")));
        assert!(store.promote(&b, key("b"), key("c")) && !store.promote(&b, key("b"), key("c")));
        assert_eq!(store.to_string(), format!("a:1 {}\nb:2 {}\n", key("a"), key("c")));

        // By hand: what another key has announced means nothing any more.
        store.announce(&a, Known { key: key("a"), next: Some(key("next")) });
        store.set(&a, key("new"));
        assert_eq!(store.known(&a), Some(Known { key: key("new"), next: None }));
        assert!(store.announce(&a, Known { key: key("new"), next: Some(key("new")) }));
        assert_eq!(store.known(&a), Some(Known { key: key("new"), next: None }), "it could not be read back");
    }

    #[test]
    fn whatever_is_odd_makes_it_unusable_and_is_named() {
        let good = format!("a:1 {}", key("a"));
        let long = "x".repeat(MAX_LINE_BYTES + 1);
        for (line, expected) in [
            ("a:1", "line 3: expected HOST:PORT sha256:HEX [next=sha256:HEX]"),
            ("a:1 sha256:00", "line 3: the fingerprint is not sha256: and 64 hexadecimal digits"),
            (&format!("{good} # no"), "line 3: expected HOST:PORT sha256:HEX [next=sha256:HEX]"),
            (&format!("{good} {}", key("b")), "line 3: expected HOST:PORT sha256:HEX [next=sha256:HEX]"),
            (
                &format!("{good} next={} next={}", key("b"), key("c")),
                "line 3: expected HOST:PORT sha256:HEX [next=sha256:HEX]",
            ),
            (&format!("{good} next=sha256:0"), "line 3: the fingerprint is not sha256: and 64 hexadecimal digits"),
            (&format!("c:1 {0} next={0}", key("a")), "line 3: the next key is the same as the key"),
            (&format!("a {}", key("a")), "line 3: the port is missing, expected HOST:PORT or [IPV6]:PORT"),
            (&format!("{good}\r"), "line 3: it is not plain text"),
            (&format!("A:1 {}", key("b")), "line 3: this server has a record on line 1 already"),
            ("\u{1b}[2J", "line 3: it is not plain text"),
            (&long, "line 3: it is longer than 1024 bytes"),
        ] {
            let error = Document::parse(format!("{good}\n#\n{line}\n").as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        assert_eq!(Document::parse(&vec![b'\n'; MAX_STORE_BYTES + 1]), Err(FormatError::TooLarge));
        assert!(Document::parse(b"\xff").is_err());
    }

    fn any_document() -> impl Strategy<Value = Document> {
        let host = prop_oneof![
            "[a-z0-9_.-]{1,20}",
            any::<std::net::Ipv6Addr>().prop_map(|a| a.to_string()),
            any::<std::net::Ipv4Addr>().prop_map(|a| a.to_string()),
        ];
        let record = (host, 1u16.., any::<[u8; 8]>(), any::<Option<[u8; 9]>>()).prop_map(|(host, port, seed, next)| {
            Line::Record(Record {
                server: ServerAddress { host, port },
                fingerprint: Fingerprint::of_public_key(&seed),
                next: next.map(|seed| Fingerprint::of_public_key(&seed)),
            })
        });
        let comment = "[ \t]{0,3}(#[^\\p{Cc}]{0,30})?".prop_map(Line::Comment);
        proptest::collection::vec(prop_oneof![record, comment], 0..20).prop_map(|lines| {
            let mut seen = std::collections::HashSet::new();
            let mut lines: Vec<_> = lines
                .into_iter()
                .filter(|line| !matches!(line, Line::Record(record) if !seen.insert(record.server.clone())))
                .collect();
            // One empty line is the same text as none at all.
            if lines == [Line::Comment(String::new())] {
                lines.clear();
            }
            Document { lines }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(document in any_document()) {
            prop_assert_eq!(Document::parse(document.to_string().as_bytes()), Ok(document));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Document::parse(&bytes);
        }

        #[test]
        fn near_misses_parse_to_what_they_write(text in "([a-z\\[\\]:1#. \t]{0,12}(sha256:[0-9a-f]{64})?( next=sha256:[0-9a-f]{64})?\n){0,4}") {
            if let Ok(document) = Document::parse(text.as_bytes()) {
                prop_assert_eq!(Document::parse(document.to_string().as_bytes()), Ok(document));
            }
        }
    }
}
