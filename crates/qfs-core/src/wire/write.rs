//! The commands that write: `upload`, `upload_many`, `copy`, `remove`, `make_directory`, `make_link`, `set_metadata`
//! (PROTOCOL §4.5 to §4.7).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StatusCode;
use super::codec::DecodeError;
use super::limits::MAX_UPLOAD_HOLES;
use crate::model::{Digest, ETag, HashKind, Holes, keyed, null_is_false};

/// What must be under a name for a command to replace or remove it (PROTOCOL §4.5.1). Flattened into requests and records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precondition {
    /// Only this version; any other, and none at all, is answered `changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<ETag>,
    /// Whatever is there. Without it and without `if_match` nothing may be there: otherwise the answer is `exists`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overwrite: bool,
}

impl Precondition {
    /// Nothing may be there.
    pub const ABSENT: Self = Self { if_match: None, overwrite: false };

    /// Whatever is there may be replaced.
    pub const ANY: Self = Self { if_match: None, overwrite: true };

    /// This version is replaced, and nothing else.
    #[must_use]
    pub fn matches(etag: ETag) -> Self {
        Self { if_match: Some(etag), overwrite: false }
    }
}

/// Parameters of `upload`: one file, whose body and trailer follow the request once the server has agreed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRequest {
    /// The name it gets.
    pub filename: String,
    /// Its size in bytes; absent when the client does not know it. The body then comes in blocks (PROTOCOL §4.5.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The modification time it gets; absent, the time of the upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// Whether it may be executed; absent, as new files are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
    /// What must be there.
    #[serde(flatten)]
    pub condition: Precondition,
    /// Names this upload across connections, so that it can be continued. Absent, it begins anew and leaves nothing behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<ETag>,
    /// Whether the answer waits until the file is on stable storage.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub durable: bool,
    /// What the client would make the digest in its trailer with. Only where the head says the same, it does.
    #[serde(default, skip_serializing_if = "HashKind::is_default")]
    pub hash: HashKind,
    /// The version under the name that parts are to be copied from (PROTOCOL §4.5.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<ETag>,
    /// Parts of the file that are zeros, and not in the body where the server agrees (PROTOCOL §4.5.5).
    #[serde(default, skip_serializing_if = "Holes::is_empty")]
    pub holes: Holes,
}

impl UploadRequest {
    /// Whether its holes are no more than there may be, and lie in the file.
    #[must_use]
    pub fn holes_fit(&self) -> bool {
        self.holes.is_empty()
            || (self.holes.len() <= MAX_UPLOAD_HOLES && self.size.is_some_and(|size| self.holes.are_within(&(0..size))))
    }
}

/// The server's agreement to an upload: the body may come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadHead {
    /// [`StatusCode::OK`].
    pub code: StatusCode,
    /// Bytes from the start that the server holds of this upload; the body begins behind them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: u64,
    /// What digests of this exchange are made with, as was asked.
    #[serde(default, skip_serializing_if = "HashKind::is_default")]
    pub hash: HashKind,
    /// Whether the server has the version that parts are to be copied from: they come before the body.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_is_false")]
    pub base: bool,
    /// Whether the body comes without the holes that the request named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_is_false")]
    pub holes: bool,
}

/// What stands in front of each file in the client's half of an `upload_many`; its bytes follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawRecord")]
pub struct UploadRecord {
    /// The name it gets.
    pub filename: String,
    /// Its size in bytes, at most [`MAX_SMALL_FILE_BYTES`](super::MAX_SMALL_FILE_BYTES).
    pub size: u64,
    /// The modification time it gets.
    pub modified: Timestamp,
    /// Whether it may be executed; absent, as new files are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
    /// What must be there.
    #[serde(flatten)]
    pub condition: Precondition,
    /// Digest of the bytes that follow.
    #[serde(flatten, serialize_with = "keyed::write")]
    pub digest: Digest,
}

/// [`UploadRecord`] as it is read.
#[derive(Deserialize)]
struct RawRecord {
    filename: String,
    size: u64,
    modified: Timestamp,
    #[serde(default)]
    executable: Option<bool>,
    #[serde(flatten)]
    condition: Precondition,
    #[serde(default)]
    sha256: Option<Digest>,
    #[serde(default, deserialize_with = "keyed::blake3")]
    blake3: Option<Digest>,
}

impl TryFrom<RawRecord> for UploadRecord {
    type Error = keyed::NoDigest;

    fn try_from(raw: RawRecord) -> Result<Self, Self::Error> {
        let RawRecord { filename, size, modified, executable, condition, sha256, blake3 } = raw;
        let digest = keyed::one(sha256, blake3)?;
        Ok(Self { filename, size, modified, executable, condition, digest })
    }
}

/// Parameters of `upload_many`: the records follow the request at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadManyRequest {
    /// Whether the answers wait until the files are on stable storage.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub durable: bool,
    /// What the client would make the digests in its records with. Only where the head says the same, it does.
    #[serde(default, skip_serializing_if = "HashKind::is_default")]
    pub hash: HashKind,
}

/// What a file has become that was written: the last message of `upload`, one for each file of `upload_many`, and the answer to
/// `copy` and `set_metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RawWritten")]
pub struct Written {
    /// [`StatusCode::OK`].
    pub code: StatusCode,
    /// Its size in bytes.
    pub size: u64,
    /// Its modification time.
    pub modified: Timestamp,
    /// The version it is now.
    pub etag: ETag,
    /// Digest of all of it, where the server knows it.
    #[serde(flatten, serialize_with = "keyed::write_known")]
    pub digest: Option<Digest>,
}

/// [`Written`] as it is read.
#[derive(Deserialize)]
struct RawWritten {
    code: StatusCode,
    size: u64,
    modified: Timestamp,
    etag: ETag,
    #[serde(default)]
    sha256: Option<Digest>,
    #[serde(default, deserialize_with = "keyed::blake3")]
    blake3: Option<Digest>,
}

impl From<RawWritten> for Written {
    fn from(raw: RawWritten) -> Self {
        let RawWritten { code, size, modified, etag, sha256, blake3 } = raw;
        Self { code, size, modified, etag, digest: keyed::either(sha256, blake3) }
    }
}

/// Parameters of `copy`: the server makes one published file from another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyRequest {
    /// The file that is there.
    pub from: String,
    /// The version of it that is meant; any other is answered `changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_etag: Option<ETag>,
    /// The name the copy gets.
    pub filename: String,
    /// The modification time it gets; absent, that of the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// Whether it may be executed; absent, as the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
    /// What must be under its name.
    #[serde(flatten)]
    pub condition: Precondition,
    /// The digest that is wanted in the answer. A server that does not know the field gives SHA-256.
    #[serde(default, skip_serializing_if = "HashKind::is_default")]
    pub hash: HashKind,
}

/// What a name is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A regular file.
    #[default]
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
}

impl Kind {
    pub(crate) fn is_file(&self) -> bool {
        *self == Self::File
    }
}

/// Parameters of `remove`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveRequest {
    /// The name to remove.
    pub filename: String,
    /// What it is. Something else under the name is answered `not_found` and stays.
    #[serde(default, skip_serializing_if = "Kind::is_file")]
    pub kind: Kind,
    /// Only this version of a file; any other is answered `changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<ETag>,
}

/// Parameters of `make_directory`, which also makes what is missing on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeDirectoryRequest {
    /// The directory's name.
    pub filename: String,
    /// The modification time it gets, also where it is there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
}

/// Parameters of `make_link`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeLinkRequest {
    /// The link's name. Nothing may be there.
    pub filename: String,
    /// Where it leads: relative, and to a place within what is published.
    pub target: String,
}

/// Parameters of `set_metadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetMetadataRequest {
    /// The file's name.
    pub filename: String,
    /// Only this version; any other is answered `changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<ETag>,
    /// The modification time it gets; absent, it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// Whether it may be executed; absent, it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
}

/// The answer to a command of which nothing is to be told but that it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// [`StatusCode::OK`].
    pub code: StatusCode,
}

/// The payload of an upload record's frame.
///
/// # Errors
/// [`DecodeError::Malformed`] when it is none, or its file is larger than a small one may be.
pub fn decode_upload_record(payload: &[u8]) -> Result<UploadRecord, DecodeError> {
    let record: UploadRecord = super::codec::decode(payload)?;
    if record.size > super::MAX_SMALL_FILE_BYTES {
        return Err(DecodeError::Malformed(format!("a small file of {} bytes", record.size)));
    }
    Ok(record)
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests;
