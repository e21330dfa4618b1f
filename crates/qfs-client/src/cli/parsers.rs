//! Values of options as they stand on the command line, in variables and in the configuration file.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use qfs_client::config::{MAX_CONNECTIONS, MAX_PARALLEL, ServerAddress, Transport};
use qfs_client::trust::known_servers::parse_address;
use qfs_core::model::{DEFAULT_PORT, HashKind};
use qfs_transport::{Congestion, Way};

pub(super) fn parse_parallel(text: &str) -> Result<NonZeroUsize, String> {
    parse_count(text, MAX_PARALLEL)
}

pub(super) fn parse_connections(text: &str) -> Result<NonZeroUsize, String> {
    parse_count(text, MAX_CONNECTIONS)
}

fn parse_count(text: &str, most: usize) -> Result<NonZeroUsize, String> {
    text.parse()
        .ok()
        .filter(|n: &NonZeroUsize| n.get() <= most)
        .ok_or_else(|| format!("expected a number from 1 to {most}"))
}

/// A host as a ticket has it; IPv6 with or without its brackets.
pub(super) fn parse_host(text: &str) -> Result<String, String> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let bare = bracketed.filter(|inner| inner.contains(':')).unwrap_or(text);
    let server = ServerAddress { host: bare.to_owned(), port: DEFAULT_PORT };
    parse_address(&server.to_string())
        .map(|address| address.host)
        .map_err(|_| "expected an IPv4 or IPv6 address or a host name; the port goes into --port".to_owned())
}

/// `60`, `60s`, `1m`, `1h` or `500ms`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let milliseconds = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("expected a time such as 60, 60s, 500ms, 1m or 1h".to_owned()),
    };
    digits
        .parse::<u32>()
        .ok()
        .filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
        .map(|n| Duration::from_millis(u64::from(n) * milliseconds))
        .ok_or_else(|| "expected a time such as 60, 60s, 500ms, 1m or 1h".to_owned())
}

/// A time that is not zero: zero never means unlimited, and is no time to connect in.
pub(super) fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("the time must not be zero".to_owned()),
        duration => Ok(duration),
    }
}

pub(super) fn transport_parser() -> impl clap::builder::TypedValueParser<Value = Transport> {
    let ways = [Way::Udp, Way::Tcp];
    let names = ["auto"].into_iter().chain(ways.map(Way::name));
    PossibleValuesParser::new(names)
        .map(move |name| ways.into_iter().find(|way| way.name() == name).map_or(Transport::Auto, Transport::Only))
}

pub(super) fn hash_parser() -> impl clap::builder::TypedValueParser<Value = HashKind> {
    PossibleValuesParser::new(HashKind::ALL.map(HashKind::name)).try_map(|name| name.parse::<HashKind>())
}

pub(super) fn congestion_parser() -> impl clap::builder::TypedValueParser<Value = Congestion> {
    PossibleValuesParser::new(Congestion::ALL.map(Congestion::name)).try_map(|name| name.parse::<Congestion>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, milliseconds) in
            [("60", 60_000), ("60s", 60_000), ("1m", 60_000), ("500ms", 500), ("1h", 3_600_000), ("0", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "-1", "+1", "1.5", "1d", "1 s", "é", "99999999999"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_timeout("0s").is_err());
    }

    #[test]
    fn hosts() {
        for (text, host) in [("::1", "::1"), ("[::1]", "::1"), ("127.0.0.1", "127.0.0.1"), ("LocalHost", "localhost")] {
            assert_eq!(parse_host(text).as_deref(), Ok(host));
        }
        for text in ["", "h:1", "a b", "qfs://h", "[h]", "-h/", "fe80::1%eth0"] {
            assert!(parse_host(text).is_err(), "{text}");
        }
    }
}
