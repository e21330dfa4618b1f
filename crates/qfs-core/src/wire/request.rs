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
use super::{ChunkMapRequest, DownloadRangesRequest, IdentityRequest, MAX_MANY_FILES, PathNoteRequest};
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
            | Self::PathNote(_) => None,
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
            other => Err(DecodeError::UnknownCommand(other.chars().take(64).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(request: &Request, json: &str) {
        let bytes = request.encode().unwrap();
        assert_eq!(bytes[..4], u32::try_from(json.len()).unwrap().to_be_bytes());
        assert_eq!(std::str::from_utf8(&bytes[4..]).unwrap(), json);
        assert_eq!(Request::decode(json.as_bytes()).unwrap(), *request);
    }

    // The byte examples of PROTOCOL §4.
    #[test]
    fn golden_requests() {
        golden(&Request::GetFilesList(ListRequest::default()), r#"{"command":"get_files_list"}"#);
        golden(
            &Request::GetFilesList(ListRequest { tree: true, prefix: Some("sub".into()), hash: HashKind::Sha256 }),
            r#"{"command":"get_files_list","tree":true,"prefix":"sub"}"#,
        );
        golden(
            &Request::Download(DownloadRequest { filename: "sub/a b".into(), ..DownloadRequest::default() }),
            r#"{"command":"download","filename":"sub/a b"}"#,
        );
        golden(
            &Request::Download(DownloadRequest {
                filename: "x".into(),
                range: Some(ByteRange { start: 10, end: Some(20) }),
                if_match: Some("v1".parse().unwrap()),
                live: false,
                priority: -3,
                holes: false,
                hash: HashKind::Sha256,
            }),
            r#"{"command":"download","filename":"x","range":{"start":10,"end":20},"if_match":"v1","priority":-3}"#,
        );
        golden(
            &Request::Download(DownloadRequest { filename: "log".into(), live: true, ..DownloadRequest::default() }),
            r#"{"command":"download","filename":"log","live":true}"#,
        );
        golden(
            &Request::Download(DownloadRequest { filename: "x".into(), holes: true, ..DownloadRequest::default() }),
            r#"{"command":"download","filename":"x","holes":true}"#,
        );
        golden(
            &Request::Download(DownloadRequest {
                filename: "x".into(),
                hash: HashKind::Blake3,
                ..DownloadRequest::default()
            }),
            r#"{"command":"download","filename":"x","hash":"blake3"}"#,
        );
        golden(
            &Request::GetFilesList(ListRequest { hash: HashKind::Blake3, ..ListRequest::default() }),
            r#"{"command":"get_files_list","hash":"blake3"}"#,
        );
        golden(
            &Request::DownloadMany(DownloadManyRequest {
                files: vec!["sub/a b".into(), "nope".into()],
                priority: -3,
                ..DownloadManyRequest::default()
            }),
            r#"{"command":"download_many","files":["sub/a b","nope"],"priority":-3}"#,
        );
    }

    // Fails when the names of a request are read before they are counted.
    #[test]
    fn names_are_counted() {
        let request = |count: usize| {
            let names = vec![r#""a""#; count].join(",");
            Request::decode(format!(r#"{{"command":"download_many","files":[{names}]}}"#).as_bytes())
        };
        assert!(request(1).is_ok() && request(MAX_MANY_FILES).is_ok());
        assert!(matches!(request(0), Err(DecodeError::Malformed(_))));
        assert!(matches!(request(MAX_MANY_FILES + 1), Err(DecodeError::Malformed(_))));
    }

    // The byte example of PROTOCOL §2.7. A client from before tokens existed sends none, and its request is still
    // understood.
    #[test]
    fn golden_token() {
        let token: Token = "qfs_0123456789abcdef".parse().unwrap();
        let json = r#"{"command":"get_files_list","token":"qfs_0123456789abcdef"}"#;
        let request = Request::GetFilesList(ListRequest::default());
        let bytes = request.encode_with(Some(&token)).unwrap();
        assert_eq!((&bytes[..4], &bytes[4..]), (&[0, 0, 0, 0x3b][..], json.as_bytes()));
        // A server that does not need the token ignores it.
        assert_eq!(Request::decode(json.as_bytes()).unwrap(), request);
        assert_eq!(Request::decode_token(json.as_bytes()).unwrap(), Some(token.clone()));
        for none in [r#"{"command":"get_files_list"}"#, r#"{"command":"x","token":null}"#] {
            assert_eq!(Request::decode_token(none.as_bytes()).unwrap(), None);
        }
        let download =
            Request::Download(DownloadRequest { filename: "a".into(), priority: -1, ..DownloadRequest::default() });
        let bytes = download.encode_with(Some(&token)).unwrap();
        let json = r#"{"command":"download","filename":"a","priority":-1,"token":"qfs_0123456789abcdef"}"#;
        assert_eq!(std::str::from_utf8(&bytes[4..]).unwrap(), json);
    }

    // Fails when serde's own error text is used, which quotes what it refuses.
    #[test]
    fn a_malformed_token_is_refused_and_not_quoted() {
        for token in [r#""se same""#, "4711", "true", r#"["sesame"]"#, r#"{"sesame":1}"#, r#""""#, r#""sésame""#] {
            let error = Request::decode_token(format!(r#"{{"command":"x","token":{token}}}"#).as_bytes()).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(!said.contains("same") && !said.contains("4711") && !said.contains("true"), "{said}");
            assert!(said.contains("the token is malformed"), "{said}");
        }
        let long = "x".repeat(crate::model::MAX_TOKEN_BYTES + 1);
        assert!(Request::decode_token(format!(r#"{{"token":"{long}"}}"#).as_bytes()).is_err());
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_commands_named() {
        assert!(Request::decode(br#"{"later":[],"command":"get_files_list"}"#).is_ok());
        let nulls =
            br#"{"command":"download","filename":"a","range":null,"if_match":null,"live":null,"priority":null}"#;
        assert!(Request::decode(nulls).is_ok());
        let error = Request::decode(br#"{"command":"delete_everything"}"#).unwrap_err();
        assert!(matches!(error, DecodeError::UnknownCommand(name) if name == "delete_everything"));
    }

    #[test]
    fn malformed_requests_are_refused() {
        for text in [
            "",
            "{}",
            "[]",
            "null",
            "\"download\"",
            "{\"command\":1}",
            "{\"command\":\"download\"}",
            r#"{"command":"download","filename":7}"#,
            r#"{"command":"download","filename":"a","range":{"start":-1}}"#,
            r#"{"command":"download","filename":"a","if_match":"../x"}"#,
            r#"{"command":"get_files_list"} x"#,
            r#"["download"]"#,
            r#"{"command":"download","filename":"a","range":[0,1]}"#,
            r#"{"command":"download_many"}"#,
            r#"{"command":"download_many","files":"a"}"#,
            r#"{"command":"download_many","files":["a",1]}"#,
            r#"{"command":"download_many","files":{"a":1}}"#,
        ] {
            assert!(matches!(Request::decode(text.as_bytes()), Err(DecodeError::Malformed(_))), "{text}");
        }
        let deep = "[".repeat(60_000);
        assert!(Request::decode(deep.as_bytes()).is_err());
    }
}
