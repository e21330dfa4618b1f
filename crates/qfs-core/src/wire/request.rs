//! What a client asks.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::codec::{DecodeError, EncodeError, decode, encode, is_zero, null_is_absent};
use super::write::{
    CopyRequest, MakeDirectoryRequest, MakeLinkRequest, RemoveRequest, SetMetadataRequest, UploadManyRequest,
    UploadRequest,
};
use super::{ChunkMapRequest, DownloadRangesRequest, IdentityRequest, MAX_MANY_FILES, MeasureRequest, PathNoteRequest};
use crate::model::{ByteRange, ETag, HashKind, Token, null_is_false};

/// One command (PROTOCOL §4). A stream carries exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// `get_files_list` (PROTOCOL §4.1).
    GetFilesList(ListRequest),
    /// `download` (PROTOCOL §4.2).
    Download(DownloadRequest),
    /// `download_many` (PROTOCOL §4.3).
    DownloadMany(DownloadManyRequest),
    /// `get_identity` (PROTOCOL §4.4).
    GetIdentity(IdentityRequest),
    /// `upload` (PROTOCOL §4.5).
    Upload(UploadRequest),
    /// `upload_many` (PROTOCOL §4.6).
    UploadMany(UploadManyRequest),
    /// `copy` (PROTOCOL §4.7).
    Copy(CopyRequest),
    /// `remove` (PROTOCOL §4.7).
    Remove(RemoveRequest),
    /// `make_directory` (PROTOCOL §4.7).
    MakeDirectory(MakeDirectoryRequest),
    /// `make_link` (PROTOCOL §4.7).
    MakeLink(MakeLinkRequest),
    /// `set_metadata` (PROTOCOL §4.7).
    SetMetadata(SetMetadataRequest),
    /// `chunk_map` (PROTOCOL §4.8.1).
    ChunkMap(ChunkMapRequest),
    /// `download_ranges` (PROTOCOL §4.8.2).
    DownloadRanges(DownloadRangesRequest),
    /// `path_note` (PROTOCOL §4.9).
    PathNote(PathNoteRequest),
    /// `measure` (PROTOCOL §4.10).
    Measure(MeasureRequest),
}

/// Parameters of `get_files_list`. Servers that do not know them list every file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRequest {
    /// Whether directories, links, modes and versions are wanted too (PROTOCOL §4.1.1).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tree: bool,
    /// Only names below this directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The digests that are wanted. A server that does not know the field answers with SHA-256.
    #[serde(default, skip_serializing_if = "HashKind::is_default")]
    pub hash: HashKind,
}

/// Parameters of `download`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadRequest {
    /// The name as listed. It is kept as text here, because a name that breaks the rules is `not_found` and not a
    /// malformed request.
    pub filename: String,
    /// The part wanted; absent, the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "range_object")]
    pub range: Option<ByteRange>,
    /// Only this version is wanted. Any other is answered with `changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<ETag>,
    /// Whether the file is wanted as long as it is now, although it is being appended to. Without range and `if_match`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_is_false")]
    pub live: bool,
    /// Streams with a higher number are sent before those with a lower one.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_is_absent")]
    pub priority: i32,
    /// Whether the client knows a body without its holes (PROTOCOL §4.2.1).
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_is_absent")]
    pub holes: bool,
    /// The digests that are wanted. A server that does not know the field answers with SHA-256.
    #[serde(default, skip_serializing_if = "HashKind::is_default")]
    pub hash: HashKind,
}

/// Parameters of `download_many`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadManyRequest {
    /// The names as listed, 1 to [`MAX_MANY_FILES`]. They are kept as text, as in [`DownloadRequest::filename`].
    #[serde(deserialize_with = "bounded_names")]
    pub files: Vec<String>,
    /// As [`DownloadRequest::priority`].
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_is_absent")]
    pub priority: i32,
    /// The digests that are wanted. A server that does not know the field answers with SHA-256.
    #[serde(default, skip_serializing_if = "HashKind::is_default")]
    pub hash: HashKind,
}

impl DownloadManyRequest {
    /// The most bytes of a request's frame in addition to its names (see [`name_bytes`](super::name_bytes)).
    pub const FRAME_BYTES: usize = 100;
}

/// Counts while reading, so that no more names are kept than a request may have.
fn bounded_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "1 to {MAX_MANY_FILES} names")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Self::Value, A::Error> {
            let mut read = Vec::new();
            while let Some(name) = names.next_element()? {
                if read.len() == MAX_MANY_FILES {
                    return Err(serde::de::Error::custom(format!("more than {MAX_MANY_FILES} names")));
                }
                read.push(name);
            }
            if read.is_empty() { Err(serde::de::Error::custom("no names")) } else { Ok(read) }
        }
    }
    deserializer.deserialize_seq(Names)
}

/// Reads a range from an object only, because serde would also read `[0,1]`.
fn range_object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteRange>, D::Error> {
    match Option::<serde_json::Map<String, serde_json::Value>>::deserialize(deserializer)? {
        Some(map) => serde_json::from_value(map.into()).map(Some).map_err(serde::de::Error::custom),
        None => Ok(None),
    }
}

const GET_FILES_LIST: &str = "get_files_list";
const DOWNLOAD: &str = "download";
const DOWNLOAD_MANY: &str = "download_many";
const GET_IDENTITY: &str = "get_identity";
const UPLOAD: &str = "upload";
const UPLOAD_MANY: &str = "upload_many";
const COPY: &str = "copy";
const REMOVE: &str = "remove";
const MAKE_DIRECTORY: &str = "make_directory";
const MAKE_LINK: &str = "make_link";
const SET_METADATA: &str = "set_metadata";
const CHUNK_MAP: &str = "chunk_map";
const DOWNLOAD_RANGES: &str = "download_ranges";
const PATH_NOTE: &str = "path_note";
const MEASURE: &str = "measure";

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    command: Cow<'a, str>,
}

#[derive(Serialize)]
struct Tagged<'a, T> {
    command: &'static str,
    #[serde(flatten)]
    parameters: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

/// The part of any request that says who asks.
#[derive(Deserialize)]
struct Bearer {
    #[serde(default, deserialize_with = "token_text")]
    token: Option<Token>,
}

/// Errors here have their own text, because serde's text would quote the secret.
fn token_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Token>, D::Error> {
    let malformed = || serde::de::Error::custom("the token is malformed");
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(text) => text.parse().map(Some).map_err(|_| malformed()),
        _ => Err(malformed()),
    }
}

impl Request {
    /// The command's name on the wire.
    #[must_use]
    pub fn command(&self) -> &'static str {
        match self {
            Self::GetFilesList(_) => GET_FILES_LIST,
            Self::Download(_) => DOWNLOAD,
            Self::DownloadMany(_) => DOWNLOAD_MANY,
            Self::GetIdentity(_) => GET_IDENTITY,
            Self::Upload(_) => UPLOAD,
            Self::UploadMany(_) => UPLOAD_MANY,
            Self::Copy(_) => COPY,
            Self::Remove(_) => REMOVE,
            Self::MakeDirectory(_) => MAKE_DIRECTORY,
            Self::MakeLink(_) => MAKE_LINK,
            Self::SetMetadata(_) => SET_METADATA,
            Self::ChunkMap(_) => CHUNK_MAP,
            Self::DownloadRanges(_) => DOWNLOAD_RANGES,
            Self::PathNote(_) => PATH_NOTE,
            Self::Measure(_) => MEASURE,
        }
    }

    /// The one name that it is about, if it is about one: a stranger's text, not yet checked.
    #[must_use]
    pub fn filename(&self) -> Option<&str> {
        match self {
            Self::Download(request) => Some(&request.filename),
            Self::Upload(request) => Some(&request.filename),
            Self::Copy(request) => Some(&request.filename),
            Self::Remove(request) => Some(&request.filename),
            Self::MakeDirectory(request) => Some(&request.filename),
            Self::MakeLink(request) => Some(&request.filename),
            Self::SetMetadata(request) => Some(&request.filename),
            Self::ChunkMap(request) => Some(&request.filename),
            Self::DownloadRanges(request) => Some(&request.filename),
            Self::GetFilesList(_)
            | Self::DownloadMany(_)
            | Self::GetIdentity(_)
            | Self::UploadMany(_)
            | Self::PathNote(_)
            | Self::Measure(_) => None,
        }
    }

    /// The request's frame.
    ///
    /// # Errors
    /// [`EncodeError`] when a name makes it longer than a frame may be.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        self.encode_with(None)
    }

    /// The request's frame, with what the client shows to be let in.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_with(&self, token: Option<&Token>) -> Result<Bytes, EncodeError> {
        let (command, token) = (self.command(), token.map(Token::reveal));
        match self {
            Self::GetFilesList(parameters) => encode(&Tagged { command, parameters, token }),
            Self::Download(parameters) => encode(&Tagged { command, parameters, token }),
            Self::DownloadMany(parameters) => encode(&Tagged { command, parameters, token }),
            Self::GetIdentity(parameters) => encode(&Tagged { command, parameters, token }),
            Self::Upload(parameters) => encode(&Tagged { command, parameters, token }),
            Self::UploadMany(parameters) => encode(&Tagged { command, parameters, token }),
            Self::Copy(parameters) => encode(&Tagged { command, parameters, token }),
            Self::Remove(parameters) => encode(&Tagged { command, parameters, token }),
            Self::MakeDirectory(parameters) => encode(&Tagged { command, parameters, token }),
            Self::MakeLink(parameters) => encode(&Tagged { command, parameters, token }),
            Self::SetMetadata(parameters) => encode(&Tagged { command, parameters, token }),
            Self::ChunkMap(parameters) => encode(&Tagged { command, parameters, token }),
            Self::DownloadRanges(parameters) => encode(&Tagged { command, parameters, token }),
            Self::PathNote(parameters) => encode(&Tagged { command, parameters, token }),
            Self::Measure(parameters) => encode(&Tagged { command, parameters, token }),
        }
    }

    /// The token in the payload of a request's frame, whatever the command.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`], which does not quote the token, when the field is not a valid token, or the payload
    /// is not an object.
    pub fn decode_token(payload: &[u8]) -> Result<Option<Token>, DecodeError> {
        Ok(decode::<Bearer>(payload)?.token)
    }

    /// Reads the payload of a request's frame; unknown fields are ignored.
    ///
    /// # Errors
    /// [`DecodeError::UnknownCommand`] for a well-formed request this version does not know,
    /// [`DecodeError::Malformed`] for anything else.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let envelope: Envelope<'_> = decode(payload)?;
        match &*envelope.command {
            GET_FILES_LIST => Ok(Self::GetFilesList(decode(payload)?)),
            DOWNLOAD => Ok(Self::Download(decode(payload)?)),
            DOWNLOAD_MANY => Ok(Self::DownloadMany(decode(payload)?)),
            GET_IDENTITY => Ok(Self::GetIdentity(decode(payload)?)),
            UPLOAD => Ok(Self::Upload(decode(payload)?)),
            UPLOAD_MANY => Ok(Self::UploadMany(decode(payload)?)),
            COPY => Ok(Self::Copy(decode(payload)?)),
            REMOVE => Ok(Self::Remove(decode(payload)?)),
            MAKE_DIRECTORY => Ok(Self::MakeDirectory(decode(payload)?)),
            MAKE_LINK => Ok(Self::MakeLink(decode(payload)?)),
            SET_METADATA => Ok(Self::SetMetadata(decode(payload)?)),
            CHUNK_MAP => Ok(Self::ChunkMap(decode(payload)?)),
            DOWNLOAD_RANGES => Ok(Self::DownloadRanges(decode(payload)?)),
            PATH_NOTE => Ok(Self::PathNote(decode(payload)?)),
            MEASURE => Ok(Self::Measure(decode(payload)?)),
            other => Err(DecodeError::UnknownCommand(other.chars().take(64).collect())),
        }
    }
}

#[cfg(test)]
mod tests;
