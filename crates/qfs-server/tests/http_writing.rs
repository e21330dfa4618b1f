//! Writing over HTTP/1.1: `PUT` and `DELETE`, their conditions and refusals. Uploads in several requests are in `http_resumable.rs`.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::path::Path;

use bytes::Bytes;
use qfs_server::gate::rights::Rights;
use qfs_server::gate::tokens::{Issue, Scope, TokenFile};
use qfs_server::{Gate, ServerConfig};
use support::http::{ask, connect, digest_field, get, raw, send};
use support::{Rig, Tree, noise, soon};

/// A server on which anybody may do everything.
fn open(tree: Tree, adjust: impl FnOnce(&mut ServerConfig)) -> Rig {
    Rig::start(tree, |config| {
        config.gate = Gate::open(Rights::ALL);
        adjust(config);
    })
}

/// Every file and link below `directory`, with what is in it.
fn all(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut stack = vec![directory.to_owned()];
    let mut found = Vec::new();
    while let Some(at) = stack.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(directory).unwrap().to_string_lossy().into_owned();
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_dir() {
                found.push((name + "/", Vec::new()));
                stack.push(path);
            } else if kind.is_symlink() {
                found.push((name, std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()));
            } else {
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn names(directory: &Path) -> Vec<String> {
    all(directory).into_iter().map(|(name, _)| name).collect()
}

/// Waits until the file's version can be told from any later one.
async fn settled(rig: &Rig, target: &str) -> String {
    loop {
        let etag = get(rig.address, target, &[]).await.header("etag").to_owned();
        if !etag.starts_with('W') {
            return etag;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_file_is_put_replaced_and_removed() {
    let rig = open(Tree::new(), |_| {});
    let large = noise(3_000_001);
    let made =
        send(rig.address, "PUT", "/new/deep/a%20b.bin", &["Last-Modified: Mon, 23 Nov 2026 08:09:24 GMT"], &large)
            .await;
    assert_eq!((made.status, made.body.len()), (201, 0), "{made:?}");
    assert!(made.header("repr-digest") == digest_field(&large) && !made.header("etag").is_empty());
    assert_eq!(made.header("last-modified"), "Mon, 23 Nov 2026 08:09:24 GMT");
    let path = rig.tree.path().join("new/deep/a b.bin");
    assert!(std::fs::read(&path).unwrap() == large);
    let read = get(rig.address, "/new/deep/a%20b.bin", &[]).await;
    assert_eq!((read.status, read.body == large), (200, true));
    assert_eq!(send(rig.address, "PUT", "/new/deep/a%20b.bin", &[], b"").await.status, 204);
    assert_eq!(std::fs::read(&path).unwrap(), b"");
    // Content whose length nobody said.
    let chunked = "PUT /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert!(raw(rig.address, chunked.as_bytes()).await.starts_with(b"HTTP/1.1 201"));
    assert_eq!(std::fs::read(rig.tree.path().join("c")).unwrap(), b"abcde");
    assert_eq!(ask(rig.address, "DELETE", "/c", &[], "").await.status, 204);
    assert_eq!(ask(rig.address, "DELETE", "/c", &[], "").await.status, 404);
    assert_eq!(ask(rig.address, "DELETE", "/new/deep/", &[], "").await.status, 409);
    assert_eq!(ask(rig.address, "DELETE", "/new/deep", &[], "").await.status, 404, "a directory ends in a slash");
    assert_eq!(ask(rig.address, "DELETE", "/new/deep/a%20b.bin", &[], "").await.status, 204);
    assert_eq!(ask(rig.address, "DELETE", "/new/deep/", &[], "").await.status, 204);
    assert_eq!(names(rig.tree.path()), ["new/"]);
    let options = ask(rig.address, "OPTIONS", "/x", &[], "").await;
    assert_eq!((options.status, options.header("accept-patch")), (204, "application/partial-upload"));
    assert_eq!(options.header("access-control-allow-origin"), "");
}

/// Fails when a change that was meant for one version is made to another.
#[tokio::test]
async fn conditions_are_kept() {
    let tree = Tree::new();
    tree.write("a", b"first");
    let rig = open(tree, |_| {});
    let content = || std::fs::read(rig.tree.path().join("a")).unwrap();
    let first = settled(&rig, "/a").await;
    let put = async |line: &str, content: &[u8]| send(rig.address, "PUT", "/a", &[line], content).await.status;
    assert_eq!(put("If-None-Match: *", b"x").await, 412);
    assert_eq!(put("If-Match: \"other\"", b"x").await, 412);
    assert_eq!(put("If-Unmodified-Since: Mon, 01 Jan 2001 00:00:00 GMT", b"x").await, 412);
    assert_eq!(content(), b"first");
    assert_eq!(put(&format!("If-Match: {first}"), b"second").await, 204);
    assert_eq!((put(&format!("If-Match: {first}"), b"x").await, content()), (412, b"second".to_vec()));
    let remove = async |line: &str| ask(rig.address, "DELETE", "/a", &[line], "").await.status;
    assert_eq!(remove(&format!("If-Match: {first}")).await, 412);
    assert_eq!(send(rig.address, "PUT", "/b", &["If-Match: *"], b"x").await.status, 412);
    assert_eq!(send(rig.address, "PUT", "/b", &["If-None-Match: *"], b"x").await.status, 201);
    let second = settled(&rig, "/a").await;
    assert_eq!(remove(&format!("If-Match: {second}")).await, 204);
    assert_eq!(names(rig.tree.path()), ["b"]);
}

/// Two that both saw the same version: one wins, the other is told.
#[tokio::test]
async fn of_two_replacements_one_is_told() {
    let tree = Tree::new();
    tree.write("a", b"first");
    let rig = open(tree, |_| {});
    let first = format!("If-Match: {}", settled(&rig, "/a").await);
    let lines = [first.as_str()];
    let (one, other) =
        tokio::join!(send(rig.address, "PUT", "/a", &lines, b"one"), send(rig.address, "PUT", "/a", &lines, b"other"),);
    let mut said = [one.status, other.status];
    said.sort_unstable();
    assert_eq!(said, [204, 412]);
    let winner = if one.status == 204 { b"one".to_vec() } else { b"other".to_vec() };
    assert_eq!(all(rig.tree.path()), [("a".to_owned(), winner)]);
}

/// Fails when content that is not what it was said to be gets a name, or leaves anything behind.
#[tokio::test]
async fn what_was_damaged_on_the_way_is_not_kept() {
    let rig = open(Tree::new(), |_| {});
    let content = noise(700_000);
    let good = digest_field(&content);
    let bad = digest_field(b"other");
    for (field, value) in [("Repr-Digest", &bad), ("Content-Digest", &bad)] {
        let answer = send(rig.address, "PUT", "/a", &[&format!("{field}: {value}")], &content).await;
        assert_eq!((answer.status, answer.text().starts_with("digest_mismatch")), (400, true), "{answer:?}");
    }
    assert_eq!(send(rig.address, "PUT", "/a", &["Repr-Digest: sha-256=:x:"], b"x").await.status, 400);
    let chunked = format!(
        "PUT /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nContent-Digest: {bad}\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    );
    assert!(raw(rig.address, chunked.as_bytes()).await.starts_with(b"HTTP/1.1 400"));
    // Less than was announced.
    let cut = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc";
    {
        use tokio::io::AsyncWriteExt;
        let mut stream = connect(rig.address, &[b"http/1.1"]).await;
        stream.write_all(cut).await.unwrap();
        stream.shutdown().await.unwrap();
    }
    let empty = async {
        while !names(rig.tree.path()).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    soon(empty).await;
    let lines = [format!("Repr-Digest: {good}"), format!("Content-Digest: {good}")];
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let answer = send(rig.address, "PUT", "/a", &lines, &content).await;
    assert_eq!((answer.status, answer.header("repr-digest")), (201, good.as_str()));
}

/// Fails when a server that publishes for reading writes anything, whatever it is asked.
#[tokio::test]
async fn a_read_only_server_writes_nothing() {
    let tree = Tree::new();
    tree.write("a", b"first");
    let rig = Rig::start(tree, |_| {});
    let before = all(rig.tree.path());
    let address = "/b?upload=00000000000000000000000000000000&length=3";
    for (method, target, lines) in [
        ("PUT", "/b", &[][..]),
        ("PUT", "/a", &[]),
        ("PUT", "/d/b", &["Upload-Complete: ?0", "Upload-Length: 3"]),
        ("POST", "/d/b", &["Upload-Complete: ?1"]),
        ("PATCH", address, &["Upload-Complete: ?1", "Upload-Offset: 0", "Content-Type: application/partial-upload"]),
        ("DELETE", address, &[]),
        ("DELETE", "/a", &[]),
        ("DELETE", "/d/", &[]),
        ("OPTIONS", "/a", &[]),
        ("MKCOL", "/d", &[]),
        ("MOVE", "/a", &["Destination: /b"]),
    ] {
        let answer = send(rig.address, method, target, lines, b"abc").await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"), "{method} {target}: {answer:?}");
    }
    assert_eq!(ask(rig.address, "HEAD", address, &[], "").await.status, 404);
    assert_eq!(all(rig.tree.path()), before);
}

#[tokio::test]
async fn what_is_not_taken_is_refused_and_nothing_stays() {
    let tree = Tree::new();
    tree.write("d/x", b"x");
    let rig = open(tree, |config| config.limits.max_upload = Some(1000));
    let before = all(rig.tree.path());
    let large = vec![0; 1001];
    let put =
        async |target: &str, lines: &[&str], content: &[u8]| send(rig.address, "PUT", target, lines, content).await;
    let refused = put("/a", &[], &large).await;
    assert_eq!((refused.status, refused.header("upload-limit")), (413, "max-size=1000"));
    let chunked = format!(
        "PUT /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n",
        "y".repeat(1001)
    );
    assert!(raw(rig.address, chunked.as_bytes()).await.starts_with(b"HTTP/1.1 507"));
    for (target, lines, status) in [
        ("/.hidden", &[][..], 403),
        ("/d/.hidden/x", &[], 403),
        ("/.x.qfs-part", &[], 403),
        ("/..", &[], 404),
        ("/d", &[], 409),
        ("/d/x/y", &[], 409),
        ("/d/", &[], 405),
        ("/", &[], 405),
        ("/.qfs/page.js", &[], 405),
        ("/a", &["Content-Range: bytes 0-0/1"], 400),
        ("/a", &["Content-Encoding: gzip"], 415),
        ("/a", &["Upload-Complete: ?0"], 411),
        ("/a", &["Upload-Complete: ?1", "Upload-Length: 7"], 400),
    ] {
        assert_eq!(put(target, lines, b"x").await.status, status, "{target} {lines:?}");
    }
    assert_eq!(ask(rig.address, "PROPFIND", "/", &[], "").await.status, 405);
    assert_eq!(all(rig.tree.path()), before);
    let full = open(Tree::new(), |config| config.limits.keep_free = Some(u64::MAX));
    assert_eq!(send(full.address, "PUT", "/a", &[], b"x").await.status, 507);
    assert!(names(full.tree.path()).is_empty());
}

#[tokio::test]
async fn a_token_changes_what_it_may() {
    let home = tempfile::tempdir().unwrap();
    let file = TokenFile::in_directory(home.path());
    let make = |rights: &str, scope: Option<&str>| {
        let scope = scope.map(|scope| Scope::parse(&[scope.to_owned()]).unwrap());
        let issue = Issue { can: Some(rights.parse().unwrap()), scope, ..Issue::default() };
        format!("Authorization: Bearer {}", file.create(issue).unwrap().0.reveal())
    };
    let (reads, writes, removes) = (make("read", None), make("write", Some("in")), make("read,delete", None));
    let tree = Tree::new();
    tree.write("out/x", b"x");
    let rig = Rig::start(tree, |config| config.gate = Gate::tokens(file.clone()).unwrap());
    let put = async |target: &str, token: &str| send(rig.address, "PUT", target, &[token], b"y").await.status;
    let remove = async |target: &str, token: &str| ask(rig.address, "DELETE", target, &[token], "").await.status;
    assert_eq!(send(rig.address, "PUT", "/in/a", &[], b"y").await.status, 401);
    assert_eq!(
        (put("/in/a", &reads).await, put("/out/a", &writes).await, put("/in/a", &removes).await),
        (403, 403, 403)
    );
    assert_eq!((put("/in/a", &writes).await, remove("/in/a", &writes).await), (201, 403));
    assert_eq!((remove("/out/x", &reads).await, remove("/out/x", &removes).await), (403, 204));
    // A cookie alone is what a browser sends because of any site.
    let token = writes.rsplit(' ').next().unwrap();
    let cookie = format!("Cookie: __Host-qfs-{}={token}", rig.address.port());
    let with = async |lines: &[&str]| send(rig.address, "PUT", "/in/b", lines, b"y").await.status;
    assert_eq!(with(&[&cookie]).await, 403);
    for line in
        ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example", "Origin: null"]
    {
        assert_eq!((with(&[&cookie, line]).await, with(&[&writes, line]).await), (403, 403), "{line}");
        for (method, target) in [("DELETE", "/in/a"), ("POST", "/in/b"), ("PATCH", "/in/b")] {
            assert_eq!(send(rig.address, method, target, &[&removes, line], b"").await.status, 403, "{method} {line}");
        }
    }
    assert_eq!(names(rig.tree.path()), ["in/", "in/a", "out/"]);
    assert_eq!(with(&[&cookie, "Sec-Fetch-Site: same-origin"]).await, 201);
}

/// Begins to put `/a` with `length` bytes; the rest is the caller's.
async fn begin(rig: &Rig, length: usize, line: &str) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    use tokio::io::AsyncWriteExt;
    let mut stream = connect(rig.address, &[b"http/1.1"]).await;
    let head = format!("PUT /a HTTP/1.1\r\nHost: x\r\n{line}Content-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Waits until a partial file is there that has something in it.
async fn written(rig: &Rig) {
    let some = async {
        while !all(rig.tree.path()).iter().any(|(name, content)| name.ends_with(".qfs-part") && !content.is_empty()) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    soon(some).await;
}

/// Fails when a server that ends cuts off who is still sending, or takes on new ones.
#[tokio::test]
async fn an_upload_under_way_ends_well_when_the_server_does() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut rig = open(Tree::new(), |_| {});
    let content = noise(2_000_000);
    let mut stream = begin(&rig, content.len(), "").await;
    stream.write_all(&content[..1_000_000]).await.unwrap();
    written(&rig).await;
    rig.stop();
    stream.write_all(&content[1_000_000..]).await.unwrap();
    let mut said = Vec::new();
    let _ = soon(stream.read_to_end(&mut said)).await;
    assert!(said.starts_with(b"HTTP/1.1 201"), "{}", String::from_utf8_lossy(&said));
    assert!(std::fs::read(rig.tree.path().join("a")).unwrap() == content);
    assert_eq!(rig.ended().await.cut, 0);
}

/// Fails when a token that was revoked goes on to the end of what it began.
#[tokio::test]
async fn a_token_that_is_revoked_ends_its_upload() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let home = tempfile::tempdir().unwrap();
    let file = TokenFile::in_directory(home.path());
    let issue = Issue { can: Some("write".parse().unwrap()), ..Issue::default() };
    let (token, record) = file.create(issue).unwrap();
    let rig = Rig::start(Tree::new(), |config| config.gate = Gate::tokens(file.clone()).unwrap());
    let mut stream = begin(&rig, 2_000_000, &format!("Authorization: Bearer {}\r\n", token.reveal())).await;
    stream.write_all(&noise(1_000_000)).await.unwrap();
    written(&rig).await;
    file.revoke(&[record.id]).unwrap();
    let mut said = Vec::new();
    let _ = soon(stream.read_to_end(&mut said)).await;
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&said));
    let gone = async {
        while !names(rig.tree.path()).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    soon(gone).await;
}

/// Names that lead outside, as a server of URLs may read them.
const CORPUS: &str = include_str!("../../qfs-testkit/corpus/paths.jsonl");

/// What lies outside.
const HIDDEN: &[u8] = b"hush-hush";

/// A name in a URL: every byte encoded, or all but slashes and letters.
fn encoded(name: &[u8], keep: &[u8]) -> String {
    name.iter()
        .map(|byte| if keep.contains(byte) { char::from(*byte).to_string() } else { format!("%{byte:02x}") })
        .collect()
}

/// Promise: the path corpus in URLs, encoded once and twice: 0 escapes, read, written or removed.
///
/// Fails when a path is decoded twice, or joined to the root as a string.
#[tokio::test]
async fn no_path_leads_outside() {
    let tree = Tree::new();
    for name in ["outside/secret", "secret", "root/in/file", "root/file"] {
        tree.write(name, if name.ends_with("secret") { HIDDEN } else { b"inside" });
    }
    let root = tree.path().join("root");
    for (link, target) in [("up", ".."), ("out", "../outside"), ("in/secret", "../../secret"), ("root", "/")] {
        std::os::unix::fs::symlink(target, root.join(link)).unwrap();
    }
    let rig = Rig::start_at(tree, "root", |config| config.gate = Gate::open(Rights::ALL));
    let outside = || {
        // Some of what is made inside is too deep to be looked at by its path.
        let mut beside: Vec<_> = std::fs::read_dir(rig.tree.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        beside.sort();
        (beside, all(&rig.tree.path().join("outside")), std::fs::read(rig.tree.path().join("secret")).unwrap())
    };
    let before = outside();
    let stream = connect(rig.address, &[b"h2"]).await;
    let (client, connection) = soon(h2::client::handshake(stream)).await.unwrap();
    tokio::spawn(connection);
    let names: Vec<String> = CORPUS.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(names.len() >= 500);
    let mut asked = 0;
    // As many at once as a connection carries well.
    for some in names.chunks(16) {
        let mut asking = tokio::task::JoinSet::new();
        for name in some {
            let (whole, plain) =
                (encoded(name.as_bytes(), b""), encoded(name.as_bytes(), b"/.abcdefghijklmnopqrstuvwxyz"));
            for path in [whole.clone(), plain.clone(), encoded(whole.as_bytes(), b""), plain.replace('%', "%25")] {
                asking.spawn(try_path(client.clone(), path));
            }
        }
        while let Some(tried) = asking.join_next().await {
            asked += tried.unwrap();
        }
    }
    assert!(asked > 3 * 4 * 400, "{asked}");
    assert_eq!(outside(), before, "something was written or removed outside");
}

/// Writes, reads and removes what is at `path`; how many requests that were. Nothing may come that is secret.
async fn try_path(client: h2::client::SendRequest<Bytes>, path: String) -> usize {
    let mut asked = 0;
    for method in ["PUT", "GET", "DELETE"] {
        let request = http::Request::builder().method(method).uri(format!("https://localhost/{path}"));
        let Ok(request) = request.body(()) else { continue };
        let mut client = soon(client.clone().ready()).await.unwrap();
        let (answer, mut body) = client.send_request(request, method != "PUT").unwrap();
        if method == "PUT" {
            // A request that was refused already takes nothing more.
            let _ = body.send_data(Bytes::from_static(b"written"), true);
        }
        let answer = soon(answer).await.unwrap();
        let (status, mut body, mut said) = (answer.status(), answer.into_body(), Vec::new());
        while let Some(part) = soon(body.data()).await {
            said.extend_from_slice(&part.unwrap());
        }
        assert!(!said.windows(HIDDEN.len()).any(|bytes| bytes == HIDDEN), "{method} {path}: {status}");
        asked += 1;
    }
    asked
}
