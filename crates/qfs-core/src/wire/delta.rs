//! `chunk_map` and `download_ranges` (PROTOCOL §4.8): what a version consists of, and several parts of it in one answer.

use serde::{Deserialize, Deserializer, Serialize};

use super::codec::{is_zero, null_is_absent};
use super::{MAX_RANGES, StatusCode};
use crate::model::{ETag, HashKind, Ranges};

/// Parameters of `chunk_map`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkMapRequest {
    /// The name as listed, as text as in [`DownloadRequest::filename`](super::DownloadRequest::filename).
    pub filename: String,
    /// Only this version is wanted. Any other is answered with `changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<ETag>,
    /// As [`DownloadRequest::priority`](super::DownloadRequest::priority).
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_is_absent")]
    pub priority: i32,
}

/// Head of an answer to `chunk_map`; the bytes of the map follow, and nothing behind them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkMapHead {
    /// [`StatusCode::OK`].
    pub code: StatusCode,
    /// Size of the file in bytes.
    pub size: u64,
    /// The version that the map is of.
    pub etag: ETag,
    /// Bytes of the map.
    pub length: u64,
}

/// Parameters of `download_ranges`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadRangesRequest {
    /// The name as listed, as text as in [`DownloadRequest::filename`](super::DownloadRequest::filename).
    pub filename: String,
    /// The version that is wanted. Any other is answered with `changed`.
    pub if_match: ETag,
    /// The parts wanted, at most [`MAX_RANGES`].
    #[serde(deserialize_with = "bounded_ranges")]
    pub ranges: Ranges,
    /// As [`DownloadRequest::priority`](super::DownloadRequest::priority).
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_is_absent")]
    pub priority: i32,
    /// The digest that is wanted. A server that does not know the field answers with SHA-256.
    #[serde(default, skip_serializing_if = "HashKind::is_default")]
    pub hash: HashKind,
}

/// The frame that they stand in is bounded, so that no more are read than fit it.
fn bounded_ranges<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ranges, D::Error> {
    let ranges = Ranges::deserialize(deserializer)?;
    if ranges.len() > MAX_RANGES {
        return Err(serde::de::Error::custom(format!("more than {MAX_RANGES} ranges")));
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeError, MAX_FRAME_BYTES, Request, decode_response, encode};
    use super::*;

    fn golden(request: &Request, json: &str) {
        let bytes = request.encode().unwrap();
        assert_eq!(bytes[..4], u32::try_from(json.len()).unwrap().to_be_bytes());
        assert_eq!(std::str::from_utf8(&bytes[4..]).unwrap(), json);
        assert_eq!(Request::decode(json.as_bytes()).unwrap(), *request);
    }

    fn ranges(count: u64, from: u64) -> Ranges {
        Ranges::new((0..count).map(|n| from + 2 * n..from + 2 * n + 1).collect()).unwrap()
    }

    // The byte examples of PROTOCOL §4.8.
    #[test]
    fn golden_requests() {
        golden(
            &Request::ChunkMap(ChunkMapRequest { filename: "x".into(), ..ChunkMapRequest::default() }),
            r#"{"command":"chunk_map","filename":"x"}"#,
        );
        golden(
            &Request::ChunkMap(ChunkMapRequest {
                filename: "x".into(),
                if_match: Some("v1".parse().unwrap()),
                priority: -3,
            }),
            r#"{"command":"chunk_map","filename":"x","if_match":"v1","priority":-3}"#,
        );
        golden(
            &Request::DownloadRanges(DownloadRangesRequest {
                filename: "x".into(),
                if_match: "v1".parse().unwrap(),
                ranges: Ranges::new(vec![0..4096, 10_000..20_000]).unwrap(),
                priority: 0,
                hash: HashKind::Sha256,
            }),
            r#"{"command":"download_ranges","filename":"x","if_match":"v1","ranges":[[0,4096],[10000,20000]]}"#,
        );
        golden(
            &Request::DownloadRanges(DownloadRangesRequest {
                filename: "x".into(),
                if_match: "v1".parse().unwrap(),
                ranges: Ranges::new(vec![0..1]).unwrap(),
                priority: 0,
                hash: HashKind::Blake3,
            }),
            r#"{"command":"download_ranges","filename":"x","if_match":"v1","ranges":[[0,1]],"hash":"blake3"}"#,
        );
    }

    #[test]
    fn golden_head() {
        let head = ChunkMapHead { code: StatusCode::OK, size: 20_000, etag: "0a1b".parse().unwrap(), length: 74 };
        let json = r#"{"code":0,"size":20000,"etag":"0a1b","length":74}"#;
        let bytes = encode(&head).unwrap();
        assert_eq!((&bytes[..4], &bytes[4..]), (&[0, 0, 0, 0x31][..], json.as_bytes()));
        assert_eq!(decode_response::<ChunkMapHead>(json.as_bytes()).unwrap().unwrap(), head);
    }

    // Fails when more ranges are read than a request may have, or disorder passes for ranges; or when a version need not be named.
    #[test]
    fn ranges_are_counted_and_in_order() {
        let request = |ranges: &str| {
            let text = format!(r#"{{"command":"download_ranges","filename":"x","if_match":"v1","ranges":{ranges}}}"#);
            Request::decode(text.as_bytes())
        };
        let text = |count| serde_json::to_string(&ranges(count, 0)).unwrap();
        assert!(request(&text(1)).is_ok() && request(&text(MAX_RANGES as u64)).is_ok());
        for wrong in
            [&text(MAX_RANGES as u64 + 1), "[]", "null", "{}", "[[1,1]]", "[[0,2],[2,3]]", "[[4,5],[0,1]]", "[1]"]
        {
            assert!(matches!(request(wrong), Err(DecodeError::Malformed(_))), "{wrong:.40}");
        }
        let unnamed = br#"{"command":"download_ranges","filename":"x","ranges":[[0,1]]}"#;
        assert!(matches!(Request::decode(unnamed), Err(DecodeError::Malformed(_))));
    }

    // Fails when a request for as many ranges as are allowed does not fit its frame, with a long name and a token, anywhere in the
    // largest file that has a map.
    #[test]
    fn the_most_ranges_fit() {
        let most = (1 << 47) - 2 * MAX_RANGES as u64;
        let request = DownloadRangesRequest {
            filename: "x".repeat(4096),
            if_match: "e".repeat(ETag::MAX_BYTES).parse().unwrap(),
            ranges: ranges(MAX_RANGES as u64, most),
            priority: i32::MIN,
            hash: HashKind::Blake3,
        };
        let token = "t".repeat(512).parse().unwrap();
        assert!(Request::DownloadRanges(request).encode_with(Some(&token)).unwrap().len() < MAX_FRAME_BYTES);
    }
}
