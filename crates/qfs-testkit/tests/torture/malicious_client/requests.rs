//! What a client may send on one stream, and the status that must answer it.

use qfs_core::wire::{MAX_FRAME_BYTES, StatusCode, frame};

use crate::raw::download;

/// Requests and the status that each must have.
pub(super) fn requests() -> Vec<(&'static str, Vec<u8>, StatusCode)> {
    let framed = |json: &str| frame(json.as_bytes()).unwrap().to_vec();
    let file = |more: &str| framed(&format!(r#"{{"command":"download","filename":"small"{more}}}"#));
    let nested = |deep: usize| format!("{}{}", "[".repeat(deep), "]".repeat(deep));
    let length = |bytes: u32| bytes.to_be_bytes().to_vec();
    let bad = StatusCode::BAD_REQUEST;
    let mut requests = vec![
        ("an unknown command", framed(r#"{"command":"delete_everything"}"#), StatusCode::UNKNOWN_COMMAND),
        ("no command", framed(r#"{"filename":"small"}"#), bad),
        ("a command that is a number", framed(r#"{"command":1}"#), bad),
        ("no JSON", framed("GET / HTTP/1.1\r\n\r\n"), bad),
        ("a list", framed(r#"["download","small"]"#), bad),
        ("half an object", framed(r#"{"command":"download","#), bad),
        ("two objects", framed(r#"{"command":"get_files_list"}{}"#), bad),
        ("a frame one byte too long", length(MAX_FRAME_BYTES as u32 + 1), StatusCode::TOO_LARGE),
        ("a frame of 4 GiB", length(u32::MAX), StatusCode::TOO_LARGE),
        ("a frame of nothing", length(0), bad),
        ("nothing at all", Vec::new(), bad),
        ("half a length", vec![0, 0], bad),
        ("a frame cut off", [length(100), b"{\"command\"".to_vec()].concat(), bad),
        ("no UTF-8", frame(b"{\"command\":\"download\",\"filename\":\"\xff\xfe\"}").unwrap().to_vec(), bad),
        ("half a surrogate", framed(r#"{"command":"download","filename":"\ud800"}"#), bad),
        ("a byte order mark", framed("\u{feff}{\"command\":\"get_files_list\"}"), bad),
        ("deep JSON", framed(&nested(30_000)), bad),
        // Skipped without recursion: how deep it goes costs nothing.
        ("deep JSON in a field nobody knows", file(&format!(r#","x":{}"#, nested(30_000))), StatusCode::OK),
        ("a file named twice", file(r#","filename":"large""#), bad),
        ("a file name that is null", framed(r#"{"command":"download","filename":null}"#), bad),
        ("no file name", framed(r#"{"command":"download"}"#), bad),
        ("an inverted range", file(r#","range":{"start":1,"end":0}"#), StatusCode::BAD_RANGE),
        ("a range behind the end", file(r#","range":{"start":2}"#), StatusCode::BAD_RANGE),
        ("a huge range", file(r#","range":{"start":0,"end":18446744073709551615}"#), StatusCode::BAD_RANGE),
        ("a range beyond 64 bits", file(r#","range":{"start":0,"end":18446744073709551616}"#), bad),
        ("a negative range", file(r#","range":{"start":-1}"#), bad),
        ("a range of floats", file(r#","range":{"start":1e300}"#), bad),
        ("an etag that is none", file(r#","if_match":"../../etc/passwd""#), bad),
        ("an etag of another version", file(r#","if_match":"0123456789""#), StatusCode::CHANGED),
        ("the lowest priority", file(r#","priority":-2147483648"#), StatusCode::OK),
        ("the highest priority", file(r#","priority":2147483647"#), StatusCode::OK),
        ("a priority beyond 32 bits", file(r#","priority":2147483648"#), bad),
        ("a name as long as a frame", download(&"x/".repeat(30_000)), StatusCode::NOT_FOUND),
    ];
    for name in ["../small", "/etc/passwd", "", ".", "..", "small/", "small\0", r"..\small", "%2e%2e/small", "small\n"]
    {
        requests.push(("a name that is none", download(name), StatusCode::NOT_FOUND));
    }
    requests
}
