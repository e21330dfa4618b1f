//! The commands, spoken raw: what PROTOCOL §3 and §4 say about answers.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and makes the files it publishes"
)]

mod support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use qfs_core::body::Answer;
use qfs_core::model::{ByteRange, Digest};
use qfs_core::stream::ByteSink;
use qfs_core::wire::{
    DownloadRequest, MAX_MEASURE_BYTES, MeasureHead, StatusCode, decode_response, frame, take_record,
};
use qfs_transport::Source;
use support::{Failed, Rig, Tree, finish, head, narrow, noise, refusal, soon};

fn part(name: &str, start: u64, end: Option<u64>) -> DownloadRequest {
    DownloadRequest { filename: name.into(), range: Some(ByteRange { start, end }), ..DownloadRequest::default() }
}

#[tokio::test]
async fn files_of_all_sizes_arrive_whole() {
    let tree = Tree::new();
    let sizes = [0, 1, 15 << 10, 17 << 10, 262_143, 262_144, 262_145, 3_000_000];
    for size in sizes {
        tree.write(&format!("sub dir/ü {size}"), &noise(size));
    }
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    for size in sizes {
        let name = format!("sub dir/ü {size}");
        let got = client.get(&name).await.unwrap();
        assert_eq!((got.head.size, got.body == noise(size)), (size as u64, true), "{size}");
        assert_eq!(got.digest, Digest::of(&noise(size)));
        let again = client.get(&name).await.unwrap();
        assert_eq!(again.head.etag, got.head.etag);
    }
}

#[tokio::test]
async fn parts_are_exact_and_the_digest_is_of_the_whole() {
    let tree = Tree::new();
    let (small, large) = (noise(1000), noise(1_000_000));
    tree.write("small", &small);
    tree.write("large", &large);
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    for (name, content) in [("small", &small), ("large", &large)] {
        let size = content.len() as u64;
        for (start, end) in [(10, Some(20)), (size - 7, None), (0, Some(size)), (5, None), (size, None), (0, Some(0))] {
            let got = client.download(&part(name, start, end)).await.unwrap();
            let range = start as usize..end.unwrap_or(size) as usize;
            assert_eq!(got.head.range, ByteRange { start, end: Some(range.end as u64) });
            assert!(got.body == content[range], "{name} {start} {end:?}");
            assert_eq!(got.digest, Digest::of(content));
        }
        for (start, end) in [(size + 1, None), (0, Some(size + 1)), (9, Some(8)), (u64::MAX >> 1, None)] {
            let failed = client.download(&part(name, start, end)).await.unwrap_err();
            assert_eq!(failed.code(), Some(StatusCode::BAD_RANGE), "{name} {start} {end:?}");
        }
    }
}

#[tokio::test]
async fn a_probe_transfers_nothing_and_the_head_learns_the_digest() {
    let tree = Tree::new();
    tree.write("x", &noise(2_000_000));
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    let probe = client.download(&part("x", 0, Some(0))).await.unwrap();
    assert_eq!((probe.head.digest, probe.digest), (None, Digest::of(&noise(2_000_000))));
    let again = client.download(&part("x", 0, Some(0))).await.unwrap();
    assert_eq!(again.head.digest, Some(probe.digest));
}

#[tokio::test]
async fn if_match_is_checked_before_the_range() {
    let tree = Tree::new();
    tree.write("x", b"one");
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    let etag = client.get("x").await.unwrap().head.etag;
    let with = |start| DownloadRequest { if_match: Some(etag.clone()), ..part("x", start, None) };
    assert_eq!(client.download(&with(1)).await.unwrap().body, b"ne");
    assert_eq!(client.download(&with(4)).await.unwrap_err().code(), Some(StatusCode::BAD_RANGE));
    rig.tree.write("x", b"another");
    assert_eq!(client.download(&with(4)).await.unwrap_err().code(), Some(StatusCode::CHANGED));
}

/// Fails when: what is asked for live is shared with others, whose digest is remembered; a part or a version of it is served.
#[tokio::test]
async fn a_live_file_is_served_whole_as_it_was_when_it_was_opened() {
    let tree = Tree::new();
    for (name, size) in [("small", 3), ("empty", 0), ("large", 2_000_000)] {
        tree.write(name, &noise(size));
    }
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    for (name, size) in [("small", 3), ("empty", 0), ("large", 2_000_000)] {
        let live = DownloadRequest { filename: name.into(), live: true, ..DownloadRequest::default() };
        let got = client.download(&live).await.unwrap();
        assert!(got.head.live && got.head.digest.is_none());
        assert_eq!((got.body.len(), got.digest), (size, Digest::of(&noise(size))), "{name}");
        assert!(!client.get(name).await.unwrap().head.live);
        let range = DownloadRequest { range: part(name, 0, None).range, ..live.clone() };
        let version = DownloadRequest { if_match: Some(got.head.etag), ..live.clone() };
        for wrong in [range, version] {
            assert_eq!(client.download(&wrong).await.unwrap_err().code(), Some(StatusCode::BAD_REQUEST));
        }
    }
    let missing = DownloadRequest { filename: "nope".into(), live: true, ..DownloadRequest::default() };
    assert_eq!(client.download(&missing).await.unwrap_err().code(), Some(StatusCode::NOT_FOUND));
}

#[tokio::test]
async fn everything_unpublished_gets_the_same_answer() {
    let tree = Tree::new();
    tree.write("dir/file", b"x");
    tree.write(".hidden", b"x");
    tree.write("dir/.git/config", b"x");
    let fifo = tree.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    symlink("dir/file", tree.path().join("link")).unwrap();
    symlink("/etc", tree.path().join("etc")).unwrap();
    let locked = tree.write("locked", b"x");
    std::fs::set_permissions(locked, std::fs::Permissions::from_mode(0o000)).unwrap();
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    let missing = client.get("nope").await.unwrap_err();
    assert_eq!(missing.code(), Some(StatusCode::NOT_FOUND));
    let long = "x".repeat(300);
    let names = [
        "dir",
        "dir/",
        "fifo",
        "link",
        "etc/passwd",
        ".hidden",
        "dir/.git/config",
        "..",
        "../x",
        "/etc/passwd",
        "",
        "dir/../dir/file",
        "dir\\file",
        "a\0b",
        "dir/file/x",
        &long,
    ];
    for name in names {
        assert_eq!(client.get(name).await.unwrap_err(), missing, "{name:?}");
    }
    if !rustix::process::geteuid().is_root() {
        assert_eq!(client.get("locked").await.unwrap_err(), missing);
    }
    // The server names what it refuses as the client did, and never by its own path.
    assert!(matches!(missing, Failed::Head(_, message) if message == "no such file"));
}

#[tokio::test]
async fn a_listing_has_every_file_in_order() {
    let tree = Tree::new();
    for name in ["a0", "a/b", "a.txt", "a-b", "z/y/x", "10", "9"] {
        tree.write(name, name.as_bytes());
    }
    tree.write(".hidden", b"x");
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    let (rows, _) = client.list().await;
    let names: Vec<_> = rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["10", "9", "a-b", "a.txt", "a/b", "a0", "z/y/x"]);
    assert!(rows.iter().all(|(name, size)| name.len() as u64 == *size));
}

#[tokio::test]
async fn an_empty_root_has_an_empty_listing() {
    let rig = Rig::start(Tree::new(), |_| ());
    assert_eq!(rig.connect().await.list().await, (Vec::new(), 1));
}

#[tokio::test]
async fn a_long_listing_starts_early_and_comes_in_pages() {
    let tree = Tree::new();
    for n in 0..3000 {
        tree.write(&format!("{n:05}"), b"");
    }
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    let (rows, pages) = client.list().await;
    assert_eq!(rows.len(), 3000);
    assert!(pages >= 4, "{pages}");
    // A client that leaves in the middle takes nothing with it.
    for _ in 0..10 {
        let mut answer = client.ask(r#"{"command":"get_files_list"}"#).await;
        soon(answer.next_frame()).await.unwrap();
        answer.stop();
    }
    assert_eq!(client.list().await.0.len(), 3000);
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_served_ends_in_changed() {
    let tree = Tree::new();
    let path = tree.write("x", &noise(8_000_000));
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect_with(&narrow()).await;
    for change in [truncate, rewrite, append] {
        std::fs::write(&path, noise(8_000_000)).unwrap();
        let request = DownloadRequest { filename: "x".into(), ..DownloadRequest::default() };
        let mut answer = client.request(&request).await;
        let head = head(&mut answer).await.unwrap();
        change(&path);
        let failed = finish(answer, head).await.unwrap_err();
        assert_eq!(failed, Failed::Reset(StatusCode::CHANGED));
    }
    assert_eq!(client.get("x").await.unwrap().digest, Digest::of(&std::fs::read(&path).unwrap()));
}

fn truncate(path: &std::path::Path) {
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(10).unwrap();
}

fn rewrite(path: &std::path::Path) {
    use std::os::unix::fs::FileExt;
    std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(b"!", 7_999_999).unwrap();
}

fn append(path: &std::path::Path) {
    use std::io::Write;
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap();
}

#[tokio::test]
async fn many_streams_at_once_are_answered_each_on_its_own() {
    let tree = Tree::new();
    for n in 0..300 {
        tree.write(&format!("{n}"), format!("content {n}").as_bytes());
    }
    let rig = Rig::start(tree, |config| config.limits.commands_per_connection = 16);
    let client = std::sync::Arc::new(rig.connect().await);
    let tasks: Vec<_> = (0..300)
        .map(|n| {
            let client = std::sync::Arc::clone(&client);
            tokio::spawn(async move { (n, client.get(&n.to_string()).await.unwrap().body) })
        })
        .collect();
    for task in tasks {
        let (n, body) = task.await.unwrap();
        assert_eq!(body, format!("content {n}").into_bytes());
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_connection_survives() {
    let tree = Tree::new();
    tree.write("x", b"content");
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    let json = |text: &str| frame(text.as_bytes()).unwrap();
    let cases = [
        (StatusCode::BAD_REQUEST, bytes::Bytes::new()),
        (StatusCode::BAD_REQUEST, bytes::Bytes::from_static(&[0, 0])),
        (StatusCode::BAD_REQUEST, bytes::Bytes::from_static(&[0, 0, 0, 0])),
        (StatusCode::BAD_REQUEST, json(r#"{"command":"get_files_list"}"#).slice(..20)),
        (StatusCode::BAD_REQUEST, json("rubbish")),
        (StatusCode::BAD_REQUEST, json("[]")),
        (StatusCode::BAD_REQUEST, json(&"[".repeat(60_000))),
        (StatusCode::BAD_REQUEST, bytes::Bytes::from_static(b"\0\0\0\x02\xff\xfe")),
        (StatusCode::BAD_REQUEST, json(r#"{"command":"download"}"#)),
        (StatusCode::BAD_REQUEST, json(r#"{"command":"download","filename":"x","range":{"start":-1}}"#)),
        (StatusCode::BAD_REQUEST, json(r#"{"command":"download","filename":"x","if_match":"a b"}"#)),
        (StatusCode::UNKNOWN_COMMAND, json(r#"{"command":"delete","filename":"x"}"#)),
        (StatusCode::TOO_LARGE, bytes::Bytes::from_static(&[0, 1, 0, 1])),
        (StatusCode::TOO_LARGE, bytes::Bytes::from_static(&[255, 255, 255, 255, b'{'])),
    ];
    for (code, bytes) in cases {
        let shown = format!("{:?}", &bytes[..bytes.len().min(60)]);
        assert_eq!(client.refusal(bytes).await.code, code, "{shown}");
    }
    assert_eq!(client.get("x").await.unwrap().body, b"content");
}

#[tokio::test]
async fn an_answer_needs_no_end_of_the_request() {
    let tree = Tree::new();
    tree.write("x", b"content");
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    let request = DownloadRequest { filename: "x".into(), ..DownloadRequest::default() };
    let frame = qfs_core::wire::Request::Download(request).encode().unwrap();
    // With the stream left open, and with bytes behind the frame.
    let (_open, mut answer) = client.begin(frame.clone()).await;
    let first = head(&mut answer).await.unwrap();
    assert_eq!(finish(answer, first).await.unwrap().body, b"content");
    let mut answer = client.send([&frame[..], b"more"].concat()).await;
    let second = head(&mut answer).await.unwrap();
    assert_eq!(finish(answer, second).await.unwrap().body, b"content");
}

#[tokio::test]
async fn too_large_is_told_before_the_request_is_whole() {
    let rig = Rig::start(Tree::new(), |_| ());
    let client = rig.connect().await;
    let (_open, answer) = client.begin(&[0u8, 2, 0, 0, b'{'][..]).await;
    assert_eq!(refusal(answer).await.code, StatusCode::TOO_LARGE);
}

// Fails when one file's failure ends the others, an answer is out of order, a large file is sent, or a step loses a name.
#[tokio::test]
async fn many_small_files_come_on_one_stream() {
    let tree = Tree::new();
    let sizes = [0, 1, 4096, 262_144, 262_145, 100_000, 262_144];
    sizes.iter().enumerate().for_each(|(i, size)| drop(tree.write(&format!("d/{i}"), &noise(*size))));
    (0..600).for_each(|i| drop(tree.write(&format!("tiny/{i}"), &noise(i))));
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    let mut wanted: Vec<_> = sizes.iter().enumerate().map(|(i, size)| (format!("d/{i}"), Some(*size))).collect();
    wanted[4].1 = None;
    wanted.extend(["nope", "../etc/passwd", ".hidden", "d"].map(|name| (name.to_owned(), None)));
    wanted.extend((0..600).map(|i| (format!("tiny/{i}"), Some(i))));
    wanted.push(("d/2".to_owned(), Some(4096)));
    let names: Vec<_> = wanted.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let mut bytes = client.whole(&format!(r#"{{"command":"download_many","files":[{}]}}"#, names.join(","))).await;
    for (name, size) in wanted {
        match (take_record(&mut bytes).unwrap().unwrap(), size) {
            (Ok((record, body)), Some(size)) => {
                assert!(body == noise(size) && record.digest == Digest::of(&body), "{name}");
            }
            (Err(error), None) if name == "d/4" => assert_eq!(error.code, StatusCode::USE_DOWNLOAD),
            (Err(error), None) => {
                assert_eq!((error.code, &*error.message), (StatusCode::NOT_FOUND, "no such file"), "{name}");
            }
            (other, size) => panic!("{name} {size:?}: {other:?}"),
        }
    }
    assert!(bytes.is_empty());
    let refused = client.refusal(frame(br#"{"command":"download_many","files":[]}"#).unwrap()).await;
    assert_eq!(refused.code, StatusCode::BAD_REQUEST);
}

/// Fails when: a note that this server has not written does harm, more than one answer waits on a connection, a path that is not worth
/// it has a note, or the end of the server is not answered.
#[tokio::test]
async fn a_note_about_a_short_path_is_not_given() {
    let tree = Tree::new();
    tree.write("x", &noise(3_000_000));
    let mut rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    let mut waiting = client.ask(r#"{"command":"path_note","note":"AAECAwQF"}"#).await;
    client.get("x").await.unwrap();
    let second = refusal(client.ask(r#"{"command":"path_note"}"#).await).await;
    assert_eq!(second.code, StatusCode::BUSY);
    assert_eq!(
        refusal(client.ask(r#"{"command":"path_note","note":"a b"}"#).await).await.code,
        StatusCode::BAD_REQUEST
    );
    rig.stop();
    assert_eq!(&soon(waiting.next_frame()).await.unwrap()[..], br#"{"code":0}"#);
}

/// Fails when: bytes sent for their rate are kept or counted wrongly, or the server takes them for ever or waits for the end of them; or when the connection does not go on behind it.
#[tokio::test]
async fn bytes_are_taken_for_their_rate_and_dropped() {
    let tree = Tree::new();
    tree.write("x", b"content");
    let rig = Rig::start(tree, |_| ());
    let client = rig.connect().await;
    let (some, much) = (bytes::Bytes::from(noise(100_000)), bytes::Bytes::from(noise(1 << 20)));
    let measure = || frame(br#"{"command":"measure"}"#).unwrap();
    let told = async |mut answer: Answer<Source>| -> MeasureHead {
        let head = decode_response(&soon(answer.next_frame()).await.unwrap()).unwrap().unwrap();
        assert!(soon(answer.next_frame()).await.is_err(), "nothing follows");
        head
    };

    let (mut sink, answer) = client.begin(measure()).await;
    for _ in 0..16 {
        sink.send(some.clone()).await.unwrap();
    }
    sink.finish();
    let head = told(answer).await;
    assert!((1..1_600_000).contains(&head.bytes) && head.micros > 0, "{head:?}");

    // More than it takes: it answers, and stops the stream.
    let (mut sink, answer) = client.begin(measure()).await;
    let sending = async { while sink.send(much.clone()).await.is_ok() {} };
    let ((), head) = soon(async { tokio::join!(sending, told(answer)) }).await;
    assert!((MAX_MEASURE_BYTES / 1000..MAX_MEASURE_BYTES + (1 << 20)).contains(&head.bytes), "{head:?}");

    // One who sends no more and does not end it is told after a while, too.
    let (mut sink, answer) = client.begin(measure()).await;
    sink.send(noise(10).into()).await.unwrap();
    assert!(told(answer).await.bytes < 10);

    // Nothing at all is no rate.
    assert_eq!(told(client.send(measure()).await).await, MeasureHead { code: StatusCode::OK, bytes: 0, micros: 0 });
    assert_eq!(client.list().await.0, [("x".to_owned(), 7)]);

    // One who sends nothing is not waited for.
    let impatient = Rig::start(Tree::new(), |config| config.deadlines.stall = Duration::from_millis(100));
    let client = impatient.connect().await;
    let (_sink, answer) = client.begin(measure()).await;
    assert_eq!(refusal(answer).await.code, StatusCode::TIMEOUT);
}
