//! What is known of a file without reading it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::parsed;
use super::{Digest, keyed};

/// One row of a listing (PROTOCOL §4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RawEntry")]
pub struct EntryMeta {
    /// Size in bytes.
    pub size: u64,
    /// Modification time, to the nanosecond where the file system keeps it.
    pub modified: Timestamp,
    /// Digest of the content, when the server already knows it.
    #[serde(flatten, serialize_with = "keyed::write_or_null")]
    pub digest: Option<Digest>,
    /// Whether it may be executed; not said by servers of before this field.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// [`EntryMeta`] as it is read.
#[derive(Deserialize)]
struct RawEntry {
    size: u64,
    modified: Timestamp,
    #[serde(default)]
    sha256: Option<Digest>,
    #[serde(default, deserialize_with = "keyed::blake3")]
    blake3: Option<Digest>,
    #[serde(default, deserialize_with = "null_is_false")]
    executable: bool,
}

impl From<RawEntry> for EntryMeta {
    fn from(raw: RawEntry) -> Self {
        let RawEntry { size, modified, sha256, blake3, executable } = raw;
        Self { size, modified, digest: keyed::either(sha256, blake3), executable }
    }
}

/// Reads a flag for which `null` means the same as its absence (PROTOCOL §2.1).
pub(crate) fn null_is_false<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Names one version of a file's content. Other content has another tag (PROTOCOL §2.4).
///
/// It is opaque to clients, who only compare it and use it in the names of partial files. It therefore has 1 to 64
/// characters of `A-Z a-z 0-9 _ -`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ETag(Box<str>);

/// Why a text is not a valid [`ETag`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an etag: expected 1 to 64 letters, digits, _ or -")]
pub struct ParseETagError;

impl ETag {
    /// Longest tag, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Digest> for ETag {
    /// The 64 hexadecimal digits of `digest`, which are an etag.
    fn from(digest: Digest) -> Self {
        Self(digest.to_string().into())
    }
}

impl FromStr for ETag {
    type Err = ParseETagError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(legal) {
            Ok(Self(text.into()))
        } else {
            Err(ParseETagError)
        }
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ETag({})", self.0)
    }
}

impl Serialize for ETag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ETag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, "an etag", str::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_can_stand_in_a_file_name() {
        assert!("0aZ_-".parse::<ETag>().is_ok());
        assert!("x".repeat(64).parse::<ETag>().is_ok());
        for text in ["", "a/b", "..", "a b", "é", &"x".repeat(65)] {
            assert_eq!(text.parse::<ETag>(), Err(ParseETagError), "{text:?}");
        }
    }

    #[test]
    fn a_row_reads_back_to_the_nanosecond() {
        let json = r#"{"size":5,"modified":"2026-11-23T08:09:24.123456789Z","sha256":null}"#;
        let row: EntryMeta = serde_json::from_str(json).unwrap();
        assert_eq!(row.modified.as_nanosecond() % 1_000_000_000, 123_456_789);
        assert_eq!(serde_json::to_string(&row).unwrap(), json);
    }
}
