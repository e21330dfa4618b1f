//! What stands in front of the body of a `download` and behind it (PROTOCOL §4.2).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StatusCode;
use crate::model::{ByteRange, Digest, ETag, HashKind, Holes, keyed, null_is_false};

/// Head of a download (PROTOCOL §4.2); the body's bytes follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RawHead")]
pub struct DownloadHead {
    /// [`StatusCode::OK`].
    pub code: StatusCode,
    /// Size of the whole file in bytes.
    pub size: u64,
    /// Modification time of the file.
    pub modified: Timestamp,
    /// The version served.
    pub etag: ETag,
    /// The part that follows; `end` is always present.
    pub range: ByteRange,
    /// Digest of the whole file, when already known.
    #[serde(flatten, serialize_with = "keyed::write_known")]
    pub digest: Option<Digest>,
    /// Whether the file may be executed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
    /// Whether the file is served as long as it was when it was opened, as was asked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub live: bool,
    /// Parts of the range that are zeros and not in the body (PROTOCOL §4.2.1); none unless they were asked for.
    #[serde(skip_serializing_if = "Holes::is_empty")]
    pub holes: Holes,
    /// What the digests of this answer are made with, as was asked.
    #[serde(skip_serializing_if = "HashKind::is_default")]
    pub hash: HashKind,
}

/// [`DownloadHead`] as it is read.
#[derive(Deserialize)]
struct RawHead {
    code: StatusCode,
    size: u64,
    modified: Timestamp,
    etag: ETag,
    range: ByteRange,
    #[serde(default)]
    sha256: Option<Digest>,
    #[serde(default, deserialize_with = "keyed::blake3")]
    blake3: Option<Digest>,
    #[serde(default, deserialize_with = "null_is_false")]
    executable: bool,
    #[serde(default, deserialize_with = "null_is_false")]
    live: bool,
    #[serde(default)]
    holes: Holes,
    #[serde(default)]
    hash: HashKind,
}

impl From<RawHead> for DownloadHead {
    fn from(raw: RawHead) -> Self {
        let RawHead { code, size, modified, etag, range, sha256, blake3, executable, live, holes, hash } = raw;
        let digest = keyed::either(sha256, blake3);
        Self { code, size, modified, etag, range, digest, executable, live, holes, hash }
    }
}

/// Ends a download. Without it the body is not valid (PROTOCOL §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawTrailer")]
pub struct Trailer {
    /// [`StatusCode::OK`].
    pub code: StatusCode,
    /// Digest of the whole file in the version served, whatever range was asked.
    #[serde(flatten, serialize_with = "keyed::write")]
    pub digest: Digest,
    /// Whether a file that was asked for `live` is another one by now, as one that has grown is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub grown: bool,
}

/// [`Trailer`] as it is read.
#[derive(Deserialize)]
struct RawTrailer {
    code: StatusCode,
    #[serde(default)]
    sha256: Option<Digest>,
    #[serde(default, deserialize_with = "keyed::blake3")]
    blake3: Option<Digest>,
    #[serde(default, deserialize_with = "null_is_false")]
    grown: bool,
}

impl TryFrom<RawTrailer> for Trailer {
    type Error = keyed::NoDigest;

    fn try_from(raw: RawTrailer) -> Result<Self, Self::Error> {
        let RawTrailer { code, sha256, blake3, grown } = raw;
        Ok(Self { code, digest: keyed::one(sha256, blake3)?, grown })
    }
}

impl Trailer {
    /// The trailer of a body of one version.
    #[must_use]
    pub fn new(digest: Digest) -> Self {
        Self { code: StatusCode::OK, digest, grown: false }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeError, MAX_HOLES, RemoteError, decode_response, encode};
    use super::*;

    // The byte examples of PROTOCOL §4.
    #[test]
    fn golden_answers() {
        let head = DownloadHead {
            code: StatusCode::OK,
            size: 3,
            modified: "2026-11-23T08:00:00.5Z".parse().unwrap(),
            etag: "0a1b".parse().unwrap(),
            range: ByteRange { start: 0, end: Some(3) },
            digest: None,
            executable: false,
            live: false,
            holes: Holes::default(),
            hash: HashKind::Sha256,
        };
        let json =
            r#"{"code":0,"size":3,"modified":"2026-11-23T08:00:00.5Z","etag":"0a1b","range":{"start":0,"end":3}}"#;
        assert_eq!(&encode(&head).unwrap()[4..], json.as_bytes());
        assert_eq!(decode_response::<DownloadHead>(json.as_bytes()).unwrap().unwrap(), head);

        let sparse = DownloadHead {
            size: 1_000_000,
            range: ByteRange { start: 0, end: Some(1_000_000) },
            holes: Holes::new(vec![4096..262_144, 300_000..1_000_000]).unwrap(),
            ..head.clone()
        };
        let json = concat!(
            r#"{"code":0,"size":1000000,"modified":"2026-11-23T08:00:00.5Z","etag":"0a1b","#,
            r#""range":{"start":0,"end":1000000},"holes":[[4096,262144],[300000,1000000]]}"#
        );
        assert_eq!(&encode(&sparse).unwrap()[4..], json.as_bytes());
        assert_eq!(decode_response::<DownloadHead>(json.as_bytes()).unwrap().unwrap(), sparse);

        let trailer = Trailer::new(Digest::of(b"abc"));
        let json = format!(r#"{{"code":0,"sha256":"{}"}}"#, Digest::of(b"abc"));
        assert_eq!(&encode(&trailer).unwrap()[..], [&[0, 0, 0, 86][..], json.as_bytes()].concat());
        assert_eq!(decode_response::<Trailer>(json.as_bytes()).unwrap().unwrap(), trailer);

        let script = DownloadHead { executable: true, ..head.clone() };
        let json = r#"{"code":0,"size":3,"modified":"2026-11-23T08:00:00.5Z","etag":"0a1b","range":{"start":0,"end":3},"executable":true}"#;
        assert_eq!(std::str::from_utf8(&encode(&script).unwrap()[4..]).unwrap(), json);
        assert_eq!(decode_response::<DownloadHead>(json.as_bytes()).unwrap().unwrap(), script);

        let live = DownloadHead { live: true, ..head };
        let json = r#"{"code":0,"size":3,"modified":"2026-11-23T08:00:00.5Z","etag":"0a1b","range":{"start":0,"end":3},"live":true}"#;
        assert_eq!(std::str::from_utf8(&encode(&live).unwrap()[4..]).unwrap(), json);
        assert_eq!(decode_response::<DownloadHead>(json.as_bytes()).unwrap().unwrap(), live);
        let grown = Trailer { grown: true, ..trailer };
        let json = format!(r#"{{"code":0,"sha256":"{}","grown":true}}"#, Digest::of(b"abc"));
        assert_eq!(std::str::from_utf8(&encode(&grown).unwrap()[4..]).unwrap(), json);
        assert_eq!(decode_response::<Trailer>(json.as_bytes()).unwrap().unwrap(), grown);

        let error = RemoteError::new(StatusCode::NOT_FOUND, "no such file");
        let json = r#"{"code":3,"message":"no such file"}"#;
        assert_eq!(&encode(&error).unwrap()[4..], json.as_bytes());
        assert_eq!(decode_response::<DownloadHead>(json.as_bytes()).unwrap(), Err(error));
    }

    // Fails when a head of as many holes as a server may tell of does not fit a frame, or disorder passes for holes.
    #[test]
    fn the_most_holes_fit_and_only_holes_are_read() {
        let most = u64::MAX - 1;
        let far = (0..MAX_HOLES as u64).rev().map(|n| most - 2 * n - 1..most - 2 * n).collect();
        let head = DownloadHead {
            code: StatusCode::OK,
            size: u64::MAX,
            modified: "2026-11-23T08:00:00.123456789Z".parse().unwrap(),
            etag: "x".repeat(ETag::MAX_BYTES).parse().unwrap(),
            range: ByteRange { start: 0, end: Some(u64::MAX) },
            digest: Some(Digest::of_kind(HashKind::Blake3, b"")),
            executable: true,
            live: true,
            holes: Holes::new(far).unwrap(),
            hash: HashKind::Blake3,
        };
        let frame = encode(&head).unwrap();
        assert_eq!(decode_response::<DownloadHead>(&frame[4..]).unwrap().unwrap(), head);
        let json = r#"{"code":0,"size":9,"modified":"2026-11-23T08:00:00Z","etag":"v","range":{"start":0,"end":9},"holes":HOLES}"#;
        let read = |holes: &str| decode_response::<DownloadHead>(json.replace("HOLES", holes).as_bytes());
        assert!(read("[[1,2],[4,9]]").is_ok() && read("[]").is_ok());
        for wrong in
            ["[[4,9],[1,2]]", "[[1,3],[2,4]]", "[[1,2],[2,4]]", "[[3,3]]", "[[4,3]]", "[1,2]", "[[1,2,3]]", "7"]
        {
            assert!(matches!(read(wrong), Err(DecodeError::Malformed(_))), "{wrong}");
        }
    }

    // The byte examples of PROTOCOL §4.2 with BLAKE3.
    #[test]
    fn golden_head_and_trailer_of_blake3() {
        let digest = Digest::of_kind(HashKind::Blake3, b"abc");
        let head = DownloadHead {
            code: StatusCode::OK,
            size: 3,
            modified: "2026-11-23T08:00:00.5Z".parse().unwrap(),
            etag: "0a1b".parse().unwrap(),
            range: ByteRange { start: 0, end: Some(3) },
            digest: Some(digest),
            executable: false,
            live: false,
            holes: Holes::default(),
            hash: HashKind::Blake3,
        };
        let json = concat!(
            r#"{"code":0,"size":3,"modified":"2026-11-23T08:00:00.5Z","etag":"0a1b","range":{"start":0,"end":3},"#,
            r#""blake3":"6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85","hash":"blake3"}"#
        );
        assert_eq!(std::str::from_utf8(&encode(&head).unwrap()[4..]).unwrap(), json);
        assert_eq!(decode_response::<DownloadHead>(json.as_bytes()).unwrap().unwrap(), head);
        let trailer = Trailer::new(digest);
        let json = r#"{"code":0,"blake3":"6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"}"#;
        assert_eq!(std::str::from_utf8(&encode(&trailer).unwrap()[4..]).unwrap(), json);
        assert_eq!(decode_response::<Trailer>(json.as_bytes()).unwrap().unwrap(), trailer);
        assert!(decode_response::<Trailer>(br#"{"code":0,"blake3":null}"#).is_err(), "a trailer without a digest");
    }
}
