//! The requests of PROTOCOL §4, byte by byte, and what is none.

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
    let nulls = br#"{"command":"download","filename":"a","range":null,"if_match":null,"live":null,"priority":null}"#;
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
