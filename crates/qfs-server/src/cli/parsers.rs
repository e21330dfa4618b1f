//! Values as people write them: times, sizes, counts, addresses.

use std::time::Duration;

/// A port of loopback, or an address with one.
#[cfg(feature = "metrics")]
pub(super) fn metrics_address(text: &str) -> Result<std::net::SocketAddr, String> {
    match text.trim_start_matches(':').parse::<u16>() {
        Ok(port) => Ok((std::net::Ipv4Addr::LOCALHOST, port).into()),
        Err(_) => text.parse().map_err(|_| "expected a port, or an address and a port as in 192.0.2.7:9100".to_owned()),
    }
}

/// A time as people write it: seconds, or a number with `ms`, `s` or `m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        _ => return Err("expected a time such as 30, 30s, 500ms or 2m".to_owned()),
    };
    match number.parse::<f64>().map(|n| Duration::try_from_secs_f64(n * seconds)) {
        Ok(Ok(duration)) if duration <= MAX_TIME => Ok(duration),
        Ok(_) => Err("at most a day".to_owned()),
        Err(_) => Err("expected a time such as 30, 30s, 500ms or 2m".to_owned()),
    }
}

const MAX_TIME: Duration = Duration::from_secs(24 * 3600);

/// An age as people write it: a whole number with `m`, `h`, `d` or `w`.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let expected = || "expected a time such as 30m, 12h, 7d or 4w".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(expected)?;
    let seconds = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        "w" => 7 * 24 * 3600,
        _ => return Err(expected()),
    };
    match number.parse::<u32>() {
        Ok(number) if number > 0 => Ok(Duration::from_secs(u64::from(number) * seconds)),
        _ => Err(expected()),
    }
}

/// Bytes of a disk cache, as [`size`]; at least [`MIN_CACHE_DISK`], or none.
#[cfg(feature = "bucket")]
pub(super) fn cache_disk(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes if bytes == 0 || bytes >= MIN_CACHE_DISK => Ok(bytes),
        _ => Err("at least 16M, or 0 for none".to_owned()),
    }
}

/// A sixteenth of it holds whole blocks.
#[cfg(feature = "bucket")]
const MIN_CACHE_DISK: u64 = 16 << 20;

/// A size in bytes, or with `K`, `M` or `G` in powers of 1024; at least 1M.
pub(super) fn memory(text: &str) -> Result<usize, String> {
    let (number, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let bytes = number.parse::<usize>().ok().and_then(|n| n.checked_mul(1 << shift));
    match bytes {
        Some(bytes) if bytes >= 1 << 20 => Ok(bytes),
        _ => Err("expected a size such as 64M or 1G, at least 1M".to_owned()),
    }
}

/// A size in bytes, or with `K`, `M`, `G` or `T` in powers of 1024.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[number.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => 64,
    };
    let bytes = number.parse::<u64>().ok().and_then(|n| 1u64.checked_shl(shift).and_then(|unit| n.checked_mul(unit)));
    bytes.ok_or_else(|| "expected a size such as 500M, 10G or 1T".to_owned())
}

/// A limit: 0 would mean that nothing works, and never means unlimited.
pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1_000_000) => Ok(n),
        _ => Err("expected a number from 1 to 1000000".to_owned()),
    }
}

/// A time as [`age`] has it, or in seconds.
pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('s').map(str::parse::<u32>) {
        Some(Ok(seconds)) if seconds > 0 => Ok(Duration::from_secs(seconds.into())),
        Some(_) => Err("expected a time such as 90s, 30m, 12h or 7d".to_owned()),
        None => age(text),
    }
}
