//! The HTTP door: what it answers over HTTP/1.1, byte by byte. Other versions carry the same answers; see `http_versions.rs`.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::io::Read;

use support::http::{ask, get, raw};
use support::{Rig, Tree, noise};

/// Larger than a few blocks, and no multiple of one.
const LARGE: usize = 1_300_001;

async fn rig() -> (Rig, Vec<u8>) {
    let tree = Tree::new();
    let large = noise(LARGE);
    tree.write("large.bin", &large);
    tree.write("hello.txt", b"hello");
    tree.write("empty", b"");
    tree.write("sub/a b.txt", b"a");
    tree.write("sub/deep/c.txt", b"c");
    std::fs::create_dir(tree.path().join("sub/void")).unwrap();
    let rig = Rig::start(tree, |_| {});
    // Files are taken for settled when the clock has moved on from their times.
    while get(rig.address, "/empty", &[]).await.header("etag").starts_with('W') {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    (rig, large)
}

#[tokio::test]
async fn a_file_comes_whole_with_all_that_is_known_of_it() {
    let (rig, large) = rig().await;
    let answer = get(rig.address, "/large.bin", &[]).await;
    assert_eq!((answer.status, answer.body == large), (200, true));
    assert_eq!(answer.header("content-length"), LARGE.to_string());
    assert_eq!(answer.header("accept-ranges"), "bytes");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(answer.header("content-security-policy").starts_with("sandbox;"));
    assert!(answer.header("content-disposition").starts_with("attachment;"));
    assert!(answer.header("alt-svc").contains(&format!("h3=\":{}\"", rig.address.port())));
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let hello = get(rig.address, "/hello.txt", &[]).await;
    assert_eq!((hello.text().as_str(), hello.header("content-type")), ("hello", "text/plain; charset=utf-8"));
    assert_eq!(hello.header("repr-digest"), "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:");
    let head = ask(rig.address, "HEAD", "/large.bin", &[], "").await;
    assert_eq!(
        (head.status, head.body.len(), head.header("content-length")),
        (200, 0, answer.header("content-length"))
    );
    assert_eq!(get(rig.address, "/empty", &[]).await.body, b"");
    assert_eq!(get(rig.address, "/sub/a%20b.txt", &[]).await.text(), "a");
}

#[tokio::test]
async fn a_digest_is_made_for_who_wants_it() {
    let (rig, _) = rig().await;
    assert_eq!(ask(rig.address, "HEAD", "/large.bin", &[], "").await.header("repr-digest"), "");
    let wanted = ask(rig.address, "HEAD", "/large.bin", &["Want-Repr-Digest: sha-256=10"], "").await;
    assert!(wanted.header("repr-digest").starts_with("sha-256=:"), "{wanted:?}");
}

#[tokio::test]
async fn parts_are_what_was_asked_for() {
    let (rig, large) = rig().await;
    let part = |range: &str| {
        let line = format!("Range: bytes={range}");
        async move { get(rig.address, "/large.bin", &[&line]).await }
    };
    for (range, from, to) in
        [("0-0", 0, 1), ("262143-262144", 262_143, 262_145), ("1000000-", 1_000_000, LARGE), ("-7", LARGE - 7, LARGE)]
    {
        let answer = part(range).await;
        assert_eq!((answer.status, answer.body == large[from..to]), (206, true), "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {from}-{}/{LARGE}", to - 1));
        assert_eq!(answer.header("content-length"), (to - from).to_string());
    }
    let answer = part("0-4,600000-900000,-3").await;
    assert_eq!((answer.status, answer.body.len()), (206, answer.header("content-length").parse().unwrap()));
    let boundary = answer.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut expected = Vec::new();
    for (from, to) in [(0, 5), (600_000, 900_001), (LARGE - 3, LARGE)] {
        let lead = format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {from}-{}/{LARGE}\r\n\r\n",
            to - 1
        );
        expected.extend_from_slice(lead.as_bytes());
        expected.extend_from_slice(&large[from..to]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(answer.body == expected);
    let beyond = part("5000000-").await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, format!("bytes */{LARGE}").as_str()));
    let storm: Vec<_> = (0..1000).map(|n| format!("{n}-{n}")).collect();
    assert_eq!(part(&storm.join(",")).await.status, 416);
    assert_eq!(part("0-,0-,0-,0-").await.status, 416);
}

#[tokio::test]
async fn conditions_decide() {
    let (rig, large) = rig().await;
    let first = get(rig.address, "/large.bin", &[]).await;
    let (etag, modified) = (first.header("etag").to_owned(), first.header("last-modified").to_owned());
    let with = |lines: &[String]| {
        let lines = lines.to_vec();
        async move { get(rig.address, "/large.bin", &lines.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    let same = with(&[format!("If-None-Match: {etag}")]).await;
    assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, etag.as_str()));
    assert_eq!(with(&[format!("If-Modified-Since: {modified}")]).await.status, 304);
    assert_eq!(with(&["If-None-Match: \"other\"".into()]).await.status, 200);
    assert_eq!(with(&["If-Match: \"other\"".into()]).await.status, 412);
    let range = "Range: bytes=1-2".to_owned();
    assert_eq!(with(&[range.clone(), format!("If-Range: {etag}")]).await.status, 206);
    let other = with(&[range, "If-Range: \"other\"".into()]).await;
    assert_eq!((other.status, other.body == large), (200, true));
}

#[tokio::test]
async fn a_directory_has_a_page_a_list_and_an_archive() {
    let (rig, large) = rig().await;
    let away = get(rig.address, "/sub", &[]).await;
    assert_eq!((away.status, away.header("location")), (302, "/sub/"));
    let away = get(rig.address, "/sub?tar", &[]).await;
    assert_eq!((away.status, away.header("location")), (302, "/sub/?tar"));
    let list = get(rig.address, "/", &["Accept: application/json"]).await;
    let list: serde_json::Value = serde_json::from_slice(&list.body).unwrap();
    let names: Vec<_> = list.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["empty", "hello.txt", "large.bin", "sub"]);
    assert_eq!((&list[2]["size"], &list[3]["type"]), (&LARGE.into(), &"directory".into()));
    let found = get(rig.address, "/?q=.TXT", &["Accept: application/json"]).await.text();
    assert!(found.contains("sub/deep/c.txt") && found.contains("hello.txt") && !found.contains("large"), "{found}");
    let page = get(rig.address, "/", &["Accept: text/html"]).await;
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"));
    assert!(page.text().contains("href=\"./large.bin\"") && page.text().contains("href=\"./sub/\""));
    assert!(!page.text().contains("<style") && !page.text().contains(" style=") && !page.text().contains("onclick"));
    let index = get(rig.address, "/sub/", &[]).await.text();
    assert!(
        index.contains("href=\"./a%20b.txt\"")
            && index.contains("href=\"./deep/\"")
            && index.contains("href=\"./void/\""),
        "{index}"
    );
    // One in which nothing is, which shows that nothing below it is looked for.
    assert_eq!(get(rig.address, "/sub/void/", &["Accept: application/json"]).await.text(), "[]\n");
    let archive = get(rig.address, "/?tar", &[]).await;
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for entry in tar::Archive::new(&archive.body[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_dir() {
            directories.push(entry.path().unwrap().to_string_lossy().into_owned());
            continue;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.push((entry.path().unwrap().to_string_lossy().into_owned(), content));
    }
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["empty", "hello.txt", "large.bin", "sub/a b.txt", "sub/deep/c.txt"]);
    assert!(files[2].1 == large);
    assert_eq!(directories, ["sub/", "sub/deep/", "sub/void/"]);
    // One in which nothing is.
    let nothing = get(rig.address, "/sub/void/?tar", &[]).await;
    assert_eq!((nothing.status, tar::Archive::new(&nothing.body[..]).entries().unwrap().count()), (200, 0));
    for target in ["/none/", "/none/?tar", "/sub/none", "/hello.txt/"] {
        let answer = get(rig.address, target, &[]).await;
        assert_eq!((answer.status, answer.text().as_str()), (404, "not_found: no such file\n"), "{target}");
    }
}

/// Fails when a request is answered that programs on its way may take for one to somebody else (RFC 9112 §3.2).
#[tokio::test]
async fn a_request_names_one_host() {
    let (rig, _) = rig().await;
    for (version, hosts, status) in [
        ("1.1", "", "400"),
        ("1.1", "Host: a\r\n", "200"),
        ("1.1", "Host: a\r\nHost: a\r\n", "400"),
        ("1.1", "Host: a\r\nHost: b\r\n", "400"),
        ("1.0", "", "200"),
        ("1.0", "Host: a\r\nHost: b\r\n", "400"),
    ] {
        let request = format!("GET /hello.txt HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n");
        let answer = String::from_utf8(raw(rig.address, request.as_bytes()).await).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{request}{answer}");
        assert_eq!(answer.ends_with("\r\n\r\nhello"), status == "200", "{request}{answer}");
    }
}

/// Fails when a path is decoded twice, or leads out of the root.
#[tokio::test]
async fn paths_stay_inside() {
    let tree = Tree::new();
    tree.write("root/%2e%2e", b"percent");
    tree.write("secret", b"secret");
    let root = tree.path().join("root");
    std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
    std::fs::write(root.join(".hidden"), b"secret").unwrap();
    let rig = Rig::start_at(tree, "root", |_| {});
    assert_eq!(get(rig.address, "/%252e%252e", &[]).await.text(), "percent");
    for target in [
        "/../secret",
        "/%2e%2e/secret",
        "/%2e%2e%2fsecret",
        "/..%2fsecret",
        "/.%2e/secret",
        "//secret",
        "/%2fsecret",
        "/link",
        "/.hidden",
        "/%2ehidden",
        "/a/../../secret",
        "/..\\secret",
        "/..%5csecret",
        "/%00",
        "/secret%00",
        "/./secret",
        "/%c0%ae%c0%ae/secret",
        "/%u002e%u002e/secret",
        "/;/../secret",
        "/.qfs/../secret",
        "/.qfs/%2e%2e/secret",
    ] {
        let answer = get(rig.address, target, &[]).await;
        assert!(matches!(answer.status, 400 | 404), "{target}: {answer:?}");
        assert!(!answer.text().contains("secret"), "{target}");
    }
    for method in ["PUT", "DELETE", "POST", "PATCH", "TRACE", "PROPFIND", "BREW"] {
        assert_eq!(ask(rig.address, method, "/x", &[], "").await.status, 405, "{method}");
    }
}

/// Fails when a client is made to believe that a blend of two versions is a file.
#[tokio::test]
async fn a_file_that_changes_while_it_is_sent_does_not_end_well() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let tree = Tree::new();
    let length = 64 << 20;
    tree.write("f", &noise(length));
    let rig = Rig::start(tree, |_| {});
    let mut stream = support::http::connect(rig.address, &[b"http/1.1"]).await;
    stream.write_all(b"GET /f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut bytes = vec![0; 1 << 16];
    stream.read_exact(&mut bytes).await.unwrap();
    // More is to come than any buffer on the way holds.
    rig.tree.write("f", &noise(length + 1));
    let mut rest = Vec::new();
    let _ = support::soon(stream.read_to_end(&mut rest)).await;
    assert!(bytes.len() + rest.len() < length, "{}", rest.len());
}
