//! The messages of PROTOCOL §4.5 to §4.7, byte by byte, and what is none.

use super::*;
use crate::wire::{Request, encode};

fn golden(request: &Request, json: &str) {
    let bytes = request.encode().unwrap();
    assert_eq!(std::str::from_utf8(&bytes[4..]).unwrap(), json);
    assert_eq!(Request::decode(json.as_bytes()).unwrap(), *request);
}

fn time() -> Timestamp {
    "2026-11-23T08:00:00.5Z".parse().unwrap()
}

// The byte examples of PROTOCOL §4.5 to §4.7.
#[test]
fn golden_requests() {
    let name = || "in/a b".to_owned();
    golden(
        &Request::Upload(UploadRequest { filename: name(), ..UploadRequest::default() }),
        r#"{"command":"upload","filename":"in/a b"}"#,
    );
    golden(
        &Request::Upload(UploadRequest {
            filename: name(),
            size: Some(3),
            modified: Some(time()),
            executable: Some(true),
            condition: Precondition::matches("0a1b".parse().unwrap()),
            upload: Some("u1".parse().unwrap()),
            durable: true,
            hash: HashKind::Sha256,
            base: None,
            holes: Holes::default(),
        }),
        concat!(
            r#"{"command":"upload","filename":"in/a b","size":3,"modified":"2026-11-23T08:00:00.5Z","#,
            r#""executable":true,"if_match":"0a1b","upload":"u1","durable":true}"#
        ),
    );
    golden(
        &Request::Upload(UploadRequest {
            filename: "x".into(),
            size: Some(9000),
            condition: Precondition::ANY,
            base: Some("0a1b".parse().unwrap()),
            ..UploadRequest::default()
        }),
        r#"{"command":"upload","filename":"x","size":9000,"overwrite":true,"base":"0a1b"}"#,
    );
    golden(
        &Request::Upload(UploadRequest {
            filename: "x".into(),
            size: Some(1_000_000),
            holes: Holes::new(vec![4096..262_144, 300_000..1_000_000]).unwrap(),
            ..UploadRequest::default()
        }),
        r#"{"command":"upload","filename":"x","size":1000000,"holes":[[4096,262144],[300000,1000000]]}"#,
    );
    golden(&Request::UploadMany(UploadManyRequest::default()), r#"{"command":"upload_many"}"#);
    golden(
        &Request::UploadMany(UploadManyRequest { hash: HashKind::Blake3, ..UploadManyRequest::default() }),
        r#"{"command":"upload_many","hash":"blake3"}"#,
    );
    golden(
        &Request::Upload(UploadRequest { filename: name(), hash: HashKind::Blake3, ..UploadRequest::default() }),
        r#"{"command":"upload","filename":"in/a b","hash":"blake3"}"#,
    );
    golden(
        &Request::Copy(CopyRequest {
            from: "a".into(),
            from_etag: Some("0a1b".parse().unwrap()),
            filename: name(),
            condition: Precondition::ANY,
            ..CopyRequest::default()
        }),
        r#"{"command":"copy","from":"a","from_etag":"0a1b","filename":"in/a b","overwrite":true}"#,
    );
    golden(
        &Request::Copy(CopyRequest {
            from: "a".into(),
            filename: name(),
            hash: HashKind::Blake3,
            ..CopyRequest::default()
        }),
        r#"{"command":"copy","from":"a","filename":"in/a b","hash":"blake3"}"#,
    );
    golden(
        &Request::Remove(RemoveRequest { filename: name(), ..RemoveRequest::default() }),
        r#"{"command":"remove","filename":"in/a b"}"#,
    );
    golden(
        &Request::Remove(RemoveRequest { filename: name(), kind: Kind::Directory, if_match: None }),
        r#"{"command":"remove","filename":"in/a b","kind":"directory"}"#,
    );
    golden(
        &Request::MakeDirectory(MakeDirectoryRequest { filename: name(), modified: None }),
        r#"{"command":"make_directory","filename":"in/a b"}"#,
    );
    golden(
        &Request::MakeLink(MakeLinkRequest { filename: name(), target: "../x".into() }),
        r#"{"command":"make_link","filename":"in/a b","target":"../x"}"#,
    );
    golden(
        &Request::SetMetadata(SetMetadataRequest {
            filename: name(),
            executable: Some(false),
            ..SetMetadataRequest::default()
        }),
        r#"{"command":"set_metadata","filename":"in/a b","executable":false}"#,
    );
}

#[test]
fn golden_answers_and_records() {
    let json = |message: &dyn Fn() -> bytes::Bytes| String::from_utf8(message()[4..].to_vec()).unwrap();
    let head = UploadHead { code: StatusCode::OK, offset: 0, hash: HashKind::Sha256, base: false, holes: false };
    assert_eq!(json(&|| encode(&head).unwrap()), r#"{"code":0}"#);
    let head = UploadHead { code: StatusCode::OK, offset: 2, hash: HashKind::Sha256, base: false, holes: false };
    assert_eq!(json(&|| encode(&head).unwrap()), r#"{"code":0,"offset":2}"#);
    let head = UploadHead { code: StatusCode::OK, offset: 0, hash: HashKind::Sha256, base: true, holes: false };
    assert_eq!(json(&|| encode(&head).unwrap()), r#"{"code":0,"base":true}"#);
    let head = UploadHead { code: StatusCode::OK, offset: 0, hash: HashKind::Sha256, base: false, holes: true };
    assert_eq!(json(&|| encode(&head).unwrap()), r#"{"code":0,"holes":true}"#);
    let digest = Digest::of(b"abc");
    let etag: ETag = "0a1b".parse().unwrap();
    let written = Written { code: StatusCode::OK, size: 3, modified: time(), etag, digest: Some(digest) };
    let text =
        format!(r#"{{"code":0,"size":3,"modified":"2026-11-23T08:00:00.5Z","etag":"0a1b","sha256":"{digest}"}}"#);
    assert_eq!(json(&|| encode(&written).unwrap()), text);
    let record = UploadRecord {
        filename: "in/a b".into(),
        size: 3,
        modified: time(),
        executable: None,
        condition: Precondition::ABSENT,
        digest,
    };
    let text = format!(r#"{{"filename":"in/a b","size":3,"modified":"2026-11-23T08:00:00.5Z","sha256":"{digest}"}}"#);
    assert_eq!(json(&|| encode(&record).unwrap()), text);
    assert_eq!(decode_upload_record(text.as_bytes()).unwrap(), record);
    let blake3 = Digest::of_kind(HashKind::Blake3, b"abc");
    let other = UploadRecord { digest: blake3, ..record };
    let other_text = text.replace(&format!(r#""sha256":"{digest}""#), &format!(r#""blake3":"{blake3}""#));
    assert_eq!(json(&|| encode(&other).unwrap()), other_text);
    assert_eq!(decode_upload_record(other_text.as_bytes()).unwrap(), other);
    let neither = text.replace("sha256", "md5");
    assert!(decode_upload_record(neither.as_bytes()).is_err());
    let head = UploadHead { code: StatusCode::OK, offset: 0, hash: HashKind::Blake3, base: false, holes: false };
    assert_eq!(json(&|| encode(&head).unwrap()), r#"{"code":0,"hash":"blake3"}"#);
    let large = text.replace(r#""size":3"#, r#""size":262145"#);
    assert!(decode_upload_record(large.as_bytes()).is_err());
}

#[test]
fn malformed_requests_are_refused() {
    for text in [
        r#"{"command":"upload"}"#,
        r#"{"command":"upload","filename":"a","size":-1}"#,
        r#"{"command":"upload","filename":"a","overwrite":1}"#,
        r#"{"command":"upload","filename":"a","if_match":"../x"}"#,
        r#"{"command":"upload","filename":"a","upload":"a b"}"#,
        r#"{"command":"remove","filename":"a","kind":"device"}"#,
        r#"{"command":"make_link","filename":"a"}"#,
        r#"{"command":"copy","filename":"a"}"#,
    ] {
        assert!(matches!(Request::decode(text.as_bytes()), Err(DecodeError::Malformed(_))), "{text}");
    }
}

// Fails when a request with as many holes as there may be, and the longest name, no longer fits its frame; or when holes are taken that are
// too many, or not of the file.
#[test]
fn holes_have_room_in_a_request_and_are_within_the_file() {
    let (start, step) = (u64::MAX >> 1, 100_000);
    let holes = |count: u64| {
        let at = |n: u64| start + n * step;
        Holes::new((0..count).map(|n| at(n)..at(n) + 65_536).collect()).unwrap()
    };
    let request = |count, size| UploadRequest {
        // Control characters take the most room in JSON.
        filename: "\u{1}".repeat(4096),
        size,
        modified: Some(time()),
        executable: Some(true),
        condition: Precondition::matches("e".repeat(64).parse().unwrap()),
        upload: Some("u".repeat(64).parse().unwrap()),
        durable: true,
        hash: HashKind::Blake3,
        base: Some("b".repeat(64).parse().unwrap()),
        holes: holes(count),
    };
    let most = MAX_UPLOAD_HOLES as u64;
    let token: crate::model::Token = "t".repeat(crate::model::MAX_TOKEN_BYTES).parse().unwrap();
    assert!(Request::Upload(request(most, Some(u64::MAX))).encode_with(Some(&token)).is_ok());
    assert!(request(most, Some(u64::MAX)).holes_fit());
    assert!(!request(most + 1, Some(u64::MAX)).holes_fit());
    assert!(!request(1, None).holes_fit());
    assert!(!request(1, Some(start + 65_535)).holes_fit());
    assert!(request(1, Some(start + 65_536)).holes_fit() && request(0, None).holes_fit());
    for wrong in ["[[5,5]]", "[[9,3]]", "[[0,9],[5,20]]", "[[0,9],[9,20]]", "[[20,30],[0,9]]", "7", "[[1]]", "[[0,-1]]"]
    {
        let json = format!(r#"{{"command":"upload","filename":"x","size":99,"holes":{wrong}}}"#);
        assert!(matches!(Request::decode(json.as_bytes()), Err(DecodeError::Malformed(_))), "{wrong}");
    }
}
