//! The format of the token file, as text and as values. No I/O.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use qfs_core::model::{Digest, Token};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::{Choice, ConstantTimeEq};

use super::Scope;
use crate::gate::rights::Rights;

/// Largest file that is read, in bytes. Bounds the memory that a damaged file can cost.
pub const MAX_FILE_BYTES: usize = 4 << 20;

/// Longest line, in bytes, its end not counted.
pub const MAX_LINE_BYTES: usize = 64 << 10;

/// Most tokens. Each request is compared with all of them: worst case some 50 µs.
pub const MAX_TOKENS: usize = 1024;

/// Longest name of a token, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// What a token is called in the list, in logs and when it is revoked: 8 hexadecimal digits. No secret, and not made from one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenId(String);

/// Why a text is no [`TokenId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a token: expected 8 digits of 0-9 a-f, as `token list` shows them")]
pub struct ParseTokenIdError;

/// One token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its id.
    pub id: TokenId,
    /// SHA-256 of its text.
    pub sha256: Digest,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is worth nothing; None: never.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub expires: Option<Timestamp>,
    /// What it reaches; None: everything published.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub scope: Option<Scope>,
    /// What its holder may do; None: read.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub can: Option<Rights>,
    /// Whom or what it is for.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "name")]
    pub name: Option<String>,
}

/// A field that is there has a value: `"scope":null` may have been meant as nothing, and must not be read as everything.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(deserializer)?;
    match check_name(&name) {
        true => Ok(Some(name)),
        false => Err(serde::de::Error::custom("the name is empty or too long")),
    }
}

pub(super) fn check_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
}

impl Record {
    /// What its holder may do.
    #[must_use]
    pub fn rights(&self) -> Rights {
        self.can.unwrap_or_default()
    }

    /// Whether it is worth nothing any more.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// The whole file. Its [`fmt::Display`] is what stands in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    records: Vec<Record>,
}

/// Why a token file cannot be used. Quotes nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// More than [`MAX_FILE_BYTES`].
    #[error("it is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// More than [`MAX_TOKENS`].
    #[error("it has more than {MAX_TOKENS} tokens")]
    TooMany,
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
    /// Not an object.
    #[error("expected a JSON object")]
    NotAnObject,
    /// An object with other fields than a token has, or other values.
    #[error("{0}")]
    NotARecord(String),
    /// The id of an earlier line: which of them is meant could not be told.
    #[error("it has the id of line {0}")]
    SameId(usize),
    /// The token of an earlier line: which of the rules holds could not be told.
    #[error("it has the token of line {0}")]
    SameToken(usize),
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// [`FormatError`] for the first thing that is wrong: nothing is skipped.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(FormatError::TooLarge);
        }
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut records = Vec::new();
        let (mut ids, mut digests) = (HashMap::new(), HashMap::new());
        for (index, text) in bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|b| *b == b'\n').enumerate() {
            let line = index + 1;
            let fail = |reason| FormatError::Line { line, reason };
            let record = parse_line(text).map_err(fail)?;
            if line > MAX_TOKENS {
                return Err(FormatError::TooMany);
            }
            if let Some(earlier) = ids.insert(record.id.clone(), line) {
                return Err(fail(LineError::SameId(earlier)));
            }
            if let Some(earlier) = digests.insert(record.sha256, line) {
                return Err(fail(LineError::SameToken(earlier)));
            }
            records.push(record);
        }
        Ok(Self { records })
    }

    /// The tokens, oldest first.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Which record is of this token, valid or expired. Takes the same time whichever it is and whether there is one: all are compared,
    /// and each in constant time.
    #[must_use]
    pub fn position(&self, token: &Token) -> Option<usize> {
        let shown = token.digest();
        let mut found = None;
        for (index, record) in self.records.iter().enumerate() {
            let same: Choice = record.sha256.as_bytes().ct_eq(shown.as_bytes());
            if bool::from(same) {
                found = Some(index);
            }
        }
        found
    }

    /// The record of this token, as [`Self::position`].
    #[must_use]
    pub fn find(&self, token: &Token) -> Option<&Record> {
        self.position(token).map(|index| &self.records[index])
    }

    /// The record with this id.
    #[must_use]
    pub fn with_id(&self, id: &TokenId) -> Option<&Record> {
        self.records.iter().find(|record| record.id == *id)
    }

    pub(super) fn push(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Forgets a token; false when there is none with this id.
    pub(super) fn remove(&mut self, id: &TokenId) -> bool {
        let before = self.records.len();
        self.records.retain(|record| record.id != *id);
        self.records.len() < before
    }
}

fn parse_line(text: &[u8]) -> Result<Record, LineError> {
    if text.len() > MAX_LINE_BYTES {
        return Err(LineError::TooLong);
    }
    // serde would also read a record from an array of its fields.
    if text.first() != Some(&b'{') {
        return Err(LineError::NotAnObject);
    }
    serde_json::from_slice(text).map_err(|e| LineError::NotARecord(reason(&e)))
}

/// What serde says, without the place: it counts columns of one line.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line 1 column ") {
        Some((reason, column)) => format!("{reason} (column {column})"),
        None => text,
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for record in &self.records {
            writeln!(f, "{}", serde_json::to_string(record).map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

impl TokenId {
    /// The id of these random bytes.
    pub(super) fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(format!("{:08x}", u32::from_be_bytes(bytes)))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TokenId {
    type Err = ParseTokenIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 8 && text.bytes().all(legal) { Ok(Self(text.to_owned())) } else { Err(ParseTokenIdError) }
    }
}

impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
