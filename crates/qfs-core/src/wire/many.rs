//! `download_many`: many small files on one stream (PROTOCOL §4.3).

use bytes::{Buf, Bytes, BytesMut};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::codec::{DecodeError, EncodeError, decode, decode_error, encode_onto};
use super::{FRAME_PREFIX_BYTES, MAX_FRAME_BYTES, MAX_SMALL_FILE_BYTES, RemoteError, StatusCode};
use crate::model::{Digest, keyed, null_is_false};

/// What a server says about one file, directly in front of its bytes. It has read and hashed the whole file by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FileRecord {
    /// [`StatusCode::OK`].
    pub code: StatusCode,
    /// Size of the file in bytes, and of the body that follows; at most [`MAX_SMALL_FILE_BYTES`].
    pub size: u64,
    /// Modification time of the file.
    pub modified: Timestamp,
    /// Digest of the file.
    #[serde(flatten, serialize_with = "keyed::write")]
    pub digest: Digest,
    /// Whether the file may be executed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// What an answer says about one file: its record and bytes, or an error.
pub type FileAnswer = Result<(FileRecord, Bytes), RemoteError>;

/// Appends the frame of `record` to `out`. The body follows it.
///
/// # Errors
/// [`EncodeError`] cannot happen: no record comes near the length of a frame.
pub fn put_record(out: &mut BytesMut, record: &FileRecord) -> Result<(), EncodeError> {
    encode_onto(out, record)
}

/// Appends the record of a file that is not delivered.
///
/// # Errors
/// [`EncodeError`] when the message does not fit a frame.
pub fn put_refusal(out: &mut BytesMut, error: &RemoteError) -> Result<(), EncodeError> {
    encode_onto(out, error)
}

/// Takes the first record and its body off `buffer`. Returns None, and leaves `buffer` as it was, when they are not
/// complete yet.
///
/// # Errors
/// [`DecodeError::Malformed`] for anything that no record starts with. Nothing after it can be read then either.
pub fn take_record(buffer: &mut Bytes) -> Result<Option<FileAnswer>, DecodeError> {
    let Some(prefix) = buffer.get(..FRAME_PREFIX_BYTES) else { return Ok(None) };
    let length = prefix.iter().fold(0usize, |n, byte| n << 8 | usize::from(*byte));
    if !(1..=MAX_FRAME_BYTES).contains(&length) {
        return Err(DecodeError::Malformed(format!("a record of {length} bytes")));
    }
    let head = FRAME_PREFIX_BYTES + length;
    let Some(payload) = buffer.get(FRAME_PREFIX_BYTES..head) else { return Ok(None) };
    let raw: RawRecord = decode(payload)?;
    if raw.code != StatusCode::OK {
        let refusal = decode_error(payload)?;
        buffer.advance(head);
        return Ok(Some(Err(refusal)));
    }
    let (Some(size), Some(modified), Some(digest)) = (raw.size, raw.modified, keyed::either(raw.sha256, raw.blake3))
    else {
        return Err(DecodeError::Malformed("a record without size, modified or digest".to_owned()));
    };
    // This is checked before anything waits for so many bytes or allocates memory for them.
    let body = usize::try_from(size).ok().filter(|_| size <= MAX_SMALL_FILE_BYTES);
    let body = body.ok_or_else(|| DecodeError::Malformed(format!("a small file of {size} bytes")))?;
    if buffer.len() < head + body {
        return Ok(None);
    }
    buffer.advance(head);
    let record = FileRecord { code: raw.code, size, modified, digest, executable: raw.executable };
    Ok(Some(Ok((record, buffer.split_to(body)))))
}

/// A record of either kind. It is read in one pass, because there are many of them.
#[derive(Deserialize)]
struct RawRecord {
    code: StatusCode,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    modified: Option<Timestamp>,
    #[serde(default)]
    sha256: Option<Digest>,
    #[serde(default, deserialize_with = "keyed::blake3")]
    blake3: Option<Digest>,
    #[serde(default, deserialize_with = "null_is_false")]
    executable: bool,
}

/// Longest record with its body, in bytes.
pub const MAX_RECORD_BYTES: usize = FRAME_PREFIX_BYTES + MAX_FRAME_BYTES + MAX_SMALL_FILE_BYTES as usize;

/// The most bytes that a name takes in a request, its quotes and comma included.
#[must_use]
pub fn name_bytes(name: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    3 + name.bytes().map(escaped).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::HashKind;
    use crate::wire::{DownloadManyRequest, Request, frame};

    fn record(body: &[u8]) -> FileRecord {
        FileRecord {
            code: StatusCode::OK,
            size: body.len() as u64,
            modified: "2026-11-23T08:00:00.5Z".parse().unwrap(),
            digest: Digest::of(body),
            executable: false,
        }
    }

    // The byte example of PROTOCOL §4.3.
    #[test]
    fn golden_answer() {
        let mut out = BytesMut::new();
        put_record(&mut out, &record(b"abc")).unwrap();
        out.extend_from_slice(b"abc");
        put_refusal(&mut out, &RemoteError::new(StatusCode::NOT_FOUND, "no such file")).unwrap();
        let mut golden = vec![0, 0, 0, 0x83];
        golden.extend_from_slice(br#"{"code":0,"size":3,"modified":"2026-11-23T08:00:00.5Z","sha256":"#);
        golden.extend_from_slice(br#""ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}abc"#);
        golden.extend_from_slice(&[0, 0, 0, 0x23]);
        golden.extend_from_slice(br#"{"code":3,"message":"no such file"}"#);
        assert_eq!(out, golden);
        let mut bytes = out.freeze();
        let (first, body) = take_record(&mut bytes).unwrap().unwrap().unwrap();
        assert_eq!((first, &body[..]), (record(b"abc"), &b"abc"[..]));
        let refusal = take_record(&mut bytes).unwrap().unwrap().unwrap_err();
        assert_eq!((refusal.code, bytes.len()), (StatusCode::NOT_FOUND, 0));
    }

    // The byte example of PROTOCOL §4.3 for a file that may be executed.
    #[test]
    fn golden_record_of_a_file_that_may_be_executed() {
        let mut out = BytesMut::new();
        let script = FileRecord { executable: true, ..record(b"abc") };
        put_record(&mut out, &script).unwrap();
        let mut golden = vec![0, 0, 0, 0x95];
        golden.extend_from_slice(br#"{"code":0,"size":3,"modified":"2026-11-23T08:00:00.5Z","sha256":"#);
        golden.extend_from_slice(
            br#""ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","executable":true}"#,
        );
        assert_eq!(out, golden);
        out.extend_from_slice(b"abc");
        let (read, _) = take_record(&mut out.freeze()).unwrap().unwrap().unwrap();
        assert_eq!(read, script);
    }

    #[test]
    fn golden_record_of_blake3() {
        let digest = Digest::of_kind(HashKind::Blake3, b"abc");
        let mut out = BytesMut::new();
        put_record(&mut out, &FileRecord { digest, ..record(b"abc") }).unwrap();
        let json = format!(r#"{{"code":0,"size":3,"modified":"2026-11-23T08:00:00.5Z","blake3":"{digest}"}}"#);
        assert_eq!(&out[4..], json.as_bytes());
        out.extend_from_slice(b"abc");
        let (read, _) = take_record(&mut out.freeze()).unwrap().unwrap().unwrap();
        assert_eq!(read.digest, digest);
    }

    // Fails when the length of a record or the size of a body is believed before it was checked.
    #[test]
    fn what_no_record_starts_with_is_refused_at_once() {
        let text = |json: &str| frame(json.as_bytes()).unwrap();
        let good = r#""modified":"2026-11-23T08:00:00Z","sha256""#;
        let digest = Digest::of(b"");
        for bytes in [
            Bytes::from_static(&[0; 4]),
            Bytes::from_static(&[0xff; 4]),
            Bytes::from_static(&[0, 1, 0, 1]),
            text("[]"),
            text("{}"),
            text(r#"{"code":0}"#),
            text(&format!(r#"{{"code":0,"size":262145,{good}:"{digest}"}}"#)),
            text(&format!(r#"{{"code":0,"size":-1,{good}:"{digest}"}}"#)),
            text(&format!(r#"{{"code":0,"size":1,{good}:"12"}}"#)),
            text(&format!(r#"{{"code":0,"size":1,{good}:null}}"#)),
        ] {
            assert!(matches!(take_record(&mut bytes.clone()), Err(DecodeError::Malformed(_))), "{bytes:?}");
        }
    }

    proptest! {
        // Fails when the size of a name is counted too low, so that a request does not fit although it was expected to.
        #[test]
        fn a_name_takes_no_more_than_is_counted(names in proptest::collection::vec(any::<String>(), 1..20)) {
            let counted: usize = names.iter().map(|name| name_bytes(name)).sum();
            let request = Request::DownloadMany(DownloadManyRequest { files: names, priority: i32::MIN, hash: HashKind::Blake3 });
            prop_assert!(request.encode().unwrap().len() <= counted + DownloadManyRequest::FRAME_BYTES);
        }

        // Fails when an incomplete record is taken, or a complete one is not.
        #[test]
        fn records_survive_any_cut(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut out = BytesMut::new();
            for body in &bodies {
                put_record(&mut out, &record(body)).unwrap();
                out.extend_from_slice(body);
            }
            let all = out.freeze();
            let cut = cut.index(all.len() + 1);
            let mut taken = Vec::new();
            let mut near = all.slice(..cut);
            while let Some(answer) = take_record(&mut near).unwrap() {
                taken.push(answer.unwrap().1.to_vec());
            }
            let mut rest = Bytes::from([&near[..], &all[cut..]].concat());
            while let Some(answer) = take_record(&mut rest).unwrap() {
                taken.push(answer.unwrap().1.to_vec());
            }
            prop_assert_eq!(taken, bodies);
            prop_assert!(rest.is_empty());
        }
    }
}
