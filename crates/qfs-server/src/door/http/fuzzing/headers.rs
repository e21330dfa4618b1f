//! The fields of a request.

use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, COOKIE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, ORIGIN, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use qfs_core::store::{Condition, ObjectMeta};

use crate::door::http::condition::{Outcome, Validators, of_change};
use crate::door::http::credential::{is_same_site, may_change, set_cookie, shown};
use crate::door::http::fields::{
    CONTENT_DIGEST, REPR_DIGEST, UPLOAD_COMPLETE, UPLOAD_LENGTH, UPLOAD_OFFSET, boolean, content_length, digest,
    integer, sha256, truth,
};
use crate::door::http::file::wants_sha256;
use crate::door::http::reply::Form;

/// Most fields of one input.
const MAX_FIELDS: usize = 64;

/// Fields, one a line: a name, a colon, a value. What is none is left out.
fn fields(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|b| *b == b'\n').take(MAX_FIELDS) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), value) {
            headers.append(name, value);
        }
    }
    headers
}

fn one(name: HeaderName, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(name, HeaderValue::try_from(value).expect("it is a value"))])
}

fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
}

/// Whether a version may have changed lately (1 byte), its time (8) and fields. A version is recognised by its own validators, a change
/// is made to this version or to nothing, and a tag that may be that of two versions never stands for one.
pub fn http_condition(data: &[u8]) {
    let Some(([young, seconds @ ..], lines)) = data.split_first_chunk::<9>() else { return };
    let modified = Timestamp::from_second(i64::from_be_bytes(*seconds)).unwrap_or_default();
    let etag = "v1".parse().expect("it is an etag");
    let meta = ObjectMeta { size: 5, modified, etag, unsettled: young & 1 == 1, executable: false };
    let (headers, validators) = (fields(lines), Validators::of(&meta));
    assert_eq!(validators.judge(&one(IF_NONE_MATCH, &validators.etag)), Outcome::NotModified);
    assert_eq!(validators.judge(&one(IF_MODIFIED_SINCE, &validators.last_modified)), Outcome::NotModified);
    let strong = validators.judge(&one(IF_MATCH, &validators.etag)) == Outcome::Proceed;
    assert_eq!(strong, !meta.unsettled);

    let (outcome, change) = (validators.judge(&headers), of_change(&headers, Some(&meta)));
    if outcome == Outcome::Failed {
        assert_eq!(change, None, "what cannot be read under a condition cannot be changed under it");
    }
    match &change {
        Some(Condition::Matches(etag)) => assert_eq!(*etag, meta.etag),
        Some(Condition::Any) => assert!(!headers.contains_key(IF_MATCH) && !headers.contains_key(IF_NONE_MATCH)),
        other => assert_eq!(*other, None, "there is something"),
    }
    let names_all = texts(&headers, &IF_MATCH).any(|value| value.split(',').any(|tag| tag.trim() == "*"));
    if meta.unsettled && headers.contains_key(IF_MATCH) && !names_all {
        assert_eq!((outcome, change), (Outcome::Failed, None));
    }
    match of_change(&headers, None) {
        None => assert!(headers.contains_key(IF_MATCH)),
        Some(Condition::Matches(etag)) => panic!("there is nothing of the version {etag}"),
        Some(Condition::Any) => assert!(!headers.contains_key(IF_NONE_MATCH)),
        Some(Condition::Absent) => {}
    }
    if let Some(range) = validators.range(&headers) {
        assert_eq!(headers.get(RANGE).and_then(|value| value.to_str().ok()), Some(range));
        assert!(!headers.contains_key(IF_RANGE) || !meta.unsettled);
    }
}

/// Fields of digests and uploads, and what decides the form of an answer. What is understood is written in one way, which reads back as
/// the same.
pub fn http_fields(data: &[u8]) {
    let headers = fields(data);
    if let Some(complete) = boolean(&headers, &UPLOAD_COMPLETE) {
        let again = HeaderMap::from_iter([(UPLOAD_COMPLETE, truth(complete))]);
        assert_eq!(boolean(&again, &UPLOAD_COMPLETE), Some(complete));
    }
    for name in [UPLOAD_OFFSET, UPLOAD_LENGTH] {
        let Some(number) = integer(&headers, &name) else { continue };
        assert!(number < 1_000_000_000_000_000);
        assert_eq!(integer(&one(name.clone(), &number.to_string()), &name), Some(number));
    }
    if let Some(length) = content_length(&headers) {
        let said: Vec<_> = texts(&headers, &CONTENT_LENGTH).map(str::trim).collect();
        assert!(said.len() == 1 && said[0].bytes().all(|b| b.is_ascii_digit()), "{said:?}");
        assert_eq!(said[0].trim_start_matches('0').parse().unwrap_or(0), length);
    }
    for name in [REPR_DIGEST, CONTENT_DIGEST] {
        let Ok(Some(known)) = sha256(&headers, &name) else { continue };
        let written = digest(&known);
        // There is one way to write it.
        assert!(texts(&headers, &name).any(|value| value.contains(&written)));
        assert_eq!(sha256(&one(name.clone(), &written), &name), Ok(Some(known)));
    }
    let accept = headers.get(ACCEPT);
    let said = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
    match Form::of_accept(accept) {
        Form::Html => assert!(said.contains("html")),
        Form::Json => assert!(said.contains("application/json")),
        Form::Text => {}
    }
    let wanted = headers.get("want-repr-digest").and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert!(!wants_sha256(wanted) || wanted.contains("sha-256"));
}

/// The port of a server (2 bytes) and fields. A token that is found is one that a cookie can hold, and is found in it again; a cookie alone
/// changes nothing; what a browser says is another site's is another site's.
pub fn http_credential(data: &[u8]) {
    let Some((port, lines)) = data.split_first_chunk() else { return };
    let (port, headers) = (u16::from_be_bytes(*port), fields(lines));
    let token = shown(&headers, port);
    if let Some(token) = &token {
        let cookie = set_cookie(Some(token), port);
        let (pair, marks) = cookie.split_once(';').expect("it has marks");
        assert_eq!(marks, " Path=/; Secure; HttpOnly; SameSite=Strict");
        assert_eq!(shown(&one(COOKIE, &format!("a=b; {pair}")), port).as_ref(), Some(token));
        assert_eq!(shown(&one(COOKIE, pair), port.wrapping_add(1)), None, "it is the cookie of another port");
        assert_eq!(shown(&one(AUTHORIZATION, &format!("Bearer {}", token.reveal())), port).as_ref(), Some(token));
    }
    let authority = headers.get("authority").and_then(|value| value.to_str().ok());
    let (site, may) = (is_same_site(&headers, authority), may_change(&headers, authority));
    match headers.get("sec-fetch-site").and_then(|value| value.to_str().ok()) {
        Some("same-origin" | "none") => assert!(site),
        Some(_) => assert!(!site && !may),
        None if site => assert!(texts(&headers, &ORIGIN).any(|origin| origin.starts_with("https://"))),
        None => {}
    }
    let is_browser = headers.contains_key("sec-fetch-site") || headers.contains_key(ORIGIN);
    if !is_browser && headers.contains_key(COOKIE) && !headers.contains_key(AUTHORIZATION) {
        assert!(!may);
    }
    if is_browser {
        assert_eq!(may, site);
    }
}
