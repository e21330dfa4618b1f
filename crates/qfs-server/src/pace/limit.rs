//! Limits as people write them: a rate, or rates by the time of day, for each direction. Pure.
//!
//! ```text
//! LIMIT = RATE [ "," RATE ]                       down and up; one alone is for both
//! RATE  = { HH:MM "-" HH:MM "=" SPEED "," } SPEED    the last is for the rest of the day
//! SPEED = "off" | bytes a second, with K, M, G or T in powers of 1024
//! ```
//!
//! A `SPEED` without a span before it ends a `RATE`, so that each comma has one meaning: `08:00-18:00=2M,off` is one rate, and
//! `08:00-18:00=2M,off,1M` are two.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

/// The slowest speed, in bytes a second: below it a client would seem to have gone away.
const LEAST: u64 = 4 << 10;

/// Most spans of one timetable.
const MAX_SPANS: usize = 32;

const DAY_MINUTES: u16 = 24 * 60;

/// Why a text is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseLimitError {
    /// A part is neither a speed nor a span with a speed.
    #[error("expected a rate such as 10M, off or 08:00-18:00=2M,off, or two of them for down and up: {0:?} is none")]
    Part(String),
    /// Nothing would get through.
    #[error("{0:?} is too slow: at least 4K, and off for no limit")]
    TooSlow(String),
    /// There is more behind the second rate.
    #[error("expected at most two rates, for down and for up")]
    TooMany,
}

/// Bytes a second in each direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limit {
    /// From the server to clients.
    pub down: Timetable,
    /// From clients to the server.
    pub up: Timetable,
}

impl FromStr for Limit {
    type Err = ParseLimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(',').map(str::trim).peekable();
        let down = rate(&mut parts)?;
        let up = if parts.peek().is_some() { rate(&mut parts)? } else { down.clone() };
        if parts.next().is_some() {
            return Err(ParseLimitError::TooMany);
        }
        Ok(Self { down, up })
    }
}

/// Reads up to the first speed without a span; one that is not there at the end is `off`.
fn rate<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Result<Timetable, ParseLimitError> {
    let mut table = Timetable::default();
    for part in parts {
        let Some((span, value)) = part.split_once('=') else {
            table.rest = speed(part)?;
            return Ok(table);
        };
        let wrong = || ParseLimitError::Part(part.to_owned());
        let (from, to) = span.split_once('-').ok_or_else(wrong)?;
        let (from, to) = (minute(from).ok_or_else(wrong)?, minute(to).ok_or_else(wrong)?);
        if from == to || from == DAY_MINUTES || table.spans.len() == MAX_SPANS {
            return Err(wrong());
        }
        table.spans.push(Span { from, to, speed: speed(value)? });
    }
    Ok(table)
}

fn speed(text: &str) -> Result<Option<NonZeroU64>, ParseLimitError> {
    if text == "off" {
        return Ok(None);
    }
    let wrong = || ParseLimitError::Part(text.to_owned());
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[number.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse::<u64>().ok().filter(|_| is_number).ok_or_else(wrong)?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
    if bytes < LEAST { Err(ParseLimitError::TooSlow(text.to_owned())) } else { Ok(NonZeroU64::new(bytes)) }
}

/// The minute of the day of `HH:MM`; 24:00 is its end.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |text: &str, most: u16| {
        let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|number| is_number && *number <= most)
    };
    let minute = two(hours, 24)? * 60 + two(minutes, 59).filter(|_| minutes.len() == 2)?;
    (minute <= DAY_MINUTES).then_some(minute)
}

/// Bytes a second, by the time of day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timetable {
    spans: Vec<Span>,
    /// At all other times; None: no limit.
    rest: Option<NonZeroU64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    /// Minutes of the day. A span whose end lies before its start goes over midnight.
    from: u16,
    to: u16,
    speed: Option<NonZeroU64>,
}

impl Span {
    fn contains(&self, minute: u16) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

impl Timetable {
    /// Whether there never is a limit.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.rest.is_none() && self.spans.iter().all(|span| span.speed.is_none())
    }

    /// The bytes a second `second` seconds into the day (None: no limit), and for how long that may hold at most. Where spans
    /// overlap, the first counts.
    pub(crate) fn at(&self, second: u32) -> (Option<NonZeroU64>, Duration) {
        // Less than 1,440.
        let minute = (second / 60) as u16 % DAY_MINUTES;
        let span = self.spans.iter().find(|span| span.contains(minute));
        let edges = self.spans.iter().flat_map(|span| [span.from, span.to]);
        let until = edges.map(|edge| (edge + DAY_MINUTES - minute - 1) % DAY_MINUTES + 1).min();
        let left = until
            .map_or(Duration::MAX, |minutes| Duration::from_secs(u64::from(minutes) * 60 - u64::from(second % 60)));
        (span.map_or(self.rest, |span| span.speed), left)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.down, self.up)
    }
}

impl fmt::Display for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speed = |speed: Option<NonZeroU64>| speed.map_or_else(|| "off".to_owned(), |bytes| bytes.to_string());
        for Span { from, to, speed: bytes } in &self.spans {
            write!(f, "{:02}:{:02}-{:02}:{:02}={},", from / 60, from % 60, to / 60, to % 60, speed(*bytes))?;
        }
        f.write_str(&speed(self.rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        text.parse::<Limit>().ok().map(|limit| limit.to_string())
    }

    #[test]
    fn each_comma_has_one_meaning() {
        for (text, limit) in [
            ("10M", "10485760,10485760"),
            ("10M,1m", "10485760,1048576"),
            ("10M, off", "10485760,off"),
            ("off", "off,off"),
            ("off,64K", "off,65536"),
            ("08:00-18:00=2M,off", "08:00-18:00=2097152,off,08:00-18:00=2097152,off"),
            ("08:00-18:00=2M,off,1M", "08:00-18:00=2097152,off,1048576"),
            ("1M,08:00-18:00=2M,off", "1048576,08:00-18:00=2097152,off"),
            (
                "8:00-12:00=2M,22:30-06:00=off,4M",
                "08:00-12:00=2097152,22:30-06:00=off,4194304,08:00-12:00=2097152,22:30-06:00=off,4194304",
            ),
            ("08:00-24:00=2M", "08:00-24:00=2097152,off,08:00-24:00=2097152,off"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(limit), "{text}");
            assert_eq!(shown(limit).as_deref(), Some(limit), "{limit}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_zero_never_means_unlimited() {
        for text in [
            "",
            ",",
            "10M,",
            "x",
            "-1",
            "+1M",
            "1.5M",
            "10MB",
            "10M,1M,1M",
            "0",
            "1K",
            "8-18=2M",
            "08:00=2M",
            "08:00-18:00",
            "08:00-08:00=1M",
            "25:00-26:00=1M",
            "24:00-01:00=1M",
            "08:60-09:00=1M",
            "08:00-24:01=1M",
            "08:00-18:00=0,off",
            "99999999T",
            "é",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
        let many = "00:00-00:01=1M,".repeat(MAX_SPANS + 1) + "off";
        assert_eq!(shown(&many), None);
    }

    #[test]
    fn the_time_of_day_decides_and_says_for_how_long() {
        let table = "08:00-18:00=2M,22:00-06:00=off,1M".parse::<Limit>().unwrap().down;
        let at = |hour: u32, minute: u32, second: u32| {
            let (speed, left) = table.at((hour * 60 + minute) * 60 + second);
            (speed.map_or(0, |bytes| bytes.get() >> 20), left.as_secs())
        };
        assert_eq!(at(8, 0, 0), (2, 10 * 3600));
        assert_eq!(at(17, 59, 30), (2, 30));
        assert_eq!(at(18, 0, 0), (1, 4 * 3600));
        assert_eq!(at(22, 0, 0), (0, 8 * 3600));
        assert_eq!(at(23, 59, 59), (0, 6 * 3600 + 1));
        assert_eq!(at(5, 59, 59), (0, 1));
        assert_eq!(at(6, 0, 0), (1, 2 * 3600));
        assert_eq!("10M".parse::<Limit>().unwrap().up.at(7), (NonZeroU64::new(10 << 20), Duration::MAX));
        assert!("off".parse::<Limit>().unwrap().down.is_off() && !table.is_off());
    }
}
