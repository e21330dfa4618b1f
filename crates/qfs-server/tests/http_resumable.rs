//! Uploads in several requests (draft-ietf-httpbis-resumable-upload), over HTTP/1.1, 2 and 3, by a client that is cut off.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use qfs_core::model::Digest;
use qfs_server::Gate;
use qfs_server::gate::rights::Rights;
use quinn::crypto::rustls::QuicClientConfig;
use support::http::{Answer, ask, connect, digest_field, get, parse, raw, send};
use support::{Rig, Tree, noise, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SIZE: usize = 9_000_001;

fn open(tree: Tree) -> Rig {
    Rig::start(tree, |config| config.gate = Gate::open(Rights::ALL))
}

/// Begins an upload without content; where it is to be found.
async fn begin(address: SocketAddr, name: &str, length: usize, lines: &[&str]) -> String {
    let length = format!("Upload-Length: {length}");
    let lines: Vec<_> = ["Upload-Complete: ?0", &length].iter().chain(lines).copied().collect();
    let answer = send(address, "POST", name, &lines, b"").await;
    let state = (answer.status, answer.header("upload-offset"), answer.header("upload-complete"));
    assert_eq!(state, (201, "0", "?0"), "{answer:?}");
    assert_eq!(answer.header("upload-limit"), "min-size=0");
    answer.header("location").to_owned()
}

async fn state(address: SocketAddr, upload: &str) -> Answer {
    ask(address, "HEAD", upload, &[], "").await
}

async fn offset(address: SocketAddr, upload: &str) -> usize {
    let answer = state(address, upload).await;
    let said = (answer.status, answer.header("upload-complete"), answer.header("cache-control"));
    assert_eq!(said, (204, "?0", "no-store"), "{answer:?}");
    answer.header("upload-offset").parse().unwrap()
}

/// Continues with `content` from `offset` on.
async fn append(address: SocketAddr, upload: &str, offset: usize, complete: bool, content: &[u8]) -> Answer {
    let lines = [
        "Content-Type: application/partial-upload",
        &format!("Upload-Offset: {offset}"),
        &format!("Upload-Complete: ?{}", u8::from(complete)),
    ];
    send(address, "PATCH", upload, &lines, content).await
}

/// As [`append`], cut off when some of it was sent. Returns when the server has taken note of that.
async fn append_and_break(address: SocketAddr, upload: &str, offset: usize, content: &[u8], sent: usize) {
    let mut stream = connect(address, &[b"http/1.1"]).await;
    let head = format!(
        "PATCH {upload} HTTP/1.1\r\nHost: x\r\nContent-Type: application/partial-upload\r\nUpload-Offset: {offset}\r\n\
         Upload-Complete: ?1\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&content[..sent]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut nothing = Vec::new();
    let _ = soon(stream.read_to_end(&mut nothing)).await;
    assert!(nothing.is_empty() || parse(&nothing).status >= 400);
}

/// The sizes of the files that are not whole yet.
fn partial_files(rig: &Rig) -> Vec<u64> {
    let entries = std::fs::read_dir(rig.tree.path()).unwrap().map(Result::unwrap);
    let partial = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".qfs-part"));
    // One that is gone by now is none.
    partial.filter_map(|entry| Some(entry.metadata().ok()?.len())).collect()
}

/// Waits until some of an upload has been written.
async fn written(rig: &Rig) {
    let some = async {
        while !partial_files(rig).iter().any(|size| *size > 0) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    soon(some).await;
}

#[tokio::test]
async fn an_upload_that_was_cut_goes_on() {
    let rig = open(Tree::new());
    let content = noise(SIZE);
    let upload = begin(rig.address, "/a%20b.bin", SIZE, &[]).await;
    assert!(upload.starts_with("/a%20b.bin?upload="), "{upload}");
    assert_eq!(offset(rig.address, &upload).await, 0);
    let mut at = 0;
    for sent in [3_000_000, 1, 2_500_000] {
        append_and_break(rig.address, &upload, at, &content[at..], sent).await;
        // Asking ends the one that hangs; what has come by then is written down.
        let next = offset(rig.address, &upload).await;
        assert!((at..=at + sent).contains(&next), "{at} {sent} {next}");
        assert_eq!(offset(rig.address, &upload).await, next, "it says the same again");
        at = next;
    }
    let wrong = append(rig.address, &upload, at + 1, true, &content[at + 1..]).await;
    assert_eq!((wrong.status, wrong.header("upload-offset")), (409, at.to_string().as_str()));
    let part = append(rig.address, &upload, at, false, &content[at..at + 1000]).await;
    let said = (part.status, part.header("upload-complete"), part.header("upload-offset"));
    assert_eq!(said, (204, "?0", (at + 1000).to_string().as_str()));
    at += 1000;
    assert!(!rig.tree.path().join("a b.bin").exists(), "nothing has its name before it is whole");
    let done = append(rig.address, &upload, at, true, &content[at..]).await;
    assert_eq!((done.status, done.header("upload-complete")), (201, "?1"), "{done:?}");
    assert_eq!(done.header("upload-offset"), SIZE.to_string());
    assert!(std::fs::read(rig.tree.path().join("a b.bin")).unwrap() == content);
    assert!(partial_files(&rig).is_empty());
    let after = state(rig.address, &upload).await;
    let said = (after.status, after.header("upload-complete"), after.header("upload-offset").to_owned());
    assert_eq!(said, (204, "?1", SIZE.to_string()));
    assert_eq!(append(rig.address, &upload, SIZE, true, b"").await.status, 400);
}

/// Fails when what a stopped server has of an upload is lost, or trusted unread.
#[tokio::test]
async fn it_goes_on_after_the_server_was_started_again() {
    let mut rig = open(Tree::new());
    let content = noise(SIZE);
    let digest = Digest::of(&content);
    let upload =
        begin(rig.address, "/a", SIZE, &["If-None-Match: *", "Last-Modified: Mon, 23 Nov 2026 08:09:24 GMT"]).await;
    let fresh = begin(rig.address, "/b", 10, &[]).await;
    assert_eq!(append(rig.address, &upload, 0, false, &content[..5_000_000]).await.status, 204);
    rig.stop();
    let Rig { tree, .. } = rig;
    let rig = open(tree);
    assert_eq!(state(rig.address, &fresh).await.status, 404, "nothing had come of it");
    assert_eq!(offset(rig.address, &upload).await, 5_000_000);
    let done = append(rig.address, &upload, 5_000_000, true, &content[5_000_000..]).await;
    assert_eq!((done.status, done.header("last-modified")), (201, "Mon, 23 Nov 2026 08:09:24 GMT"), "{done:?}");
    assert_eq!(Digest::of(&std::fs::read(rig.tree.path().join("a")).unwrap()), digest);
}

#[tokio::test]
async fn it_is_given_up_or_refused_without_a_trace() {
    let rig = open(Tree::new());
    let content = noise(300_000);
    let upload = begin(rig.address, "/a", content.len(), &[]).await;
    assert_eq!(append(rig.address, &upload, 0, false, &content[..200_000]).await.status, 204);
    assert_eq!(ask(rig.address, "DELETE", &upload, &[], "").await.status, 204);
    assert_eq!((partial_files(&rig).len(), state(rig.address, &upload).await.status), (0, 404));
    assert_eq!(append(rig.address, &upload, 0, true, &content).await.status, 404);
    for target in ["/a?upload=1", "/a?upload=00000000000000000000000000000000&length=9", "/a?upload"] {
        assert_eq!(state(rig.address, target).await.status, 404, "{target}");
    }
    // Somebody else's file came under its name meanwhile.
    let upload = begin(rig.address, "/a", content.len(), &["If-None-Match: *"]).await;
    assert_eq!(append(rig.address, &upload, 0, false, &content[..10]).await.status, 204);
    assert_eq!(send(rig.address, "PUT", "/a", &[], b"other").await.status, 201);
    assert_eq!(append(rig.address, &upload, 10, true, &content[10..]).await.status, 412);
    // Lengths that contradict each other; a kind that is none of these.
    let upload = begin(rig.address, "/c", 100, &[]).await;
    assert_eq!(append(rig.address, &upload, 0, true, &content[..99]).await.status, 400);
    assert_eq!(append(rig.address, &upload, 0, false, &content[..101]).await.status, 400);
    assert_eq!(
        send(rig.address, "PATCH", &upload, &["Upload-Offset: 0", "Upload-Complete: ?1"], b"x").await.status,
        415
    );
    assert_eq!(std::fs::read(rig.tree.path().join("a")).unwrap(), b"other");
}

/// Fails when asking about an upload that never was makes directories for it.
#[tokio::test]
async fn an_upload_that_never_was_leaves_nothing_behind() {
    let rig = open(Tree::new());
    std::fs::create_dir_all(rig.tree.path().join("old/empty")).unwrap();
    for directory in ["new/deep", "old/empty/deeper", "old/empty"] {
        let upload = format!("/{directory}/x?upload=0123456789abcdef0123456789abcdef&length=9");
        assert_eq!(state(rig.address, &upload).await.status, 404);
        assert_eq!(append(rig.address, &upload, 0, true, b"123456789").await.status, 404);
        assert_eq!(ask(rig.address, "DELETE", &upload, &[], "").await.status, 404);
    }
    assert!(!rig.tree.path().join("new").exists());
    let left = std::fs::read_dir(rig.tree.path().join("old/empty")).unwrap();
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn digests_are_compared_for_a_part_and_for_the_whole() {
    let rig = open(Tree::new());
    let content = noise(100_000);
    let (whole, part, other) = (digest_field(&content), digest_field(&content[..60_000]), digest_field(b"other"));
    let upload = begin(rig.address, "/a", content.len(), &[&format!("Repr-Digest: {whole}")]).await;
    let with = async |offset: usize, complete: u8, digest: &str, content: &[u8]| {
        let lines = [
            "Content-Type: application/partial-upload",
            &format!("Upload-Offset: {offset}"),
            &format!("Upload-Complete: ?{complete}"),
            &format!("Content-Digest: {digest}"),
        ];
        send(rig.address, "PATCH", &upload, &lines, content).await
    };
    assert_eq!(with(0, 0, &other, &content[..60_000]).await.status, 400);
    assert_eq!(offset(rig.address, &upload).await, 0, "what is wrong is taken back");
    assert_eq!(with(0, 0, &part, &content[..60_000]).await.status, 204);
    assert_eq!(with(60_000, 0, &other, &content[60_000..70_000]).await.status, 400);
    assert_eq!(offset(rig.address, &upload).await, 60_000);
    let done = append(rig.address, &upload, 60_000, true, &content[60_000..]).await;
    assert_eq!((done.status, done.header("repr-digest")), (201, whole.as_str()));
    let upload = begin(rig.address, "/b", content.len(), &[&format!("Repr-Digest: {other}")]).await;
    let wrong = append(rig.address, &upload, 0, true, &content).await;
    assert_eq!((wrong.status, wrong.header("upload-complete")), (400, "?1"), "{wrong:?}");
    assert!(!rig.tree.path().join("b").exists() && partial_files(&rig).is_empty());
}

/// Sends `content` in one chunk, so that nothing but the fields say how long it is.
async fn send_chunked(address: SocketAddr, method: &str, target: &str, lines: &[&str], content: &str) -> Answer {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{lines}");
    let request = format!("{head}\r\n{:x}\r\n{content}\r\n0\r\n\r\n", content.len());
    parse(&raw(address, request.as_bytes()).await)
}

/// Fails when a file is published that is not as long as it was said to be, or nobody is told why it is not.
#[tokio::test]
async fn the_length_that_was_said_is_held_to() {
    let rig = open(Tree::new());
    for (content, status) in [("abc", 400), ("abcdefghi", 400), ("abcdefg", 201)] {
        let lines = ["Upload-Complete: ?1", "Upload-Length: 7"];
        let answer = send_chunked(rig.address, "PUT", "/a", &lines, content).await;
        assert_eq!((answer.status, rig.tree.path().join("a").exists()), (status, status == 201), "{content}");
    }
    let upload = begin(rig.address, "/b", 7, &[]).await;
    let lines = ["Content-Type: application/partial-upload", "Upload-Offset: 0", "Upload-Complete: ?1"];
    let short = send_chunked(rig.address, "PATCH", &upload, &lines, "abcde").await;
    assert_eq!((short.status, rig.tree.path().join("b").exists()), (400, false));
    let at = offset(rig.address, &upload).await;
    assert_eq!(append(rig.address, &upload, at, true, &b"abcdefg"[at..]).await.status, 201);
}

/// Fails when two requests for one upload write at the same time, or the earlier one holds up the later.
#[tokio::test]
async fn the_later_request_ends_the_earlier() {
    let rig = open(Tree::new());
    let content = noise(SIZE);
    let upload = begin(rig.address, "/a", SIZE, &[]).await;
    let mut hanging = connect(rig.address, &[b"http/1.1"]).await;
    let head = format!(
        "PATCH {upload} HTTP/1.1\r\nHost: x\r\nContent-Type: application/partial-upload\r\nUpload-Offset: 0\r\n\
         Upload-Complete: ?1\r\nContent-Length: {SIZE}\r\n\r\n"
    );
    hanging.write_all(head.as_bytes()).await.unwrap();
    hanging.write_all(&content[..1_000_000]).await.unwrap();
    written(&rig).await;
    let at = offset(rig.address, &upload).await;
    let mut rest = Vec::new();
    let _ = soon(hanging.read_to_end(&mut rest)).await;
    assert!(rest.is_empty() || parse(&rest).status != 201, "{}", String::from_utf8_lossy(&rest));
    assert_eq!(append(rig.address, &upload, at, true, &content[at..]).await.status, 201);
    assert!(std::fs::read(rig.tree.path().join("a")).unwrap() == content);
}

fn request(method: &str, target: &str, lines: &[(&str, &str)]) -> Request<()> {
    let request = Request::builder().method(method).uri(format!("https://localhost{target}"));
    lines.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
}

async fn h2_send(client: &h2::client::SendRequest<Bytes>, asked: Request<()>, content: &[u8]) -> http::Response<()> {
    let mut client = soon(client.clone().ready()).await.unwrap();
    let (answer, mut body) = client.send_request(asked, content.is_empty()).unwrap();
    if !content.is_empty() {
        body.send_data(Bytes::copy_from_slice(content), true).unwrap();
    }
    soon(answer).await.unwrap().map(drop)
}

#[tokio::test]
async fn http_2_puts_continues_and_removes() {
    let rig = open(Tree::new());
    let content = noise(2_000_000);
    let stream = connect(rig.address, &[b"h2"]).await;
    let (client, connection) = soon(h2::client::handshake(stream)).await.unwrap();
    tokio::spawn(connection);
    let put = h2_send(&client, request("PUT", "/d/a", &[]), &content).await;
    assert_eq!(put.status(), 201);
    assert!(std::fs::read(rig.tree.path().join("d/a")).unwrap() == content);
    let length = content.len().to_string();
    let begun =
        h2_send(&client, request("PUT", "/b", &[("upload-complete", "?0"), ("upload-length", &length)]), b"").await;
    let upload = begun.headers()["location"].to_str().unwrap().to_owned();
    // A stream that is reset in the middle.
    let kind = ("content-type", "application/partial-upload");
    let first = request("PATCH", &upload, &[kind, ("upload-offset", "0"), ("upload-complete", "?1")]);
    let (_, mut body) = soon(client.clone().ready()).await.unwrap().send_request(first, false).unwrap();
    body.send_data(Bytes::copy_from_slice(&content[..700_000]), false).unwrap();
    written(&rig).await;
    body.send_reset(h2::Reason::CANCEL);
    let at = offset(rig.address, &upload).await;
    let rest = request("PATCH", &upload, &[kind, ("upload-offset", &at.to_string()), ("upload-complete", "?1")]);
    assert_eq!(h2_send(&client, rest, &content[at..]).await.status(), 201);
    assert!(std::fs::read(rig.tree.path().join("b")).unwrap() == content);
    assert_eq!(h2_send(&client, request("DELETE", "/b", &[]), b"").await.status(), 204);
    assert!(!rig.tree.path().join("b").exists());
}

/// HTTP/3 says before the answer where an upload is to be found, so that one that began as any other is continued.
#[tokio::test]
async fn http_3_tells_where_to_go_on() {
    let rig = open(Tree::new());
    let content = noise(2_000_000);
    let crypto = QuicClientConfig::try_from(support::http::tls(&[b"h3"])).unwrap();
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    let connecting = endpoint.connect_with(quinn::ClientConfig::new(Arc::new(crypto)), rig.address, "localhost");
    let connection = soon(connecting.unwrap()).await.unwrap();
    let (mut driver, mut client) = soon(h3::client::new(h3_quinn::Connection::new(connection))).await.unwrap();
    tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
    let length = content.len().to_string();
    let asked = request("PUT", "/a", &[("upload-complete", "?1"), ("content-length", &length)]);
    let mut stream = soon(client.send_request(asked)).await.unwrap();
    let interim = soon(stream.recv_response()).await.unwrap();
    assert_eq!(interim.status(), 104);
    let upload = interim.headers()["location"].to_str().unwrap().to_owned();
    soon(stream.send_data(Bytes::copy_from_slice(&content[..700_000]))).await.unwrap();
    written(&rig).await;
    stream.stop_stream(h3::error::Code::H3_REQUEST_CANCELLED);
    drop(stream);
    let at = offset(rig.address, &upload).await;
    let rest = request(
        "PATCH",
        &upload,
        &[
            ("content-type", "application/partial-upload"),
            ("upload-offset", &at.to_string()),
            ("upload-complete", "?1"),
        ],
    );
    let mut stream = soon(client.send_request(rest)).await.unwrap();
    soon(stream.send_data(Bytes::copy_from_slice(&content[at..]))).await.unwrap();
    soon(stream.finish()).await.unwrap();
    assert_eq!(soon(stream.recv_response()).await.unwrap().status(), 201);
    assert!(std::fs::read(rig.tree.path().join("a")).unwrap() == content);
    for (method, content, status) in [("PUT", &b"small"[..], 204), ("DELETE", b"", 204), ("DELETE", b"", 404)] {
        let mut stream = soon(client.send_request(request(method, "/a", &[]))).await.unwrap();
        if !content.is_empty() {
            soon(stream.send_data(Bytes::copy_from_slice(content))).await.unwrap();
        }
        soon(stream.finish()).await.unwrap();
        assert_eq!(soon(stream.recv_response()).await.unwrap().status(), status, "{method}");
    }
    assert_eq!(get(rig.address, "/a", &[]).await.status, 404);
}
