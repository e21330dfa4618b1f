//! Header fields of digests and uploads (RFC 9530, RFC 9651, draft-ietf-httpbis-resumable-upload): read and written. Pure.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue};
use qfs_core::model::Digest;

/// The digest of what a URL stands for (RFC 9530 §3).
pub(super) const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// The digest of the content of one message (RFC 9530 §2).
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// Whether an upload ends with this request.
pub(super) const UPLOAD_COMPLETE: HeaderName = HeaderName::from_static("upload-complete");

/// Where in the upload the content of a request belongs, or how much has arrived.
pub(super) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// Bytes of the whole.
pub(super) const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");

/// What is taken at most.
pub(super) const UPLOAD_LIMIT: HeaderName = HeaderName::from_static("upload-limit");

/// Which kinds of PATCH are understood (RFC 5789 §3.1).
pub(super) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// The kind of content that is put behind what has arrived.
pub(super) const PARTIAL_UPLOAD: &str = "application/partial-upload";

/// Most digits of an integer (RFC 9651 §3.3.1).
const MAX_DIGITS: usize = 15;

/// The only value of a field; None when there is none, or several, or it is no text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok().map(str::trim) }
}

/// A boolean item; None where there is no such field, or it has another value. Parameters mean nothing here.
pub(super) fn boolean(headers: &HeaderMap, name: &HeaderName) -> Option<bool> {
    match only(headers, name)?.split(';').next()?.trim() {
        "?1" => Some(true),
        "?0" => Some(false),
        _ => None,
    }
}

/// A boolean as it is written.
pub(super) fn truth(value: bool) -> HeaderValue {
    HeaderValue::from_static(if value { "?1" } else { "?0" })
}

/// An integer item that is not negative; None where there is no such field, or it has another value.
pub(super) fn integer(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let digits = only(headers, name)?.split(';').next()?.trim();
    let is_number = (1..=MAX_DIGITS).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
}

/// How many bytes a request says that it has: digits and nothing else (RFC 9110 §8.6).
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let digits = only(headers, &CONTENT_LENGTH)?;
    if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// The SHA-256 in a field of digests; others are not looked at (RFC 9530 §2).
///
/// # Errors
/// When it has one that is none.
pub(super) fn sha256(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Digest>, ()> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut members = values.flat_map(|value| value.split(',')).filter_map(|member| member.trim().split_once('='));
    let Some((_, value)) = members.find(|(algorithm, _)| *algorithm == "sha-256") else { return Ok(None) };
    let text = value.strip_prefix(':').and_then(|text| text.strip_suffix(':')).ok_or(())?;
    let bytes: [u8; 32] = from_base64(text).and_then(|bytes| bytes.try_into().ok()).ok_or(())?;
    Ok(Some(Digest::from_bytes(bytes)))
}

/// A digest as a field has it.
pub(super) fn digest(digest: &Digest) -> String {
    format!("sha-256=:{}:", base64(digest.as_bytes()))
}

/// Longest digest that is read, in characters.
const MAX_DIGEST_CHARS: usize = 4 * 64;

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// What [`base64()`] has written; None when it has not.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    if text.len() <= MAX_DIGEST_CHARS { BASE64_STANDARD.decode(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))])
    }

    #[test]
    fn digests_are_written_and_read_as_base64() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), text);
            assert_eq!(from_base64(text).as_deref(), Some(bytes.as_bytes()));
        }
        for text in ["Zg", "Zg=", "Zh==", "Z===", "Zm9v!A==", "Zg==Zg=="] {
            assert_eq!(from_base64(text), None, "{text}");
        }
        let known = Digest::of(b"x");
        let header = HeaderValue::from_str(&format!("sha-512=:AA==:, {}", digest(&known))).unwrap();
        let headers = HeaderMap::from_iter([(REPR_DIGEST, header)]);
        assert_eq!(sha256(&headers, &REPR_DIGEST), Ok(Some(known)));
        assert_eq!(sha256(&headers, &CONTENT_DIGEST), Ok(None));
        assert_eq!(sha256(&with(&REPR_DIGEST, "md5=:AA==:"), &REPR_DIGEST), Ok(None));
        for wrong in ["sha-256=abc", "sha-256=:AA==:", "sha-256=::", "sha-256=:"] {
            assert_eq!(sha256(&with(&REPR_DIGEST, wrong), &REPR_DIGEST), Err(()), "{wrong}");
        }
    }

    /// Fails when a value that is to be ignored counts.
    #[test]
    fn items_are_what_the_draft_says() {
        let said = |value| boolean(&with(&UPLOAD_COMPLETE, value), &UPLOAD_COMPLETE);
        assert_eq!((said("?1"), said("?0"), said(" ?1;a=b")), (Some(true), Some(false), Some(true)));
        assert_eq!((said("1"), said("true"), said("?2"), said("")), (None, None, None, None));
        let said = |value| integer(&with(&UPLOAD_OFFSET, value), &UPLOAD_OFFSET);
        assert_eq!((said("0"), said("999999999999999")), (Some(0), Some(999_999_999_999_999)));
        assert_eq!(
            (said("-1"), said("1.5"), said("1e3"), said("1000000000000000"), said("")),
            (None, None, None, None, None)
        );
        let said = |value| content_length(&with(&CONTENT_LENGTH, value));
        assert_eq!((said("12"), said("012")), (Some(12), Some(12)));
        assert_eq!((said("+12"), said("-1"), said("1 2"), said("")), (None, None, None, None));
        let mut twice = with(&UPLOAD_OFFSET, "1");
        twice.append(UPLOAD_OFFSET, HeaderValue::from_static("2"));
        assert_eq!(integer(&twice, &UPLOAD_OFFSET), None);
    }

    proptest::proptest! {
        #[test]
        fn no_value_panics(value in "[\\x20-\\x7e]{0,60}", text in "[A-Za-z0-9+/=]{0,50}") {
            for value in [value, format!("sha-256=:{text}:")] {
                let headers = HeaderMap::from_iter([(REPR_DIGEST, HeaderValue::from_str(&value).unwrap())]);
                let _ = (boolean(&headers, &REPR_DIGEST), integer(&headers, &REPR_DIGEST));
                if let Ok(Some(known)) = sha256(&headers, &REPR_DIGEST) {
                    // There is one way to write it.
                    proptest::prop_assert!(value.contains(&digest(&known)), "{}", value);
                }
            }
        }
    }
}
