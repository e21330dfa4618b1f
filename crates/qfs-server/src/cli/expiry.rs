//! When a token expires, as people write it.

use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// A moment to come: `30m`, `12h`, `7d`, `4w` from now; a date, to its end in UTC; or a time of RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expiry(Timestamp);

const EXPECTED: &str = "expected 30m, 12h, 7d or 4w from now, a date such as 2026-12-31 (to its end, UTC), or a time such as \
                        2026-12-31T18:00:00Z";

impl Expiry {
    pub(crate) fn time(self) -> Timestamp {
        self.0
    }

    fn parse(text: &str, now: Timestamp) -> Result<Self, String> {
        let expected = || EXPECTED.to_owned();
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
            let seconds: i64 = match &text[number.len()..] {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                "d" => 24 * 3600,
                "w" => 7 * 24 * 3600,
                _ => return Err(expected()),
            };
            let later = number.parse::<i64>().ok().and_then(|n| n.checked_mul(seconds));
            let second = later.and_then(|later| now.as_second().checked_add(later)).ok_or_else(expected)?;
            return Timestamp::from_second(second).map(Self).map_err(|_| expected());
        }
        if text.len() == "2026-12-31".len() {
            let date: Date = text.parse().map_err(|_| expected())?;
            let end = date.checked_add(1.day()).ok().and_then(|next| next.to_zoned(TimeZone::UTC).ok());
            return end.map(|end| Self(end.timestamp())).ok_or_else(expected);
        }
        text.parse().map(Self).map_err(|_| expected())
    }
}

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text, Timestamp::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_as_people_write_them() {
        let now: Timestamp = "2026-11-24T20:00:00Z".parse().unwrap();
        for (text, time) in [
            ("30m", "2026-11-24T20:30:00Z"),
            ("12h", "2026-11-25T08:00:00Z"),
            ("7d", "2026-12-01T20:00:00Z"),
            ("1w", "2026-12-01T20:00:00Z"),
            ("90s", "2026-11-24T20:01:30Z"),
            ("2026-12-31", "2027-01-01T00:00:00Z"),
            ("2026-12-31T18:00:00Z", "2026-12-31T18:00:00Z"),
            ("2026-12-31T18:00:00+02:00", "2026-12-31T16:00:00Z"),
        ] {
            assert_eq!(Expiry::parse(text, now), Ok(Expiry(time.parse().unwrap())), "{text}");
        }
        for text in ["", "7", "d", "7y", "-1d", "1.5h", "31.12.2026", "2026-13-01", "2026-12-31T18:00:00", "never"] {
            assert!(Expiry::parse(text, now).is_err(), "{text}");
        }
        assert!(Expiry::parse("9223372036854775807w", now).is_err());
    }
}
